"""The first account is made once, and its password is shown once."""

import pytest

from baludav.accounts.accounts import AccountError, Accounts
from baludav.accounts.first import create_admin
from baludav.accounts.signin import SignIn

HERE = "192.0.2.1"


def test_a_random_password_is_returned_once(accounts: Accounts, sign_in: SignIn) -> None:
    password = create_admin(accounts, {})
    assert password is not None
    assert sign_in.check("admin", password, HERE).is_admin
    assert create_admin(accounts, {}) is None


def test_a_password_from_the_environment_is_not_returned(accounts: Accounts, sign_in: SignIn) -> None:
    assert create_admin(accounts, {"BALUDAV_ADMIN_PASSWORD": "secret"}) is None
    assert sign_in.check("admin", "secret", HERE).is_admin
    create_admin(accounts, {"BALUDAV_ADMIN_PASSWORD": "other"})  # the first start only
    assert sign_in.check("admin", "secret", HERE).is_admin


def test_users_made_before_the_first_start_do_not_replace_it(accounts: Accounts) -> None:
    accounts.add("bob", "secret")
    assert create_admin(accounts, {}) is not None
    assert accounts.get("admin").is_admin


def test_an_admin_made_before_the_first_start_does(accounts: Accounts) -> None:
    accounts.add("bob", "secret", is_admin=True)
    assert create_admin(accounts, {}) is None
    assert [account.name for account in accounts.list()] == ["bob"]


def test_a_deleted_admin_does_not_come_back(accounts: Accounts) -> None:
    create_admin(accounts, {})
    accounts.delete("admin")
    assert create_admin(accounts, {}) is None
    assert accounts.list() == ()


def test_a_password_that_cannot_be_used_is_told(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match="password"):
        create_admin(accounts, {"BALUDAV_ADMIN_PASSWORD": "a\nb"})
