"""The master process: binds the socket, keeps the workers running, and touches no request."""

import contextlib
import ctypes
import errno
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from baludav.config import ConfigError
from baludav.server import memory
from baludav.server.balance import Balance, Seat
from baludav.server.worker import BACKLOG, Application, ServerOptions, Worker
from baludav.waiting import let_others_run

__all__ = ["Plan", "ServerOptions", "listen", "serve"]

log = logging.getLogger(__name__)

_START_SECONDS = 60.0
_QUICK_DEATH_SECONDS = 5.0  # a worker that lives shorter is not replaced at once
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Plan(NamedTuple):
    """What workers are made by.

    Attributes:
        make_app: called in each worker, after the fork.
    """

    options: ServerOptions
    make_app: Callable[[], Application]


@dataclass
class _Child:
    pid: int
    started: float
    pipe: int  # the worker writes a byte when it is ready
    is_ready: bool = False


def serve(
    plan: Plan,
    *,
    renew: Callable[[], Plan] | None = None,
    ready: Callable[[int], None] = lambda port: None,
    stopping: Callable[[], None] = lambda: None,
    listener: socket.socket | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP starts new workers and lets the old ones finish.

    Args:
        plan: of workers, those that take the place of dead ones included.
        renew: gives at each SIGHUP the plan of the new workers; a ConfigError leaves all as it is. Address and number
            of workers stay.
        ready: called with the port when every worker accepts connections, after each reload again.
        stopping: called once, when a stop is asked for.
        listener: from `listen`, if this process may not bind the address itself; closed at the end.
    Returns:
        exit status: 0 after a stop that was asked for.
    Raises:
        OSError: the address cannot be bound.
    """
    listener = listener or listen(plan.options.host, plan.options.port)
    memory.share()
    try:
        return _Master(plan, renew or (lambda: plan), ready, stopping, listener).run()
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """Bind an address; clients may connect from now on, and wait.

    Raises:
        OSError: it cannot be bound.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, proto, _, address = found[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it; without it every small answer waits 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class _Master:
    def __init__(
        self, plan: Plan, renew: Callable[[], Plan], ready: Callable[[int], None], stopping: Callable[[], None],
        listener: socket.socket,
    ) -> None:  # fmt: skip
        self._plan = plan
        self._renew = renew
        self._ready = ready
        self._stopping = stopping
        self._listener = listener
        self._port: int = listener.getsockname()[1]
        self._workers = plan.options.workers
        self._balance = Balance(4 * self._workers + 4)  # those that leave, after reloads, have one too
        self._seats: dict[int, Seat] = {}
        self._children: dict[int, _Child] = {}  # those that shall serve
        self._leaving: dict[int, _Child] = {}  # those that finish what they have begun
        self._stopping_since: float | None = None
        self._restart_at: float | None = None
        self._reload: dict[int, _Child] | None = None
        self._next_plan = plan  # of those in `_reload`
        self._is_reload_asked = False
        self._is_announced = False

    def run(self) -> int:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        old = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        old_wakeup = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(wake_read, selectors.EVENT_READ)
        try:
            for _ in range(self._workers):
                self._add(self._children, self._fork(self._plan))
            while self._children or self._leaving or self._restart_at is not None:
                status = self._turn(wake_read)
                if status is not None:
                    return status
            return 0
        finally:
            for child in (*self._children.values(), *self._leaving.values(), *(self._reload or {}).values()):
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(child.pid, signal.SIGKILL)
                    os.waitpid(child.pid, 0)
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(wake_read)
            os.close(wake_write)

    def _turn(self, wake_read: int) -> int | None:
        """Wait for something to happen and act on it; an exit status ends the master."""
        for key, _ in self._selector.select(self._patience()):
            if key.fd == wake_read:
                with contextlib.suppress(BlockingIOError):
                    for number in os.read(wake_read, 4096):
                        self._signalled(number)
            else:
                self._spoken(key.data)
        status = self._reap()
        if status is not None:
            return status
        now = time.monotonic()
        if self._restart_at is not None and now >= self._restart_at and self._stopping_since is None:
            self._restart_at = None
            while len(self._children) < self._workers:
                self._add(self._children, self._fork(self._plan))
        if self._is_reload_asked and self._reload is None and self._stopping_since is None:
            self._is_reload_asked = False
            self._begin_reload()
        if self._stopping_since is not None and now > self._stopping_since + self._plan.options.graceful_seconds + 5:
            log.warning("some requests did not finish in time")
            for child in (*self._children.values(), *self._leaving.values()):
                os.kill(child.pid, signal.SIGKILL)
        return None

    def _patience(self) -> float:
        return 0.2 if self._restart_at is not None or self._stopping_since is not None else 5.0

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            again = self._stopping_since is not None
            self._stopping_since = self._stopping_since or time.monotonic()
            self._restart_at = None
            if not again:
                self._stopping()
                self._listener.close()  # the workers do so, too: who comes now is refused at once
            for child in (*self._children.values(), *self._leaving.values(), *(self._reload or {}).values()):
                os.kill(child.pid, signal.SIGKILL if again else signal.SIGTERM)
        elif number == signal.SIGHUP:
            self._is_reload_asked = True  # during a reload, too: what that has read may be older

    def _begin_reload(self) -> None:
        try:
            self._next_plan = self._renew()
        except ConfigError as error:
            log.error("no new workers, the old ones go on: %s", error)
            return
        log.info("starting new workers")
        self._reload = {}
        for _ in range(self._workers):
            self._add(self._reload, self._fork(self._next_plan))

    def _spoken(self, child: _Child) -> None:
        """A worker is ready, or has closed its pipe."""
        self._selector.unregister(child.pipe)
        child.is_ready = os.read(child.pipe, 1) == b"1"
        os.close(child.pipe)
        if self._reload is not None and self._reload and all(c.is_ready for c in self._reload.values()):
            for leaving in self._children.values():
                os.kill(leaving.pid, signal.SIGTERM)
            self._leaving |= self._children
            self._children, self._reload = self._reload, None
            self._plan = self._next_plan
            log.info("new workers serve")
            self._ready(self._port)
        if not self._is_announced and all(c.is_ready for c in self._children.values()):
            self._is_announced = True
            self._ready(self._port)

    def _reap(self) -> int | None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            if pid in self._seats:
                self._balance.free(self._seats.pop(pid))
            if self._leaving.pop(pid, None) is not None:
                continue
            if self._reload is not None and pid in self._reload:
                log.error("a new worker did not start; the old ones go on")
                for child in self._reload.values():
                    if child.pid != pid:
                        os.kill(child.pid, signal.SIGKILL)
                        self._leaving[child.pid] = child
                self._reload = None
                continue
            dead = self._children.pop(pid, None)
            if dead is None or self._stopping_since is not None:
                continue
            log.error("worker %d ended (%s); replacing it", pid, _how(status))
            if not dead.is_ready and not self._is_announced:
                return 1
            lived = time.monotonic() - dead.started
            self._restart_at = time.monotonic() + (0 if lived > _QUICK_DEATH_SECONDS else 1)

    def _add(self, where: dict[int, _Child], child: _Child) -> None:
        where[child.pid] = child
        self._selector.register(child.pipe, selectors.EVENT_READ, child)

    def _fork(self, plan: Plan) -> _Child:
        read, write = os.pipe2(os.O_CLOEXEC)
        sys.stdout.flush()
        sys.stderr.flush()
        master, seat = os.getpid(), self._balance.take()
        # Until the worker handles it: what comes meanwhile must be neither lost nor taken by what the master does.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            os.close(write)
            self._seats[pid] = seat
            return _Child(pid, time.monotonic(), read)
        status = 1
        try:
            os.close(read)
            self._work(plan, master, write, seat)
            status = 0
        except OSError as error:
            log.error("the worker cannot start: %s", error.strerror if error.errno != errno.EPIPE else error)
        except BaseException:
            log.exception("the worker failed")
        finally:
            logging.shutdown()
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _work(self, plan: Plan, master: int, pipe: int, seat: Seat) -> None:
        """A worker's whole life."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the master decides
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != master:
            return
        app = plan.make_app()
        worker = Worker(plan.options, self._listener, app, seat)
        let_others_run(worker.pool)
        signal.signal(signal.SIGTERM, lambda *_: worker.stop_soon())
        worker.announce = lambda: os.write(pipe, b"1")
        worker.run()
        if hasattr(app, "close"):
            app.close()


def _how(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"status {os.WEXITSTATUS(status)}"
