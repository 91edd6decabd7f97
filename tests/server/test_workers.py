"""The master keeps workers running, replaces them, and stops without breaking what has begun."""

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from baludav.server.balance import Balance
from baludav.server.worker import Worker
from baludav.server.workers import Plan, ServerOptions, serve
from tests.server.conftest import Running, receive_all
from tests.serving import STOP_SECONDS, wait_for

DOWNLOAD = b"GET /file HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def _begin_download(server: Running) -> tuple[socket.socket, bytes]:
    connection = server.connect()
    connection.sendall(DOWNLOAD)
    return connection, connection.recv(1000)


def _length(answer: bytes) -> int:
    return len(answer.partition(b"\r\n\r\n")[2])


def test_a_killed_worker_is_replaced(start: Callable[..., Running]) -> None:
    """Only its own requests fail; the others go on, and soon there are as many workers as before."""
    server = start(workers=2)
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    for _ in range(20):
        assert server.ask("GET / HTTP/1.1")[0] == 200
    wait_for(lambda: len(server.workers()) == 2 and before[0] not in server.workers(), 10, "a new worker")


def test_all_workers_die_at_once(start: Callable[..., Running]) -> None:
    """They are replaced, though not at once, since they lived so shortly; until then a stop is a stop."""
    for is_stopped in (False, True):
        server = start(workers=2)
        before = server.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda server=server, before=before: not set(server.workers()) & set(before), 10, "they are gone")
        if is_stopped:
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(STOP_SECONDS) == 0
        else:
            assert server.ask("GET / HTTP/1.1")[0] == 200
            wait_for(lambda server=server: len(server.workers()) == 2, 10, "both are replaced")


def test_a_stop_before_all_workers_are_ready(start: Callable[..., Running]) -> None:
    """A worker that has just begun, or is about to, stops as well."""
    for _ in range(5):
        server = start(workers=8)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_SECONDS) == 0


def test_a_stop_just_before_a_worker_serves() -> None:
    """It is not forgotten while the worker makes ready."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(
            ServerOptions("127.0.0.1", listener.getsockname()[1], workers=1), listener, lambda *_: (), Balance(1).take()
        )
        worker.stop_soon()
        worker.run()


def test_sigterm_lets_a_transfer_finish(start: Callable[..., Running]) -> None:
    """A download that has begun is completed; then everything has ended, with status 0."""
    server = start(workers=2)
    connection, first = _begin_download(server)
    server.process.send_signal(signal.SIGTERM)
    with connection:
        assert _length(first + receive_all(connection)) == server.file.stat().st_size
    assert server.process.wait(STOP_SECONDS) == 0
    with pytest.raises(OSError, match="refused"):
        server.connect()


def test_sighup_renews_the_workers(start: Callable[..., Running]) -> None:
    """New workers serve, and a download from an old one is completed."""
    server = start()
    before = server.workers()
    connection, first = _begin_download(server)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: set(server.workers()) - set(before), 10, "a new worker")
    with connection:
        assert _length(first + receive_all(connection)) == server.file.stat().st_size
    wait_for(lambda: not set(server.workers()) & set(before), 10, "the old worker leaves")
    assert server.ask("GET / HTTP/1.1")[0] == 200


def test_a_reload_that_fails_changes_nothing(start: Callable[..., Running], tmp_path: Path) -> None:
    """When the application cannot be made, the old workers go on."""
    flag = tmp_path / "broken"
    server = start(break_after=str(flag))
    before = server.workers()
    flag.touch()
    server.process.send_signal(signal.SIGHUP)
    for _ in range(20):
        assert server.ask("GET / HTTP/1.1")[0] == 200
    wait_for(lambda: server.workers() == before, 10, "the end of the attempt")
    assert server.ask("GET / HTTP/1.1")[0] == 200


def test_workers_end_with_their_master(start: Callable[..., Running]) -> None:
    """A master that is killed leaves no process behind."""
    server = start(workers=2)
    workers = server.workers()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait(STOP_SECONDS)
    wait_for(lambda: not any(_is_running(pid) for pid in workers), 10, "the workers' end")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_port_in_use_is_an_error_at_once() -> None:
    """The caller learns why, before any process is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = ServerOptions(host="127.0.0.1", port=taken.getsockname()[1], workers=1)
        with pytest.raises(OSError) as caught:
            serve(Plan(options, lambda: lambda environ, start: []))
    assert caught.value.errno == errno.EADDRINUSE
    assert threading.active_count() >= 1
