"""Logins in two places: a program asks for access, its user grants it in a browser, and the program collects it.

The program holds one secret, the address of the page holds another; both are random, stored hashed, and end after
twenty minutes. Nobody is signed in when a program asks, so there are only so many of these at a time: a program that
asks again and again ends its own older ones, and of all others the oldest that nobody has granted.
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, true, update

from baludav.accounts.accounts import Principal
from baludav.accounts.address import counted
from baludav.db import audit
from baludav.db.audit import Kind, happened
from baludav.db.engine import Database
from baludav.db.tables import logins, users
from baludav.errors import NotFound

LIFETIME = 1200.0  # seconds
MOST = 1000
MOST_OF_ADDRESS = 20


class Asked(NamedTuple):
    """The secrets of a login: the program's own, and that of the page which its user opens."""

    program: str
    page: str


class Granted(NamedTuple):
    """Whose access a program may have, and the name that it goes by."""

    user_id: int
    client: str


_is_alive = logins.c.begun_at > bindparam("oldest")
_asked = select(logins.c.client).where(
    logins.c.page_hash == bindparam("page"), logins.c.user_id.is_(None), _is_alive
)  # fmt: skip
_granted = select(logins.c.user_id, logins.c.client, logins.c.revision).where(
    logins.c.program_hash == bindparam("program"), logins.c.user_id.is_not(None), _is_alive
)
_holds = select(users.c.id).where(
    users.c.id == bindparam("user"), users.c.revision == bindparam("revision"), ~users.c.is_disabled
)


class Logins:
    """The logins of one installation that are under way.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def begin(self, client: str, address: str) -> Asked:
        """A program asks for access.

        Args:
            client: the name it goes by, up to 100 characters.
            address: where it asks from.
        """
        asked = Asked(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        values = {
            "program_hash": _hash(asked.program),
            "page_hash": _hash(asked.page),
            "client": client,
            "address": counted(address),
            "begun_at": self._clock(),
        }
        oldest = self._oldest()

        def work(connection: Connection) -> None:
            connection.execute(delete(logins).where(logins.c.begun_at <= oldest))
            for scope, most in ((logins.c.address == values["address"], MOST_OF_ADDRESS), (true(), MOST)):
                kept_first = select(logins.c.id).where(scope).order_by(logins.c.user_id.is_(None), logins.c.id.desc())
                connection.execute(delete(logins).where(logins.c.id.in_(kept_first.offset(most - 1))))
            connection.execute(logins.insert(), values)

        self._database.commit(work)
        return asked

    def client(self, page: str) -> str:
        """The name of the program that waits.

        Raises:
            NotFound: none does, or not any more.
        """
        with self._database.reading() as connection:
            client = connection.scalar(_asked, {"page": _hash(page), "oldest": self._oldest()})
        if client is None:
            raise NotFound("This login has ended; begin again in the program")
        return str(client)

    def grant(self, page: str, principal: Principal) -> None:
        """Let the program that waits have access to what this user has, once.

        Raises:
            NotFound: none waits, or it was granted already.
        """
        statement = (
            update(logins)
            .where(logins.c.page_hash == _hash(page), logins.c.user_id.is_(None), logins.c.begun_at > self._oldest())
            .values(user_id=principal.id, revision=principal.revision)
        )
        granted = happened(Kind.ACCESS_GRANTED, principal.name, detail=self.client(page), at=self._clock())

        def work(connection: Connection) -> None:
            if not connection.execute(statement).rowcount:
                raise NotFound("This login has ended; begin again in the program")
            audit.record(connection, granted)

        self._database.commit(work)

    def collect(self, program: str) -> Granted | None:
        """What was granted to the program that has this secret, the first time that it is asked after that.

        None too if the account was changed in any way since: who changes a password wants nobody new to come in.
        """
        values = {"program": _hash(program), "oldest": self._oldest()}
        with self._database.reading() as connection:  # nearly every time there is nothing yet
            if connection.execute(_granted, values).first() is None:
                return None

        def work(connection: Connection) -> Granted | None:
            row = connection.execute(_granted, values).first()
            if row is None:
                return None
            connection.execute(delete(logins).where(logins.c.program_hash == values["program"]))
            found = connection.scalar(_holds, {"user": row.user_id, "revision": row.revision})
            return None if found is None else Granted(row.user_id, row.client)

        return self._database.commit(work)

    def _oldest(self) -> float:
        return self._clock() - LIFETIME


def _hash(secret: str) -> str:
    # Looked up by its hash: how long that takes tells nothing of the secret, since nobody chooses what it hashes to.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
