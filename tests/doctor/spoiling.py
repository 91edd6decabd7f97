"""What may stand before a server: nginx that is set up wrongly, and a proxy that spoils one thing."""

import http.client
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.proxy.front import Front, temporary_places
from tests.serving import free_port

SECONDS = 60
_RIGHT = """
    client_max_body_size 0;
    gzip off;
    location / {
        proxy_pass http://backend;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_request_buffering off;
    }
"""


class WrongNginx(Front):
    """nginx in a folder of its own, with parts of a right configuration replaced."""

    def __init__(self, folder: Path, backend: int, spoiled: dict[str, str]) -> None:
        folder.mkdir()
        port = free_port()
        server = _RIGHT
        for right, wrong in spoiled.items():
            assert right in server
            server = server.replace(right, wrong)
        config = folder / "nginx.conf"
        config.write_text(
            f"""
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off;
            pid {folder}/pid;
            error_log {folder}/error.log;
            events {{ }}
            http {{
                {temporary_places(folder)}
                access_log off;
                upstream backend {{ server 127.0.0.1:{backend}; }}
                server {{
                    listen 127.0.0.1:{port};
                    {server}
                }}
            }}
            """
        )
        super().__init__(["nginx", "-c", str(config), "-e", f"{folder}/error.log"], port, folder / "output")


class Passing:
    """A request and its answer on their way through; a spoiler changes either before it goes on.

    Attributes:
        status: of the answer; one that is set before it is there is the answer.
    """

    def __init__(self, method: str, target: str, fields: list[tuple[str, str]], body: bytes) -> None:
        self.method = method
        self.target = target
        self.fields = dict(fields)
        self.body = body
        self.status = 0
        self.answered: list[tuple[str, str]] = []
        self.answer = b""

    def drop(self, field: str) -> None:
        self.fields = {name: value for name, value in self.fields.items() if name.lower() != field.lower()}

    def replace(self, field: str, value: str | None) -> None:
        """Of the answer."""
        self.answered = [(name, old) for name, old in self.answered if name.lower() != field.lower()]
        if value is not None:
            self.answered.append((field, value))


class Spoiler:
    """What is changed on the way."""

    refuses_expect = False

    def asked(self, passing: Passing) -> None:
        """Before the server gets it."""

    def told(self, passing: Passing) -> None:
        """Before the client gets it."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client; `backend` and `spoiler` are given by the proxy's own class of it."""

    backend: int
    spoiler: Spoiler
    protocol_version = "HTTP/1.1"

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)

    def handle_expect_100(self) -> bool:
        if self.spoiler.refuses_expect:
            self.close_connection = True
            self.send_error(417)
            return False
        return super().handle_expect_100()

    def log_message(self, *arguments: object) -> None:
        pass

    def _pass_on(self) -> None:
        passing = Passing(self.command, self.path, self.headers.items(), self._body())
        self.spoiler.asked(passing)
        if not passing.status:
            self._forward(passing)
        self.spoiler.told(passing)
        self.send_response_only(passing.status)
        for name, value in passing.answered:
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        if passing.status != 204:
            self.send_header("Content-Length", str(len(passing.answer)))
        self.end_headers()
        with suppress(ConnectionError):  # who wanted to see no more than the head
            self.wfile.write(passing.answer)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _forward(self, passing: Passing) -> None:
        for field in ("Transfer-Encoding", "Content-Length", "Expect", "Connection"):
            passing.drop(field)
        connection = http.client.HTTPConnection("127.0.0.1", self.backend, timeout=SECONDS)
        try:
            connection.putrequest(passing.method, passing.target, skip_host=True, skip_accept_encoding=True)
            for name, value in (passing.fields | {"Content-Length": str(len(passing.body))}).items():
                connection.putheader(name, value)
            connection.endheaders(passing.body)
            found = connection.getresponse()
            passing.status, passing.answered, passing.answer = found.status, found.getheaders(), found.read()
        finally:
            connection.close()


@contextmanager
def spoiled(backend: int, spoiler: Spoiler) -> Iterator[int]:
    """The port of a proxy that spoils what the spoiler does."""
    handler = type("Handler", (_Handler,), {"backend": backend, "spoiler": spoiler})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
