"""Real proxies in front of a server of the tests, set up as the README says."""

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import requests

from baludav.server.tls import self_signed
from tests.http.client import User
from tests.serving import TOP, Server, free_port, wait_for

_numbers = itertools.count()
_README = (TOP / "README.md").read_text(encoding="utf-8")


def readme(language: str, holding: str) -> str:
    """The one code block of the README in this language that holds this text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", _README, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if holding in block]
    return str(found)


def replaced(text: str, replacements: Mapping[str, object]) -> str:
    """The text with each of some parts replaced, of which all must be there."""
    for old, new in replacements.items():
        assert old in text, f"the README does not say {old!r} any more"
        text = text.replace(old, str(new))
    return text


class Front:
    """A proxy in a process of its own: start it with `with`.

    Args:
        command: what to run; it must stay in the foreground.
        port: that it will listen on.
        log: file that its complaints go to.
    """

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_for(self._listens, 20, f"{self._command[0]} listens")
        except BaseException as error:
            error.add_note(self._log.read_text(errors="replace"))
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._command[0]} has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False


def temporary_places(folder: Path) -> str:
    """What has nginx keep its temporary files in a folder of its own."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)


class Nginx(Front):
    """nginx in a folder of its own, with the blocks of the README inside what Debian's configuration has around them.

    Args:
        backend: host and port of the server behind it.
        paths: where the files are, for what the README has in their place.

    Attributes:
        certificate: for clients to trust.
        access: a line for each request: the field `X-Number` of it, and what the server told nginx to send.
    """

    def __init__(self, folder: Path, backend: str, paths: Mapping[str, object]) -> None:
        folder.mkdir()
        self.certificate, key = self_signed(folder / "tls", "localhost")
        self.access = folder / "access.log"
        port = free_port()
        blocks = replaced(
            readme("nginx", "proxy_pass"),
            {
                "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
                "/etc/ssl/nas.pem": self.certificate,
                "/etc/ssl/nas.key": key,
                "127.0.0.1:8080": backend,
            },
        )
        inside = replaced(readme("nginx", "internal;"), paths)
        assert blocks.endswith("}\n")
        blocks = readme("nginx", "map ") + blocks.removesuffix("}\n") + inside + "}\n"
        config = folder / "nginx.conf"
        config.write_text(
            f"""
            {"user root;" if os.geteuid() == 0 else ""}
            worker_processes 2;
            daemon off;
            pid {folder}/pid;
            error_log {folder}/error.log;
            events {{ }}
            http {{
                {temporary_places(folder)}
                sendfile on;
                tcp_nopush on;
                include /etc/nginx/mime.types;
                default_type application/octet-stream;
                gzip on;
                log_format told '$http_x_number $upstream_http_x_accel_redirect';
                access_log {self.access} told;
                {blocks}
            }}
            """
        )
        super().__init__(["nginx", "-c", str(config), "-e", f"{folder}/error.log"], port, folder / "output")

    def told(self, user: "Behind") -> str:
        """What nginx was told to send for the newest request of a user; `-` if the server sent the bytes itself."""

        def lines() -> list[str]:
            words = (line.split(" ") for line in self.access.read_text().splitlines())
            return [told for number, told in words if number == user.number]

        wait_for(lines, 10, "nginx has logged the request, which it does when all is sent")
        (told,) = lines()
        return told


class Behind(User):
    """A user who comes through a proxy, and numbers the requests.

    Args:
        url: of the proxy.
        certificate: to trust, if it speaks TLS.
    """

    def __init__(self, server: Server, name: str, url: str, certificate: Path | None = None, top: str = "") -> None:
        super().__init__(server, name, top)
        self.base = url
        self.number = ""
        if certificate is not None:
            self.session.verify = str(certificate)
            self.session.trust_env = False  # REQUESTS_CA_BUNDLE would win over it

    def __call__(self, method: str, path: str, data: object = None, **headers: str) -> requests.Response:
        self.number = str(next(_numbers))
        return super().__call__(method, path, data, X_Number=self.number, **headers)

    def url(self, path: str) -> str:
        return f"{self.base}/dav{self.top}{quote(path)}"
