"""Gathers for the audit trail what clients do again and again: signing in, failing to, and being refused.

A request only notes it in memory. A thread writes what was noted a moment later, many events in one transaction, and
counts in one row what is alike: a device that asks a thousand times an hour is one row, as is a guesser. So nobody can
fill the disk with it, and no request waits for it.
"""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import Connection

from baludav import origin
from baludav.accounts.accounts import Principal
from baludav.accounts.address import counted
from baludav.db import audit
from baludav.db.audit import Event, Kind, happened
from baludav.db.engine import Database
from baludav.errors import Failure, Forbidden

log = logging.getLogger(__name__)

SEEN_EVERY = 3600.0  # seconds after which it is noted again that somebody still signs in
PERIOD = 3600.0  # seconds in which failures and refusals that are alike are counted in one row
_MOST_SEEN = 4096
_MOST_NOTED = 10_000
_GATHER_SECONDS = 0.5
_AFTER_FAILURE_SECONDS = 30.0

_Client = tuple[int, str, str, str]


class Trail:
    """What one process has noted and not yet written.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: dict[_Client, float] = {}
        self._noted: dict[str, Event] = {}
        self._lost = 0
        self._lock = threading.Lock()
        self._has_noted = threading.Event()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def signed_in(self, principal: Principal, address: str) -> None:
        """Somebody has signed in; quick if the same client has done so within the hour."""
        now = self._clock()
        client = principal.id, principal.device, address, origin.current().client
        if 0 <= now - self._seen.get(client, 0.0) < SEEN_EVERY:
            return
        with self._lock:
            if len(self._seen) >= _MOST_SEEN:
                self._seen.clear()
            self._seen[client] = now
        event = happened(Kind.SIGN_IN, principal.name, device=principal.device, at=now)
        self._note(event._replace(address=address), "\0".join(map(str, (event.kind, *client))))

    def failed(self, name: str | None, address: str, why: str) -> None:
        """A sign-in has failed.

        Args:
            name: of an account; None for what is none, since it may be a password that was typed in its place.
        """
        event = happened(Kind.SIGN_IN_FAILED, name or "", detail=why, at=self._clock())
        self._count(event._replace(address=address))

    def throttled(self, name: str | None, address: str) -> None:
        """The same of a sign-in that was not even tried, after too many failures."""
        event = happened(Kind.SIGN_IN_THROTTLED, name or "", at=self._clock())
        self._count(event._replace(address=address))

    def refused(self, principal: Principal | None, failure: Failure, method: str, path: str) -> None:
        """A request has failed; noted if somebody is signed in who may not do this.

        Args:
            path: kept of the first of those that are counted in a row.
        """
        if principal is None or not isinstance(failure, Forbidden):
            return
        if failure.condition or isinstance(failure.__cause__, OSError):
            return  # nobody may, or the disk does not let the server
        detail, now = f"{method}: {failure}", self._clock()
        self._count(happened(Kind.REFUSED, principal.name, device=principal.device, path=path, detail=detail, at=now))

    def flush(self) -> None:
        """Write what was noted.

        Raises:
            Failure: it could not be written, and is kept for the next time.
        """
        with self._lock:
            noted, self._noted = self._noted, {}
            lost, self._lost = self._lost, 0
        if lost:
            log.warning("%d events are missing in the audit trail", lost)
        if not noted:
            return

        def work(connection: Connection) -> None:
            for key, event in noted.items():
                audit.gather(connection, event, key)

        try:
            self._database.commit(work, spares_accounts=True)
        except Failure:
            with self._lock:
                later, self._noted = self._noted, noted
                for key, event in later.items():
                    self._add(event, key)
            raise

    def close(self) -> None:
        """Write the rest."""
        self._is_closing.set()
        self._has_noted.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self.flush()
        except Failure as failure:
            log.warning("the audit trail lacks %d rows: %s", len(self._noted), failure)

    def _count(self, event: Event) -> None:
        """Note what is counted in one row for an hour, whatever the client calls itself."""
        alike = event.kind, event.user, event.device, counted(event.address), event.detail
        self._note(event, "\0".join(map(str, (*alike, int(event.last_at // PERIOD)))))

    def _note(self, event: Event, key: str) -> None:
        with self._lock:
            self._add(event, key)
            if self._thread is None and not self._is_closing.is_set():
                self._thread = threading.Thread(target=self._run, name="audit trail", daemon=True)
                self._thread.start()
        self._has_noted.set()

    def _add(self, event: Event, key: str) -> None:
        before = self._noted.get(key)
        if before is not None:
            self._noted[key] = before._replace(times=before.times + event.times, last_at=event.last_at)
        elif len(self._noted) < _MOST_NOTED:
            self._noted[key] = event
        else:
            self._lost += event.times

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._has_noted.wait()
            self._is_closing.wait(_GATHER_SECONDS)
            self._has_noted.clear()
            try:
                self.flush()
            except Failure as failure:
                log.warning("the audit trail waits: %s", failure)
                self._has_noted.set()
                self._is_closing.wait(_AFTER_FAILURE_SECONDS)
            except Exception:
                log.exception("the audit trail could not be written")
