"""SIGHUP takes over what the configuration says now of limits; what is wrong with it changes nothing."""

import os
import signal
import socket
from pathlib import Path

from tests.serving import Server, wait_for


def _status(server: Server, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(data)
        return connection.recv(12)[9:]


def _reload(server: Server, sign: str) -> None:
    before = server.log.read_text().count(sign)
    os.kill(server.pids()[0], signal.SIGHUP)
    wait_for(lambda: server.log.read_text().count(sign) > before, 60, sign)


def test_what_new_workers_go_by(tmp_path: Path) -> None:
    """Sizes and times of the head of a request, which the server itself looks at, not the application."""
    file = tmp_path / "wsgidav.yaml"
    long_line = b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    large_head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: " + b"a" * 5000 + b"\r\n\r\n"

    def write(limits: str) -> None:
        file.write_text(f"baludav:\n  limits: {limits}\n")

    write("{request_line: 1KiB, headers: 4KiB, head_seconds: 600}")
    with Server(tmp_path / "data", workers=2, config=file) as server:
        assert _status(server, long_line) == b"414"
        assert _status(server, large_head) == b"431"

        workers = set(server.pids()[1:])
        write("{request_line: 4KiB, headers: 8KiB, head_seconds: 1}")
        _reload(server, "new workers serve")
        wait_for(lambda: not workers & set(server.pids()), 60, "the old ones have left")
        assert _status(server, long_line) == b"401"
        assert _status(server, large_head) == b"200"
        assert _status(server, b"GET / HT") == b"408"


def test_a_file_that_is_wrong(tmp_path: Path) -> None:
    """The old workers go on, told why; one that dies is replaced by one like it. Neither can the data folder change."""
    file = tmp_path / "wsgidav.yaml"
    file.write_text("baludav:\n  limits:\n    request_line: 1KiB\n")
    long_line = b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    with Server(tmp_path / "data", workers=2, config=file) as server:
        workers = server.pids()[1:]
        file.write_text("baludav:\n  limits:\n    request_line: 4KB\n    headers: 1\n")
        _reload(server, f"the old ones go on: {file}:4: baludav.limits.headers: 1 is too small; 4096 is the least")
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: len(server.pids()) == 3 and workers[0] not in server.pids(), 60, "it is replaced")
        for _ in range(20):
            assert _status(server, long_line) == b"414"


def test_another_data_folder_needs_a_restart(tmp_path: Path) -> None:
    """Nobody would have claimed it for this server, nor made it ready."""
    file = tmp_path / "wsgidav.yaml"
    file.write_text(f"baludav:\n  data: {tmp_path / 'data'}\n")
    server = Server(tmp_path / "data", workers=1, config=file)
    del server.environment["BALUDAV_DATA"]
    with server:
        workers = server.pids()[1:]
        file.write_text(f"baludav:\n  data: {tmp_path / 'other'}\n")
        _reload(server, f"{tmp_path / 'other'} instead of {tmp_path / 'data'} needs a restart")
        assert server.pids()[1:] == workers
        assert not (tmp_path / "other").exists()
