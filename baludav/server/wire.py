"""The bytes of a connection, in a thread of the pool: sent and received whole, while its client is patient enough.

The socket does not block. Whoever has to wait for the client says so to the pool, and waits as long as it gets on.
"""

import errno
import os
import select
import socket
import ssl
from typing import TYPE_CHECKING

from baludav import metrics
from baludav.limits.reached import reached
from baludav.server.patience import Patience

if TYPE_CHECKING:
    from baludav.server.worker import Worker

_PIECE = 256 * 1024
_SOON = 0.02  # seconds
_CROWDED = "The server waits for too many of your clients; try again when some of them are done"


class Wire:
    """The sending and receiving half of a connection.

    Attributes:
        sent: bytes of all answers.
        patience: with the client.
    """

    def __init__(self, server: "Worker", sock: socket.socket) -> None:
        self.server = server
        self.socket: socket.socket | ssl.SSLSocket = sock
        self.remote_addr = ""
        self.sent = 0
        self.patience = Patience(server.options.body_seconds, server.options.transfer_rate)

    @property
    def owner(self) -> str:
        """Whose client it is, as far as that is known."""
        return self.remote_addr

    def receive_into(self, view: memoryview) -> int:
        """Wait for bytes; 0 at the end of the stream.

        Raises:
            TimeoutError: they come too slowly.
        """
        while True:
            try:
                count = self.socket.recv_into(view)
                metrics.count("received_bytes", count)
                self.patience.moved(count)
                return count
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
            except ConnectionError:
                return 0

    def send(self, *pieces: bytes | memoryview, more: bool = False) -> None:
        """Send all of it, in one system call if the socket takes it.

        Args:
            more: a file follows, and shall leave in the same packet.
        """
        data = [memoryview(piece) for piece in pieces if len(piece)]
        while data:
            try:
                if isinstance(self.socket, ssl.SSLSocket):
                    sent = self.socket.send(data[0])
                else:
                    sent = self.socket.sendmsg(data, (), socket.MSG_MORE if more else 0)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait_for_room()
                continue
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
                continue
            self.count_sent(sent)
            advance(data, sent)

    def send_at_once(self, *pieces: bytes) -> bool:
        """Send all of it without waiting; False if the socket does not take it. For any thread."""
        data = b"".join(pieces)
        try:
            sent = self.socket.send(data)
            self.count_sent(sent)
            return sent == len(data)
        except (OSError, ssl.SSLError):
            return False

    def send_file(self, fd: int, offset: int, length: int) -> int | None:
        """Send part of a file, without copying it where the socket allows.

        Returns:
            bytes that were sent, fewer if the client has to be waited for; None if the file is shorter.
        """
        send = self._send_piece if isinstance(self.socket, ssl.SSLSocket) else self._send_from_file
        left = length
        while left:
            try:
                sent = send(fd, offset, left)
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not self._has_room_soon():
                    break
                continue
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
                continue
            if sent == 0:
                return None
            self.count_sent(sent)
            offset += sent
            left -= sent
        return length - left

    def _send_from_file(self, fd: int, offset: int, length: int) -> int:
        try:
            return os.sendfile(self.socket.fileno(), fd, offset, length)
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                raise ConnectionResetError from error
            raise

    def _send_piece(self, fd: int, offset: int, length: int) -> int:
        """The same through TLS: asked again after it would have blocked, it sends the same piece, as that must be."""
        piece = os.pread(fd, min(length, _PIECE), offset)
        return self.socket.send(piece) if piece else 0

    def _has_room_soon(self) -> bool:
        """Wait a moment for the client to take more: most do at once, and a thread that stays at it is faster."""
        self.patience.start(self.socket.fileno())
        try:
            return self.poll(select.POLLOUT, min(_SOON, self.patience.left))
        finally:
            self.patience.stop()

    def count_sent(self, count: int) -> None:
        """Count bytes of an answer that the socket has taken."""
        self.sent += count
        metrics.count("sent_bytes", count)

    def _wait(self, event: int) -> None:
        """Wait for the client.

        Raises:
            TimeoutError: it is too slow, or one of too many.
        """
        owner, waits = self.owner, self.server.waits
        if not waits.enter(owner):
            raise TimeoutError(_CROWDED)
        try:
            is_ready = False
            while not is_ready:
                if not self.patience.left:
                    raise TimeoutError(self.patience.told)
                self.patience.start(self.socket.fileno())
                is_ready = self.poll(event, self.patience.left)
                self.patience.stop()
        finally:
            waits.leave(owner)

    def _wait_for_room(self) -> None:
        """Wait until the client takes more of its answer."""
        try:
            self._wait(select.POLLOUT)
        except TimeoutError as error:
            self.give_up_reader(str(error))
            raise

    def poll(self, event: int, seconds: float) -> bool:
        """Wait for the socket while others of the pool run; False if nothing has happened in this time."""
        poll = select.poll()
        poll.register(self.socket.fileno(), event)
        with self.server.pool.blocked():
            return seconds > 0 and bool(poll.poll(seconds * 1000))

    def give_up_reader(self, why: str) -> None:
        """Note that the client did not take its answer."""
        reached("transfer_rate", self.remote_addr, why)


def advance(data: list[memoryview], sent: int) -> None:
    """Drop what was sent."""
    while data and sent >= len(data[0]):
        sent -= len(data.pop(0))
    if data:
        data[0] = data[0][sent:]
