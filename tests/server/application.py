"""A small WSGI application behind the real server, run as a process of its own by the tests of this room."""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from baludav.server.tls import context, self_signed
from baludav.server.workers import Plan, ServerOptions, serve
from tests.server.news import Source


class _File:
    """A file body as the server recognises it."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self.offset = 0
        self.length = os.fstat(self._fd).st_size

    def fileno(self) -> int:
        return self._fd

    def __iter__(self) -> Iterator[bytes]:
        yield os.pread(self._fd, self.length, 0)

    def close(self) -> None:
        os.close(self._fd)


def application(source: Source, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    text = [("Content-Type", "text/plain")]
    if path == "/file":
        body = _File(os.environ["TEST_FILE"])
        start("200 OK", [("Content-Length", str(body.length))])
        return body
    if path == "/raise":
        raise RuntimeError("as asked")
    if path == "/split":
        start("200 OK", [("X-Bad", "a\r\nSet-Cookie: b"), ("Content-Length", "0")])
        return []
    if path == "/short":
        start("200 OK", [("Content-Length", "10")])
        return [b"abc"]
    if path == "/none":
        start("204 No Content", [])
        return []
    if path == "/unread":
        start("403 Forbidden", [*text, ("Content-Length", "2")])
        return [b"no"]
    if path in ("/stream", "/poll"):
        start("200 OK", text)
        return source.body(path, environ["QUERY_STRING"])
    if path == "/waiting":
        count = str(len(source.waiting)).encode()
        start("200 OK", [*text, ("Content-Length", str(len(count)))])
        return [count]
    try:
        received = environ["wsgi.input"].read()
    except EOFError:
        start("400 Bad Request", [*text, ("Content-Length", "5")])
        return [b"short"]
    answer = json.dumps(
        {
            "pid": os.getpid(),
            "method": environ["REQUEST_METHOD"],
            "path": path,
            "uri": environ["REQUEST_URI"],
            "length": len(received),
            "forwarded": environ.get("HTTP_X_FORWARDED_FOR"),
            "mark": environ.get("HTTP_X_MARK"),
        }
    ).encode()
    start("200 OK", [*text, ("Content-Length", str(len(answer)))])
    return [answer]


def _announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


def main(options: str) -> int:
    given = json.loads(options)
    if folder := given.pop("tls", None):
        given["ssl"] = context(*self_signed(Path(folder), "localhost"))
    flag = given.pop("break_after", None)

    def make() -> Any:
        if flag and Path(flag).exists():
            raise RuntimeError("this application cannot be made")
        return functools.partial(application, Source(Path(os.environ["TEST_FILE"]).parent))

    return serve(Plan(ServerOptions(host="127.0.0.1", port=0, **given), make), ready=_announce)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
