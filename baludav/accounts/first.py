"""Makes the first account of a new installation."""

from collections.abc import Mapping

from baludav.accounts import passwords
from baludav.accounts.accounts import AccountError, Accounts
from baludav.config import ADMIN_PASSWORD

ADMIN = "admin"


def create_admin(accounts: Accounts, environ: Mapping[str, str]) -> str | None:
    """Make the account `admin` if there is no account yet.

    Returns:
        str | None: a random password to be shown once; None if there is nothing to show, because there are
            accounts already or the environment gave the password.
    """
    if not accounts.is_empty():
        return None
    given = environ.get(ADMIN_PASSWORD)
    password = given or passwords.generate()
    try:
        accounts.add(ADMIN, password, is_admin=True)
    except AccountError:
        if accounts.is_empty():
            raise
        return None  # another process was first
    return None if given else password
