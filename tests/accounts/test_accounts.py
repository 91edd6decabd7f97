"""Accounts: what can be made, changed and refused, and that every change raises the revision."""

import pytest

from baludav.accounts.accounts import AccountError, Accounts, Principal


@pytest.mark.parametrize(
    "name", ["a", "bob", "Anna Maria", "anna@example.org", "_x", "é", "名前", "कि", "x" * 64, "a.b-c_d"]
)
def test_names_that_can_be_used(accounts: Accounts, name: str) -> None:
    assert accounts.add(name, "secret").name == name
    assert accounts.get(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", "a:b", "x" * 65, "😀", "@family", "-x", " a", "a ",
     "a.", "a%2fb", "a\u200bb", "a\u202eb", "\ud800", "a*b", "𐐀" * 64],
)  # fmt: skip
def test_names_that_cannot_be_used(accounts: Accounts, name: str) -> None:
    """A user name is a segment of a path and a word of the configuration."""
    with pytest.raises(AccountError) as error:
        accounts.add(name, "secret")
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()


def test_names_are_stored_in_nfc(accounts: Accounts) -> None:
    assert accounts.add("re\u0301mi", "secret").name == "rémi"
    assert accounts.get("re\u0301mi") == accounts.get("rémi")


@pytest.mark.parametrize("other", ["bob", "BOB", "Bob"])
def test_names_that_differ_in_case_are_taken(accounts: Accounts, other: str) -> None:
    accounts.add("bob", "secret")
    with pytest.raises(AccountError, match="already"):
        accounts.add(other, "secret")


def test_case_is_compared_in_every_script(accounts: Accounts) -> None:
    accounts.add("straße", "secret")
    with pytest.raises(AccountError, match="already"):
        accounts.add("STRASSE", "secret")


@pytest.mark.parametrize("password", ["", "a\nb", "a\0b", "x" * 1025])
def test_passwords_that_basic_cannot_carry(accounts: Accounts, password: str) -> None:
    with pytest.raises(AccountError, match="password"):
        accounts.add("bob", password)
    assert accounts.is_empty()


def test_an_account_is_a_principal(accounts: Accounts) -> None:
    account = accounts.add("bob", "secret", is_admin=True, quota=10, groups=["family", "work"])
    assert isinstance(account, Principal)
    assert (account.is_admin, account.quota, account.groups) == (True, 10, frozenset({"family", "work"}))
    assert (account.is_disabled, account.revision, account.created_at) == (False, 1, 1_700_000_000.0)
    assert accounts.list() == (account,)


def test_every_change_raises_the_revision(accounts: Accounts) -> None:
    """By the revision each worker sees that what it remembers is out of date."""
    accounts.add("bob", "secret")
    changes = [
        lambda: accounts.set_password("bob", "other"),
        lambda: accounts.disable("bob"),
        lambda: accounts.enable("bob"),
        lambda: accounts.set_quota("bob", 5),
        lambda: accounts.set_groups("bob", ["family"]),
        lambda: accounts.add_app_password("bob", "phone"),
        lambda: accounts.revoke_app_password("bob", "phone"),
    ]
    for expected, change in enumerate(changes, 2):
        change()
        assert accounts.get("bob").revision == expected


def test_changes_to_nobody(accounts: Accounts) -> None:
    for change in (
        lambda: accounts.get("bob"),
        lambda: accounts.delete("bob"),
        lambda: accounts.disable("bob"),
        lambda: accounts.set_password("bob", "x"),
        lambda: accounts.set_groups("bob", []),
        lambda: accounts.add_app_password("bob", "phone"),
        lambda: accounts.list_app_passwords("../bob"),
    ):
        with pytest.raises(AccountError, match="There is no user"):
            change()


def test_a_quota_is_not_negative(accounts: Accounts) -> None:
    accounts.add("bob", "secret", quota=5)
    with pytest.raises(AccountError, match="quota"):
        accounts.set_quota("bob", -1)
    assert accounts.quota("bob") == 5
    accounts.set_quota("bob", None)
    assert accounts.quota("bob") is None
    assert accounts.quota("nobody") is None


def test_a_name_used_again_is_another_account(accounts: Accounts) -> None:
    """Entity ids outlive their rows, so a deleted user's id is never given to the next."""
    first = accounts.add("bob", "secret", groups=["family"])
    accounts.add_app_password("bob", "phone")
    accounts.delete("bob")
    assert accounts.list() == ()
    second = accounts.add("bob", "secret")
    assert second.id != first.id
    assert second.groups == frozenset()
    assert accounts.list_app_passwords("bob") == ()


def test_groups_are_named_like_users(accounts: Accounts) -> None:
    accounts.add("bob", "secret")
    with pytest.raises(AccountError, match="group"):
        accounts.set_groups("bob", ["@family"])
    accounts.set_groups("bob", ["family", "family"])
    assert accounts.get("bob").groups == {"family"}


def test_app_passwords_are_named_and_shown_once(accounts: Accounts) -> None:
    accounts.add("bob", "secret")
    phone = accounts.add_app_password("bob", "phone")
    tablet = accounts.add_app_password("bob", "tablet")
    assert phone != tablet
    assert [len(group) for group in phone.split("-")] == [4] * 8
    assert [found.label for found in accounts.list_app_passwords("bob")] == ["phone", "tablet"]
    with pytest.raises(AccountError, match="already"):
        accounts.add_app_password("bob", "phone")
    with pytest.raises(AccountError, match="no app password"):
        accounts.revoke_app_password("bob", "laptop")
    with pytest.raises(AccountError, match="label"):
        accounts.add_app_password("bob", " ")


def test_a_failed_change_leaves_the_revision(accounts: Accounts) -> None:
    accounts.add("bob", "secret")
    with pytest.raises(AccountError):
        accounts.revoke_app_password("bob", "laptop")
    assert accounts.get("bob").revision == 1


def test_no_password_is_stored(accounts: Accounts) -> None:
    accounts.add("bob", "correct horse")
    secret = accounts.add_app_password("bob", "phone")
    accounts.database.close()
    stored = b"".join(file.read_bytes() for file in accounts.database.file.parent.glob("index.sqlite*"))
    assert b"bob" in stored
    for word in (b"correct horse", secret.encode(), secret.replace("-", "").encode()):
        assert word not in stored
