"""Makes the first account of a new installation."""

from collections.abc import Mapping

from sqlalchemy import exists, select
from sqlalchemy.dialects.sqlite import insert

from baludav.accounts import passwords
from baludav.accounts.accounts import AccountError, Accounts
from baludav.config import ADMIN_PASSWORD
from baludav.db.tables import meta

ADMIN = "admin"
_MADE = "first_account"


def create_admin(accounts: Accounts, environ: Mapping[str, str]) -> str | None:
    """Make the account `admin` on the first start, unless somebody made an account with admin rights before.

    Only ever once: an installation whose owner has deleted the account does not get it back.

    Returns:
        str | None: a random password to be shown once; None if there is nothing to show, because this is not the
            first start or the environment gave the password.
    """
    with accounts.database.reading() as connection:
        if connection.scalar(select(exists().where(meta.c.key == _MADE))):
            return None
    given = environ.get(ADMIN_PASSWORD)
    password = given or passwords.generate()
    is_made = not any(account.is_admin for account in accounts.list())
    if is_made:
        try:
            accounts.add(ADMIN, password, is_admin=True)
        except AccountError:
            if not any(account.is_admin for account in accounts.list()):
                raise
            is_made = False  # another process was first
    done = insert(meta).values(key=_MADE, value="yes").on_conflict_do_nothing()
    accounts.database.commit(lambda connection: connection.execute(done))
    return password if is_made and not given else None
