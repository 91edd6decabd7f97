"""The selector of a worker: which connections wait for their clients, and until when.

cheroot's connection manager accepts; the waiting is ours. A connection is registered while nobody else works on it,
and stays so while it is answered in the selector thread, which saves two system calls for each such answer.
"""

import contextlib
import logging
import select
import socket
import time
from typing import TYPE_CHECKING

from cheroot.connections import ConnectionManager

from baludav.server.pool import PATIENCE

if TYPE_CHECKING:
    from baludav.server.awaiting import Awaiting
    from baludav.server.connection import Connection
    from baludav.server.worker import Worker

log = logging.getLogger(__name__)

_PAUSE = 0.02  # seconds, when the system has no descriptor for a new connection
_COURTESY = 0.001  # seconds that a fuller worker leaves a new connection to the others
_LOOK = 0.02  # seconds between two looks at who is still there, at a stop


class Selector(ConnectionManager):
    """Waits for clients, for one worker."""

    server: "Worker"

    def __init__(self, server: "Worker") -> None:
        # Not the base's: it makes a selector of its own.
        self.server = server
        self._serving = False
        self._epoll = select.epoll()
        self._waiting: dict[int, Connection] = {}
        self._listener = server.socket.fileno()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._listens_at = 0.0  # monotonic time; 0: now
        self._was_courteous = False
        self._next_look = 0.0  # monotonic time

    def put(self, connection: "Connection") -> None:
        """Wait for the client, unless it has sent more already. For any thread."""
        connection.is_handed_over = False
        if connection.has_data():
            self.server.process_conn(connection)
            return
        fd = connection.socket.fileno()
        events = select.EPOLLOUT if connection.is_sending else select.EPOLLIN
        with contextlib.suppress(ValueError, OSError):  # it was closed meanwhile
            if self._waiting.get(fd) is not connection:
                self._epoll.register(fd, events)
                self._waiting[fd] = connection
            elif events != connection.awaited:
                self._epoll.modify(fd, events)
            connection.awaited = events

    def release(self, connection: "Awaiting") -> None:
        """Wait for this client no longer; harmless if nobody does."""
        fd = connection.socket.fileno()
        if self._waiting.get(fd) is connection:
            del self._waiting[fd]
            with contextlib.suppress(ValueError, OSError):
                self._epoll.unregister(fd)

    def waiting(self) -> "list[Connection]":
        """Connections that wait for their clients."""
        return list(self._waiting.values())

    def close(self) -> None:
        for connection in self.waiting():
            connection.close()
        self._epoll.close()

    @property
    def _num_connections(self) -> int:
        return len(self._waiting)

    def _run(self, expiration_interval: float) -> None:
        while not self.server.is_stopping:
            self._turn(expiration_interval)

    def drain(self, end: float) -> None:
        """Go on until those who are owed something have it; accept those who have come already, and nobody else.

        Args:
            end: monotonic time at which the rest is given up.
        """
        self._epoll.unregister(self._listener)
        self._listens_at = 0.0
        for _ in range(self.server.request_queue_size):
            accepted = self._from_server_socket(self.server.socket)
            if accepted is None:
                break
            self.server.process_conn(accepted)
        self.server.socket.close()  # of this process; once all have closed it, clients are refused instead of waiting
        seconds = 0.0  # first what has come already
        while self.server.has_connections and time.monotonic() < end:
            self._turn(seconds)
            seconds = _LOOK
            for connection in self.waiting():
                connection.leave()

    def _turn(self, expiration_interval: float) -> None:
        """Wait for something to happen, no longer than so many seconds, and see to it."""
        pool = self.server.pool
        seconds = _COURTESY if self._listens_at else PATIENCE if pool.relieve() else expiration_interval
        for fd, _ in self._epoll.poll(min(seconds, expiration_interval)):
            if fd == self._listener:
                self._accept()
            elif (connection := self._waiting.get(fd)) is not None:
                self.server.process_conn(connection)
        now = time.monotonic()
        if self._listens_at and now >= self._listens_at:
            self._epoll.modify(self._listener, select.EPOLLIN)
            self._listens_at = 0.0
            self._was_courteous = True
        if now > self._next_look:
            self._next_look = now + expiration_interval
            self._expire(0)

    def _accept(self) -> None:
        """Take a new connection, unless another worker should: then only if it is still there a moment later."""
        if self.server.seat.is_fuller and not self._was_courteous:
            self._epoll.modify(self._listener, 0)
            self._listens_at = time.monotonic() + _COURTESY
            return
        self._was_courteous = False
        accepted = self._from_server_socket(self.server.socket)
        if accepted is not None:
            self.server.process_conn(accepted)

    def _from_server_socket(self, listener: socket.socket) -> "Connection | None":
        try:
            accepted: Connection | None = super()._from_server_socket(listener)
            return accepted
        except OSError as error:  # the whole system is out of files or memory; the client waits in the backlog
            log.error("cannot accept a connection: %s", error)
            time.sleep(_PAUSE)
            return None

    def _expire(self, threshold: float) -> None:
        now = time.monotonic()
        self.server.tidy()
        for connection in self.waiting():
            if connection.deadline < now:
                connection.expire()
