"""Sign-in: who gets in, what is remembered, and that a change counts from the next request on."""

import threading
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from sqlalchemy import update

from baludav.accounts import passwords, signin
from baludav.accounts.accounts import Accounts
from baludav.accounts.signin import SignIn
from baludav.db.tables import users
from baludav.errors import NotSignedIn
from tests.accounts.conftest import Clock

HERE = "192.0.2.1"


class Counted:
    """Counts how often a password is hashed to be compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hashes: list[str | None] = []
        real = passwords.verify

        def verify(password: str, password_hash: str | None) -> bool:
            self.hashes.append(password_hash)
            return real(password, password_hash)

        monkeypatch.setattr(passwords, "verify", verify)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_right_and_wrong(accounts: Accounts, sign_in: SignIn) -> None:
    account = accounts.add("bob", "secret", groups=["family"], quota=7)
    principal = sign_in.check("bob", "secret", HERE)
    assert (principal.id, principal.name, principal.groups, principal.quota) == (account.id, "bob", {"family"}, 7)
    for name, password in (("bob", "Secret"), ("bob", ""), ("bobby", "secret"), ("", ""), ("../bob", "secret")):
        with pytest.raises(NotSignedIn):
            sign_in.check(name, password, HERE)


def test_a_name_may_come_decomposed(accounts: Accounts, sign_in: SignIn) -> None:
    accounts.add("rémi", "secret")
    assert sign_in.check("re\u0301mi", "secret", HERE).name == "rémi"


def test_nothing_tells_whether_a_user_exists(accounts: Accounts, sign_in: SignIn, counted: Counted) -> None:
    """Unknown, disabled and known users all cost one comparison, and all failures read alike."""
    accounts.add("bob", "secret")
    accounts.add("eve", "secret")
    accounts.disable("eve")
    messages = set()
    for number, name in enumerate(("bob", "eve", "nobody"), 1):
        with pytest.raises(NotSignedIn) as error:
            sign_in.check(name, "secret" if name == "eve" else "wrong", HERE)
        messages.add((str(error.value), error.value.headers))
        assert len(counted.hashes) == number
    assert len(messages) == 1
    assert counted.hashes[2] is None


def test_a_password_is_hashed_once_a_minute(accounts: Accounts, sign_in: SignIn, counted: Counted, clock) -> None:
    accounts.add("bob", "secret")
    for _ in range(5):
        sign_in.check("bob", "secret", HERE)
    assert len(counted.hashes) == 1
    clock.pass_by(signin.REMEMBER + 1)
    sign_in.check("bob", "secret", HERE)
    assert len(counted.hashes) == 2
    clock.pass_by(-10_000)  # a clock set back does not make it remembered for longer
    sign_in.check("bob", "secret", HERE)
    assert len(counted.hashes) == 3


def test_what_is_remembered_is_the_whole_credential(accounts: Accounts, sign_in: SignIn, counted: Counted) -> None:
    accounts.add("bob", "secret")
    sign_in.check("bob", "secret", HERE)
    assert sign_in.recall(sign_in.key("bob", "secret", HERE)) is not None
    assert sign_in.recall(sign_in.key("bob", "wrong", HERE)) is None
    assert sign_in.recall(sign_in.key("bo", "bsecret", HERE)) is None
    assert sign_in.recall(sign_in.key("bob", "secret", "192.0.2.2")) is None  # another address is throttled by itself
    assert len(counted.hashes) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda accounts: accounts.set_password("bob", "other"),
        lambda accounts: accounts.disable("bob"),
        lambda accounts: accounts.delete("bob"),
    ],
)
def test_a_change_elsewhere_counts_from_the_next_request_on(
    accounts: Accounts, elsewhere: Accounts, sign_in: SignIn, change: Callable[[Accounts], None]
) -> None:
    accounts.add("bob", "secret")
    sign_in.check("bob", "secret", HERE)
    change(elsewhere)
    with pytest.raises(NotSignedIn):
        sign_in.check("bob", "secret", HERE)


def test_a_change_in_this_process_counts_too(accounts: Accounts, sign_in: SignIn) -> None:
    accounts.add("bob", "secret")
    sign_in.check("bob", "secret", HERE)
    accounts.disable("bob")
    with pytest.raises(NotSignedIn):
        sign_in.check("bob", "secret", HERE)


def test_groups_and_quota_are_always_the_newest(accounts: Accounts, elsewhere: Accounts, sign_in: SignIn) -> None:
    accounts.add("bob", "secret")
    sign_in.check("bob", "secret", HERE)
    elsewhere.set_groups("bob", ["family"])
    elsewhere.set_quota("bob", 9)
    principal = sign_in.check("bob", "secret", HERE)
    assert (principal.groups, principal.quota) == ({"family"}, 9)


def test_other_commits_forget_nothing(
    accounts: Accounts, elsewhere: Accounts, sign_in: SignIn, counted: Counted
) -> None:
    """A busy server commits all the time; that must not cost a hash for each request."""
    accounts.add("bob", "secret")
    sign_in.check("bob", "secret", HERE)
    for number in range(3):
        elsewhere.add(f"user{number}", "secret")
        sign_in.check("bob", "secret", HERE)
    assert len(counted.hashes) == 1


def test_app_passwords(accounts: Accounts, elsewhere: Accounts, sign_in: SignIn, counted: Counted) -> None:
    accounts.add("bob", "secret")
    accounts.add("eve", "secret")
    phone = accounts.add_app_password("bob", "phone")
    assert sign_in.check("bob", phone, HERE).name == "bob"
    assert sign_in.check("bob", phone.replace("-", "").upper(), HERE).name == "bob"
    assert counted.hashes == []
    with pytest.raises(NotSignedIn):
        sign_in.check("eve", phone, HERE)
    elsewhere.revoke_app_password("bob", "phone")
    with pytest.raises(NotSignedIn):
        sign_in.check("bob", phone, HERE)
    assert sign_in.check("bob", "secret", HERE).name == "bob"


def test_an_app_password_of_a_disabled_user(accounts: Accounts, sign_in: SignIn) -> None:
    accounts.add("bob", "secret")
    phone = accounts.add_app_password("bob", "phone")
    accounts.disable("bob")
    with pytest.raises(NotSignedIn):
        sign_in.check("bob", phone, HERE)


def test_a_password_may_look_like_an_app_password(accounts: Accounts, sign_in: SignIn) -> None:
    password = passwords.generate_app_password()
    accounts.add("bob", password)
    assert sign_in.check("bob", password, HERE).name == "bob"


def test_a_change_while_the_password_is_compared(
    accounts: Accounts, elsewhere: Accounts, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password must not be remembered under the new revision."""
    accounts.add("bob", "secret")
    real = passwords.verify

    def verify(password: str, password_hash: str | None) -> bool:
        is_right = real(password, password_hash)
        monkeypatch.undo()
        elsewhere.set_password("bob", "other")
        return is_right

    monkeypatch.setattr(passwords, "verify", verify)
    with pytest.raises(NotSignedIn):
        sign_in.check("bob", "secret", HERE)


def test_a_hash_with_old_parameters_is_replaced(accounts: Accounts, sign_in: SignIn) -> None:
    accounts.add("bob", "secret")
    old = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("secret")
    accounts.database.commit(lambda connection: connection.execute(update(users).values(password_hash=old)))
    sign_in.check("bob", "secret", HERE)
    credential = accounts.credential("bob")
    assert credential is not None
    assert credential.password_hash != old
    assert passwords.verify("secret", credential.password_hash)


def test_a_burst_of_connections_is_hashed_once(accounts: Accounts, sign_in: SignIn, counted: Counted) -> None:
    accounts.add("bob", "secret")
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda: names.append(sign_in.check("bob", "secret", HERE).name)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["bob"] * 16
    assert len(counted.hashes) == 1


def test_what_is_remembered_is_bounded(accounts: Accounts, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signin, "_MOST", 3)
    accounts.add("bob", "secret")
    phone = accounts.add_app_password("bob", "phone")
    for number in range(5):
        sign_in.check("bob", phone, f"192.0.2.{number}")
    remembered = [sign_in.recall(sign_in.key("bob", phone, f"192.0.2.{number}")) is not None for number in range(5)]
    assert remembered == [False, False, True, True, True]


def test_the_use_of_an_app_password_is_noted(accounts: Accounts, sign_in: SignIn, clock: Clock) -> None:
    """At most once a minute, as that of a device is."""
    accounts.add("zoe", "secret")
    secret = accounts.add_app_password("zoe", "phone")

    def last_use() -> float | None:
        return accounts.list_app_passwords("zoe")[0].last_used_at

    assert last_use() is None
    first = clock.now
    sign_in.check("zoe", secret, HERE)
    assert last_use() == first
    clock.pass_by(30)
    sign_in.check("zoe", secret, "192.0.2.9")
    assert last_use() == first
    clock.pass_by(61)
    sign_in.check("zoe", secret, HERE)
    assert last_use() == clock.now
