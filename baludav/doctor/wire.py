"""Requests as the doctor sends them, one connection for all, and the raw ones that a library would smooth over."""

import base64
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

SECONDS = 30
_XML_METHODS = ("PROPFIND", "PROPPATCH", "LOCK", "REPORT")
_IDLE_SECONDS = 4  # shorter than what servers keep an idle connection for


class Broken(Exception):
    """There was no answer: the connection failed, ended or fell silent."""


@dataclass(frozen=True)
class Address:
    """Where the tree is.

    Attributes:
        path: percent-encoded, with a slash at both ends.
    """

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Of an http or https URL.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no http or https address")
        if parts.username or parts.query or parts.fragment:
            raise ValueError(f"{url}: give only host, port and path; the user is named by --user")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = quote(parts.path.strip("/"), safe="/%!$&'()*+,;=:@-._~")
        return cls(parts.scheme, parts.hostname, port, f"/{path}/" if path else "/")

    @property
    def netloc(self) -> str:
        """Host and, if it is not the usual one, port, as in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    def __str__(self) -> str:
        return self.origin + self.path


@dataclass(frozen=True)
class Answer:
    """An answer that was read to its end."""

    status: int
    fields: http.client.HTTPMessage
    body: bytes

    def field(self, name: str) -> str:
        """All fields of a name, joined as RFC 9110 §5.2 allows; empty if there is none."""
        return ", ".join(self.fields.get_all(name, [])).strip()


class Client:
    """Sends requests to one server as one user. The password goes nowhere else: no redirect is followed.

    Args:
        trust: what to believe of certificates.
    """

    def __init__(self, address: Address, user: str, password: str, trust: ssl.SSLContext) -> None:
        self.address = address
        self._trust = trust
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        self._connection: http.client.HTTPConnection | None = None
        self._last = 0.0

    def __call__(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        /,
        **fields: str,
    ) -> Answer:
        """Send a request and read its answer.

        Args:
            target: what the request line names, percent-encoded.
            body: pieces are sent as chunks, without a length.
            fields: `If_Match` stands for the field If-Match.

        Raises:
            Broken: no answer.
        """
        return self._answer(method, target, body, {"Authorization": self._authorization, **_spelled(fields)})

    def stranger(self, method: str, target: str, body: bytes | None = None, /, **fields: str) -> Answer:
        """The same as one who has not signed in."""
        return self._answer(method, target, body, _spelled(fields))

    def _answer(self, method: str, target: str, body: bytes | Iterable[bytes] | None, fields: dict[str, str]) -> Answer:
        if body and method in _XML_METHODS:
            fields = {"Content-Type": 'application/xml; charset="utf-8"', **fields}
        with _named(self.address):
            is_old = self._connection is not None and time.monotonic() - self._last < _IDLE_SECONDS
            if not is_old:
                self.close()
            try:
                return self._exchange(method, target, body, fields)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.close()
                if not is_old or not (body is None or isinstance(body, bytes)):
                    raise
            return self._exchange(method, target, body, fields)

    def _exchange(
        self, method: str, target: str, body: bytes | Iterable[bytes] | None, fields: dict[str, str]
    ) -> Answer:
        connection = self._connection = self._connection or self._connect()
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            is_chunked = body is not None and not isinstance(body, bytes)
            framing = {"Content-Length": str(len(body))} if isinstance(body, bytes) else {}
            framing = {"Transfer-Encoding": "chunked"} if is_chunked else framing
            for name, value in (fields | framing).items():
                connection.putheader(name, value)
            # A server that refuses may close before it has all: what it said counts, if it can be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(body, encode_chunked=is_chunked)
            found = connection.getresponse()
            answer = Answer(found.status, found.headers, found.read())
        except BaseException:
            self.close()
            raise
        self._last = time.monotonic()
        if found.will_close:
            self.close()
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        address = self.address
        if address.scheme == "https":
            return http.client.HTTPSConnection(address.host, address.port, timeout=SECONDS, context=self._trust)
        return http.client.HTTPConnection(address.host, address.port, timeout=SECONDS)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def tls(self) -> tuple[str, float]:
        """The version of TLS, and until when the certificate is valid, in seconds since the epoch."""
        with _named(self.address), self._plug() as plug:
            assert isinstance(plug, ssl.SSLSocket)
            certificate = plug.getpeercert() or {}
            until = str(certificate.get("notAfter", "Jan 1 00:00:00 9999 GMT"))
            return plug.version() or "TLS", ssl.cert_time_to_seconds(until)

    @contextlib.contextmanager
    def begin(self, method: str, target: str, /, **fields: str) -> "Iterator[Begun]":
        """Send the head of a request on a connection of its own."""
        sent = {"Host": self.address.netloc, "Connection": "close", "Authorization": self._authorization}
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in (sent | _spelled(fields)).items()
        )
        with _named(self.address), self._plug() as plug:
            plug.sendall(head.encode("latin-1") + b"\r\n")
            yield Begun(plug)

    def _plug(self) -> socket.socket:
        address = self.address
        plug = socket.create_connection((address.host, address.port), SECONDS)
        if address.scheme == "http":
            return plug
        try:
            return self._trust.wrap_socket(plug, server_hostname=address.host)
        except BaseException:
            plug.close()
            raise


class Begun:
    """A request whose head was sent, and whose answer may come before its body is."""

    def __init__(self, plug: socket.socket) -> None:
        self._plug = plug
        self._got = b""

    def send(self, piece: bytes) -> Self:
        self._plug.sendall(piece)
        return self

    def status(self, seconds: float = SECONDS) -> int | None:
        """Status of the next answer, be it an interim one; None: none has come in so many seconds."""
        head = self._until(b"\r\n\r\n", seconds)
        if head is None:
            return None
        words = head.split(None, 2)
        if len(words) < 2 or not words[1].isdigit():
            raise Broken("what came back is no HTTP")
        return int(words[1])

    def has_more(self, text: bytes, seconds: float) -> bool:
        """True once this text has come as part of the body."""
        return self._until(text, seconds) is not None

    def _until(self, mark: bytes, seconds: float) -> bytes | None:
        deadline = time.monotonic() + seconds
        while mark not in self._got:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._plug.settimeout(left)
            try:
                piece = self._plug.recv(65_536)
            except TimeoutError:
                return None
            if not piece:
                raise Broken("the connection was closed without an answer")
            self._got += piece
        found, _, self._got = self._got.partition(mark)
        self._plug.settimeout(SECONDS)
        return found


def _spelled(fields: dict[str, str]) -> dict[str, str]:
    return {"User-Agent": "baludav-doctor", **{name.replace("_", "-"): value for name, value in fields.items()}}


@contextlib.contextmanager
def _named(address: Address) -> Iterator[None]:
    """What goes wrong on the way, in words."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Broken(f"the certificate is not to be trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Broken(f"TLS fails: {error.reason or error}") from error
    except socket.gaierror as error:
        raise Broken(f"there is no host {address.host}") from error
    except ConnectionRefusedError as error:
        raise Broken(f"nothing listens at {address.netloc}") from error
    except TimeoutError as error:
        raise Broken(f"no answer within {SECONDS} seconds") from error
    except (OSError, http.client.HTTPException) as error:
        raise Broken("the connection was closed without an answer") from error
