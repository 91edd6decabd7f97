"""A network between client and server that loses connections."""

import contextlib
import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self


class Relay:
    """Passes bytes on to a server; start it with `with`.

    Args:
        server_port: on this machine.
        cuts: when so many bytes have come from clients altogether, the connection they came by is lost.

    Attributes:
        port: to connect to.
        sent: bytes that have come from clients.
        lost: how many connections were lost.
    """

    def __init__(self, server_port: int, cuts: Iterable[int] = ()) -> None:
        self._server_port = server_port
        self._cuts = sorted(cuts, reverse=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._turn = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.sent = 0
        self.lost = 0

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for one in (self._listener, *self._open):
            _shut(one)
        for thread in self._threads:  # grows no more once the first has ended
            thread.join(20)
            assert not thread.is_alive(), "the relay goes on"
        for one in (self._listener, *self._open):
            one.close()

    def _begin(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port), timeout=60)
            client.settimeout(60)
            self._open |= {client, server}
            self._begin(self._pass_on, client, server, True)
            self._begin(self._pass_on, server, client, False)

    def _pass_on(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
                if is_client and self._is_cut(len(data)):
                    break
        _shut(source)
        _shut(target)

    def _is_cut(self, more: int) -> bool:
        with self._turn:
            self.sent += more
            if not self._cuts or self.sent < self._cuts[-1]:
                return False
            self._cuts.pop()
            self.lost += 1
            return True


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
