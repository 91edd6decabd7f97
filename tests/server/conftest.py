"""Starts the test application, and speaks to it over raw sockets."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]


class Running:
    """A running server.

    Args:
        files: how many the system lets it open, if not as many as this process.
    """

    def __init__(self, folder: Path, files: int = 0, **options: Any) -> None:
        self.file = folder / "large"
        if not self.file.exists():
            self.file.write_bytes(os.urandom(1 << 20) * 64)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.application", json.dumps({"workers": 1, **options})],
            cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "TEST_FILE": str(self.file)},
            preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None,
        )  # fmt: skip
        assert self.process.stdout is not None
        try:
            self.port = int(self.process.stdout.readline())
        except BaseException:  # interrupted, or it did not start
            self.end()
            raise

    def connect(self, timeout: float = 60) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def say(self, data: bytes, *, end: bool = False) -> bytes:
        """Send bytes on a new connection; everything that comes back until the server closes it."""
        with self.connect() as connection:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return receive_all(connection)

    def ask(self, head: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request, closed after it: status and body."""
        answer = self.say(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode() + body)
        top, _, rest = answer.partition(b"\r\n\r\n")
        return int(top.split(b" ")[1]), rest

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def receive_all(connection: socket.socket) -> bytes:
    """Everything until the end of the stream; a reset counts as its end."""
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """Starts servers with the given options; all are ended with the tests."""
    folder = tmp_path_factory.mktemp("server")
    started: list[Running] = []

    def start(**options: Any) -> Running:
        started.append(Running(folder, **options))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture(scope="session")
def plain(start: Callable[..., Running]) -> Running:
    """A server with patience for a slow machine."""
    return start()
