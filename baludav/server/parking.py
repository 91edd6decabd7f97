"""Answers that wait for something to happen, kept without a thread each.

A WSGI body with a method `pull` waits. One thread of the worker holds the connections of all such answers: it sends
what a body has for its client, notices when the client goes, and gives the connection back to the pool when the
body waits no longer. It never waits for a client: one that does not read is dropped.
"""

import contextlib
import heapq
import itertools
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeGuard, cast

if TYPE_CHECKING:
    from baludav.server.responses import Response

log = logging.getLogger(__name__)

# Between two looks, so that a burst of changes is looked at once, and telling many takes a fifth of the time at most.
_PAUSE = 0.005  # seconds at least
_REST = 4  # times what the look and the telling took
_LONGEST_PAUSE = 1.0
_RESET = struct.pack("ii", 1, 0)
_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Source(Protocol):
    """What bodies wait for; many share one."""

    def fileno(self) -> int:
        """A descriptor that is readable when something may have happened."""

    def look(self) -> "Iterable[Waiting]":
        """Find out what has happened; gives the bodies that may have something to say now."""


class Waiting(Protocol):
    """A body that waits. Iterated, it gives the same to a server that has a thread for it.

    Attributes:
        due: monotonic time at which it wants to be asked again, whatever happens; never moves to an earlier one.
    """

    source: Source
    due: float

    def pull(self, now: float) -> bytes | None:
        """What its client shall get now, maybe nothing; None: it waits no longer, iterate the rest."""

    def stop(self) -> None:
        """Wait no longer: the server stops."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


def waits(body: object) -> TypeGuard[Waiting]:
    """True for a body that is to be parked."""
    return hasattr(body, "pull")


class _Parked:
    """A parked answer; `serial` tells it from another one that has the same descriptor later."""

    __slots__ = ("body", "fd", "response", "serial")

    def __init__(self, response: "Response", serial: int) -> None:
        self.response = response
        self.body = cast("Waiting", response.body)
        self.fd = response.connection.socket.fileno()
        self.serial = serial


class Parking:
    """All parked answers of one worker.

    Args:
        resume: gives an answer whose body waits no longer back to the pool.
        patience: seconds without an acknowledgement from the other machine after which a client is gone.
    """

    def __init__(self, resume: "Callable[[Response], None]", patience: float) -> None:
        self._resume = resume
        self._patience = patience
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._lock = threading.Lock()
        self._is_running = False
        self._is_stopping = False
        self._arriving: list[Response] = []
        # The rest belongs to the thread.
        self._serials = itertools.count()
        self._parked: dict[Waiting, _Parked] = {}
        self._by_fd: dict[int, _Parked] = {}
        self._due: list[tuple[float, int, int]] = []  # a heap of times, serials and descriptors
        self._sources: dict[int, Source] = {}
        self._deaf: dict[int, float] = {}  # sources just looked at, and when to listen to them again
        self._unseen: set[int] = set()  # sources at which a look failed

    def park(self, response: "Response") -> None:
        """Take over a connection whose answer waits. For any thread, which then leaves the connection alone."""
        with self._lock:
            if not self._is_running:
                threading.Thread(target=self._run, name="parking", daemon=True).start()
                self._is_running = True
            self._arriving.append(response)
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Let no answer wait from now on."""
        self._is_stopping = True
        os.eventfd_write(self._wake, 1)

    # In the thread

    def _run(self) -> None:
        while self._goes_on():
            rung = []
            for fd, _ in self._epoll.poll(self._seconds()):
                if fd == self._wake:
                    os.eventfd_read(fd)
                elif fd in self._sources:
                    rung.append(fd)
                elif fd in self._by_fd:
                    self._drop(self._by_fd[fd])
            for fd in rung:
                self._look(fd)
            self._admit()
            self._listen_again()
            self._serve_due()
            if self._is_stopping:
                for parked in list(self._by_fd.values()):
                    self._serve(parked)

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_running = bool(self._arriving or self._parked)
            return self._is_running

    def _seconds(self) -> float:
        """How long nothing has to be done by itself."""
        moments = [*self._deaf.values(), *(due for due, _, _ in self._due[:1])]
        return max(0.0, min(moments) - time.monotonic()) if moments else -1

    def _admit(self) -> None:
        with self._lock:
            arriving, self._arriving = self._arriving, []
        for response in arriving:
            parked = _Parked(response, next(self._serials))
            try:
                self._enter(parked)
            except Exception:
                log.exception("an answer cannot wait")
                self._drop(parked)

    def _enter(self, parked: _Parked) -> None:
        with contextlib.suppress(OSError):  # a client whose machine vanished is noticed in time, not after 15 minutes
            parked.response.connection.socket.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._patience * 1000)
            )
        self._parked[parked.body] = self._by_fd[parked.fd] = parked
        self._epoll.register(parked.fd, _GONE)
        self._listen(parked.body.source)
        heapq.heappush(self._due, (parked.body.due, parked.serial, parked.fd))
        self._serve(parked)  # only now that a look finds it: what happened on the way here is not missed

    def _listen(self, source: Source) -> None:
        fd = source.fileno()
        if fd not in self._sources:
            self._sources[fd] = source
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)

    def _listen_again(self) -> None:
        now = time.monotonic()
        for fd in [fd for fd, moment in self._deaf.items() if moment <= now]:
            if fd in self._unseen:
                self._look(fd)  # the look that failed may have taken the only sign of what has happened
                continue
            del self._deaf[fd]
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)

    def _look(self, fd: int) -> None:
        begun = time.monotonic()
        pause = _PAUSE
        try:
            for body in self._sources[fd].look():
                if body in self._parked:
                    self._serve(self._parked[body])
            self._unseen.discard(fd)
        except Exception:
            log.exception("it cannot be seen what has happened")
            self._unseen.add(fd)
            pause = _LONGEST_PAUSE
        now = time.monotonic()
        self._deaf[fd] = now + min(max(pause, _REST * (now - begun)), _LONGEST_PAUSE)

    def _serve_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, serial, fd = self._due[0]
            parked = self._by_fd.get(fd)
            if parked is not None and parked.serial == serial and parked.body.due <= now:
                self._serve(parked)
                parked = self._by_fd.get(fd)
            if parked is not None and parked.serial == serial:
                heapq.heapreplace(self._due, (max(parked.body.due, now + _PAUSE), serial, fd))
            else:
                heapq.heappop(self._due)

    def _serve(self, parked: _Parked) -> None:
        """Send what a body has; end its stay if it waits no longer, or if its client does not read."""
        try:
            if self._is_stopping:
                parked.body.stop()
            piece = parked.body.pull(time.monotonic())
            if piece is None:
                self._release(parked)
            elif piece and not parked.response.send_at_once(piece):
                self._drop(parked)
        except Exception:
            log.exception("an answer that waits failed")
            if parked.body in self._parked:
                self._drop(parked)

    def _release(self, parked: _Parked) -> None:
        self._forget(parked)
        if self._is_stopping:
            parked.response.keep_alive = False
        self._resume(parked.response)

    def _drop(self, parked: _Parked) -> None:
        self._forget(parked)
        parked.response.tell()
        with contextlib.suppress(OSError):  # what it did not read must not lie in the kernel until it does
            parked.response.connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        parked.response.connection.close()
        try:
            parked.body.close()
        except Exception:
            log.exception("an answer that waited could not be closed")

    def _forget(self, parked: _Parked) -> None:
        self._parked.pop(parked.body, None)
        self._by_fd.pop(parked.fd, None)
        with contextlib.suppress(OSError):  # it never came so far
            self._epoll.unregister(parked.fd)
