"""The index database: opening it, reading from it, and committing to it in groups."""

import contextlib
import fcntl
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool

from baludav import metrics
from baludav.db.bell import Bell, Listening
from baludav.db.checkpoints import Checkpoints
from baludav.db.glance import Glance
from baludav.db.mark import Mark
from baludav.db.statements import Statement, savepoint, snapshot, transaction
from baludav.db.tables import meta
from baludav.errors import DiskFull, Unavailable
from baludav.spares import Spares
from baludav.waiting import rest, waiting

T = TypeVar("T")
_BUSY_SECONDS = 30
_LOG_BYTES = 32 << 20  # what the log keeps of the disk when it begins anew
_MOST = 16  # works in one commit
_COMMIT_BYTES = 256 << 10  # what a commit may write
_NO_ANSWER = "The index database does not answer; try again later"
_note = Statement(select(meta.c.value).where(meta.c.key == bindparam("key")))


class Database:
    """One process's door to the index.

    Open it after `fork`, never before: SQLite connections do not survive it.

    Attributes:
        glance: for a row or two that every request asks for.
        accounts_mark: changes with each commit that may have changed an account.

    Args:
        file: the SQLite file; its folder exists.
        durability: `safe` syncs each commit to the disk, `fast` leaves that to the operating system (a commit
            survives kill -9 in both, a power failure only in `safe`).
    """

    def __init__(self, file: Path, durability: str = "safe") -> None:
        self.file = file
        self.engine = _engine(file, synchronous="FULL" if durability == "safe" else "NORMAL")
        self._readers: Spares[Connection] = Spares(Connection.close)
        self.glance = Glance(self.engine)
        self._bell = Bell(file.with_name(f"{file.name}-bell"))
        self.accounts_mark = Mark(file.with_name(f"{file.name}-accounts"))
        self._writer = _GroupWriter(self.engine, file.with_name(f"{file.name}-turn"), self._bell, self.accounts_mark)
        self._committing = waiting if durability == "safe" else contextlib.nullcontext  # it syncs

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for reads; each statement sees the newest commit. Fetch all rows before leaving."""
        with _translated():
            connection = self._readers.take()
            if connection is None:
                connection = self.engine.connect()
            is_good = True
            try:
                yield connection
            except DBAPIError:
                is_good = False
                raise
            finally:
                if is_good:
                    self._readers.put(connection)
                else:
                    connection.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection whose statements all see one moment."""
        with self.reading() as connection, snapshot(connection):
            yield connection

    def commit(self, work: Callable[[Connection], T], *, spares_accounts: bool = False) -> T:
        """Run `work` in a transaction, alone among all writers, and return its result once it is committed.

        Writers that wait at the same time share one commit. What `work` raises undoes only its own part.
        `work` must touch nothing but the connection: it may run in another thread.

        Args:
            spares_accounts: nothing changes that a sign-in depends on, so those that are remembered stay good.
        """
        try:
            with _translated(), self._committing():
                return self._writer.run(work, spares_accounts)
        except OSError as error:  # no lock to be had
            raise Unavailable(_NO_ANSWER) from error

    def note(self, key: str) -> str | None:
        """What the table `meta` says of this database: its `instance`, its `epoch`, and so on."""
        with self.reading() as connection:
            value: str | None = _note.scalar(connection, {"key": key})
        return value

    def size(self) -> int:
        """Bytes of the index on the disk, with what is not moved into it yet."""
        parts = (self.file, self.file.with_name(f"{self.file.name}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def require_room(self) -> None:
        """See whether the disk has room for another commit.

        Raises:
            DiskFull: it has not.
        """
        found = os.statvfs(self.file.parent)
        if found.f_bavail * found.f_frsize < _COMMIT_BYTES:
            raise DiskFull()

    def listen(self) -> Listening:
        """Hear of every commit from now on, whichever process makes it. Close what this returns."""
        return self._bell.listen(Glance(self.engine))

    def tidy(self) -> None:
        """Close the connections that nobody has needed since this was called before."""
        self._readers.close_unneeded()

    def close(self) -> None:
        """Close every connection."""
        self._writer.close()
        self._bell.close()
        self.accounts_mark.close()
        self.glance.close()
        self._readers.close()
        self.engine.dispose()


class _Ticket(Generic[T]):
    """One writer's work while it waits for a shared commit."""

    def __init__(self, work: Callable[[Connection], T], spares_accounts: bool) -> None:
        self.work = work
        self.spares_accounts = spares_accounts
        self.done = False
        self.wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.result: T | None = None
        self.error: BaseException | None = None


class _GroupWriter:
    """Commits the work of all waiting threads at once: whoever gets the turn leads, the others follow.

    Between processes the turn is a file lock, which wakes the next writer at once and is released by the
    kernel when its holder dies; SQLite's own waiting sleeps and retries.
    """

    def __init__(self, engine: Engine, turn_file: Path, bell: Bell, accounts_mark: Mark) -> None:
        self._engine = engine
        self._checkpoints = Checkpoints(engine, self._alone)
        self._bell = bell
        self._accounts_mark = accounts_mark
        self._turn_fd = os.open(turn_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn = threading.Lock()
        self._waiting: list[_Ticket[Any]] = []
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], T], spares_accounts: bool) -> T:
        ticket = _Ticket(work, spares_accounts)
        self._waiting.append(ticket)  # atomic under the GIL, as is the swap below
        if len(self._waiting) < _MOST:
            rest(ticket.wake)
        with self._turn:
            if not ticket.done:
                group, self._waiting = self._waiting, []
                self._lead(group)
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]  # set with done

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else commits meanwhile, in whichever process."""
        with self._turn, self._alone_among_processes():
            yield

    @contextlib.contextmanager
    def _alone_among_processes(self) -> Iterator[None]:
        fcntl.flock(self._turn_fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn_fd, fcntl.LOCK_UN)

    def close(self) -> None:
        self._checkpoints.close()
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._turn_fd >= 0:
                os.close(self._turn_fd)
                self._turn_fd = -1

    def _lead(self, group: list[_Ticket[Any]]) -> None:
        begun = time.monotonic()
        try:
            with self._alone_among_processes():
                if self._connection is None:
                    self._connection = self._engine.connect()
                with self._marking(group), transaction(self._connection):
                    for ticket in group:
                        self._one(ticket, self._connection, alone=len(group) == 1)
                self._bell.ring()  # only now: whoever is woken must find what was committed
            self._checkpoints.committed()
        except BaseException as error:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            for ticket in group:
                ticket.error = ticket.error or error
        finally:
            for ticket in group:
                ticket.done = True
                ticket.wake.put(None)
            metrics.count("commits")
            metrics.count("commit_works", len(group))
            metrics.took("commit", time.monotonic() - begun)

    def _marking(self, group: list[_Ticket[Any]]) -> AbstractContextManager[None]:
        spares_accounts = all(ticket.spares_accounts for ticket in group)
        return contextlib.nullcontext() if spares_accounts else self._accounts_mark.changing()

    @staticmethod
    def _one(ticket: _Ticket[Any], connection: Connection, *, alone: bool) -> None:
        if alone:  # what it raises rolls back the whole transaction, which is only its own
            ticket.result = ticket.work(connection)
            return
        try:
            with savepoint(connection):
                ticket.result = ticket.work(connection)
        except OperationalError:
            raise  # the database itself failed: nobody's part is committed
        except Exception as error:
            ticket.error = error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Driver errors become failures of ours; the driver's words stay in the chain."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        text = str(error.orig)
        if "disk is full" in text:
            raise DiskFull() from error
        raise Unavailable(_NO_ANSWER) from error


def _engine(file: Path, synchronous: str) -> Engine:
    engine = create_engine(
        f"sqlite:///{file}",
        poolclass=NullPool,  # what is kept open is in the hands of `Database`
        hide_parameters=True,  # failures are logged, and hashes of passwords are among them
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: Any, record: Any) -> None:
        raw.isolation_level = None  # transactions begin where we say, not where the driver guesses
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-2048",
            "wal_autocheckpoint=0",  # see `checkpoints`
            f"journal_size_limit={_LOG_BYTES}",
        ):
            raw.execute(f"PRAGMA {pragma}")

    return engine
