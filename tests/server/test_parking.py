"""Answers that wait cost no thread, hear of everything, and hold nothing and nobody up."""

import contextlib
import http.client
import random
import signal
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.conftest import Running, receive_all
from tests.server.news import UNSEEN, News
from tests.serving import STOP_SECONDS, wait_for

MANY = 300


@pytest.fixture
def news(plain: Running) -> Iterator[News]:
    """What every server of this process waits for."""
    news = News(plain.file.parent)
    yield news
    news.close()


class Listener:
    """One client of a stream."""

    def __init__(self, server: Running, query: str, context: ssl.SSLContext | None = None) -> None:
        self.connection = server.connect()
        if context is not None:
            self.connection = context.wrap_socket(self.connection, server_hostname="localhost")
        self.connection.sendall(f"GET /stream?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self._received = b""

    def line(self) -> bytes:
        """The next line, without its chunk's frame."""
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        if separator and head.startswith(b"HTTP/1.1 200 "):
            self._received = rest
        while self._received.count(b"\r\n") < 2 or self._received.startswith(b"HTTP/"):
            piece = self.connection.recv(4096)
            if not piece:
                raise EOFError(self._received)
            self._received += piece
            if self._received.startswith(b"HTTP/") and b"\r\n\r\n" in self._received:
                assert b"\r\nTransfer-Encoding: chunked\r\n" in self._received
                self._received = self._received.partition(b"\r\n\r\n")[2]
        size, line, self._received = self._received.split(b"\r\n", 2)
        assert int(size, 16) == len(line)
        return line.rstrip(b"\n")

    def close(self) -> None:
        self.connection.close()


def _worker(server: Running) -> Path:
    (pid,) = server.workers()
    return Path(f"/proc/{pid}")


def _threads(server: Running) -> int:
    return len(list((_worker(server) / "task").iterdir()))


def _memory(server: Running) -> int:
    """Resident bytes of the worker."""
    lines = (_worker(server) / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _waiting(server: Running) -> int:
    return int(server.ask("GET /waiting HTTP/1.1")[1])


def _poll(server: Running, since: int, seconds: float = 20) -> bytes:
    return f"GET /poll?since={since}&seconds={seconds} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def test_many_listeners_cost_no_thread_and_little_memory(start: Callable[..., Running], news: News) -> None:
    """All are told of what happens, and of the next thing too."""
    server = start()
    number = news.read()
    with contextlib.ExitStack() as stack:
        stack.callback(Listener(server, f"since={number}").close)
        wait_for(lambda: _waiting(server) == 1, 10, "one listener")
        threads, memory = _threads(server), _memory(server)
        listeners = [stack.enter_context(contextlib.closing(Listener(server, f"since={number}"))) for _ in range(MANY)]
        wait_for(lambda: _waiting(server) == MANY + 1, 20, "all listeners")
        assert _threads(server) <= threads + 4  # those of the pool, which is not larger for it
        assert _memory(server) - memory < MANY * 64 * 1024
        for told in (number + 1, number + 2):
            news.tell(told)
            assert [listener.line() for listener in listeners] == [b"%d" % told] * MANY


def test_who_listens_again_hears_what_was_told_meanwhile(plain: Running, news: News) -> None:
    """Also when nobody listened at all for a time."""
    number = news.read()
    news.tell(number + 1)
    with contextlib.closing(Listener(plain, f"since={number}")) as listener:
        assert listener.line() == b"%d" % (number + 1)


def test_a_poll_is_answered_when_something_happens(plain: Running, news: News) -> None:
    """The connection then takes the next request, also one that was sent before the answer."""
    number = news.read()
    with plain.connect() as connection:
        connection.sendall(_poll(plain, number))
        wait_for(lambda: _waiting(plain) == 1, 10, "the poll is parked")
        connection.sendall(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        news.tell(number + 1)
        answer = receive_all(connection)
    first, second = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert first.endswith(b"\r\n\r\n%x\r\n%d\r\n0\r\n\r\n" % (len(str(number + 1)), number + 1))
    assert b'"path": "/next"' in second


def test_a_poll_ends_when_its_time_is_over(plain: Running, news: News) -> None:
    """With what there is."""
    connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=20)
    for _ in range(2):
        connection.request("GET", f"/poll?since={news.read()}&seconds=0.1")
        assert int(connection.getresponse().read()) == news.read()
    connection.close()


def test_nothing_is_missed_however_waiting_and_telling_race(start: Callable[..., Running], news: News) -> None:
    """What is told just while an answer is parked is told to it, on several workers."""
    server = start(workers=2)
    chance = random.Random(7)
    pause = threading.Event()
    for _ in range(150):
        number = news.read()
        connections = [server.connect() for _ in range(4)]
        for connection in connections:
            connection.sendall(_poll(server, number, 60))
        pause.wait(chance.random() * 0.003)
        news.tell(number + 1)
        for connection in connections:
            connection.settimeout(30)
            assert b"%d\r\n0\r\n\r\n" % (number + 1) in _chunks(connection)
            connection.close()


def test_what_a_failed_look_did_not_see_is_told_soon(start: Callable[..., Running], news: News) -> None:
    """An index that does not answer for a moment costs nobody the change, though nothing else happens after it."""
    server = start()
    number = news.read()
    with contextlib.closing(Listener(server, f"since={number}&seconds=3600")) as listener:
        wait_for(lambda: _waiting(server) == 1, 10, "the listener")
        news.tell(UNSEEN)
        assert listener.line() == b"%d" % UNSEEN
    news.tell(number + 1)


def _chunks(connection: socket.socket) -> bytes:
    """One chunked answer."""
    answer = b""
    while not answer.endswith(b"0\r\n\r\n"):
        piece = connection.recv(4096)
        assert piece, answer
        answer += piece
    return answer


def test_every_worker_hears(start: Callable[..., Running], news: News) -> None:
    """Listeners are spread over the workers, and one change reaches them all."""
    server = start(workers=3)
    number = news.read()
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(contextlib.closing(Listener(server, f"since={number}"))) for _ in range(60)]
        news.tell(number + 1)
        assert {listener.line() for listener in listeners} == {b"%d" % (number + 1)}


def test_a_client_that_goes_is_noticed(start: Callable[..., Running], news: News) -> None:
    """Whether it closes or is reset; without a word being sent to it."""
    server = start()
    listeners = [Listener(server, f"since={news.read()}") for _ in range(10)]
    wait_for(lambda: _waiting(server) == 10, 10, "all listeners")
    for listener in listeners[:5]:
        listener.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for listener in listeners:
        listener.close()
    wait_for(lambda: _waiting(server) == 0, 10, "nobody listens")


def test_a_client_that_does_not_read_is_dropped(start: Callable[..., Running], news: News) -> None:
    """It holds up none of the others, which hear of everything."""
    server = start()
    number = news.read()
    with contextlib.closing(Listener(server, f"since={number}&size=3000000")) as slow:
        slow.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.closing(Listener(server, f"since={number}")) as other:
            wait_for(lambda: _waiting(server) == 2, 10, "both")
            for told in range(number + 1, number + 6):
                news.tell(told)
                assert other.line() == b"%d" % told
            wait_for(lambda: _waiting(server) == 1, 10, "the slow one is dropped")
        assert len(receive_all(slow.connection)) < 5 * 3_000_000


def test_silence_is_broken(plain: Running, news: News) -> None:
    """Who has nothing to say for some time says so, again and again."""
    with contextlib.closing(Listener(plain, f"since={news.read()}&seconds=0.05")) as listener:
        assert [listener.line() for _ in range(3)] == [b"beat"] * 3
        news.tell(news.read() + 1)
        lines = iter(listener.line, b"%d" % news.read())
        assert set(lines) <= {b"beat"}


def test_a_body_that_fails_fails_alone(plain: Running, news: News) -> None:
    """Its connection is closed; those beside it hear on."""
    number = news.read()
    with contextlib.closing(Listener(plain, f"since={number}&fail=1")) as failing:
        with contextlib.closing(Listener(plain, f"since={number}")) as other:
            wait_for(lambda: _waiting(plain) == 2, 10, "both")
            for told in (number + 1, number + 2):
                news.tell(told)
                assert other.line() == b"%d" % told
        assert receive_all(failing.connection) == b""


def test_head_waits_for_nothing(plain: Running, news: News) -> None:
    """An answer that has no body has nothing to wait for."""
    answer = plain.say(f"HEAD /stream?since={news.read()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    wait_for(lambda: _waiting(plain) == 0, 10, "nobody waits")


def test_http_1_0_gets_no_chunks(plain: Running, news: News) -> None:
    """The end of the connection is the end of the stream."""
    with plain.connect() as connection:
        number = news.read()
        connection.sendall(f"GET /stream?since={number} HTTP/1.0\r\n\r\n".encode())
        wait_for(lambda: _waiting(plain) == 1, 10, "the stream")
        news.tell(number + 1)
        head, _, body = receive_until(connection, b"%d\n" % (number + 1)).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"\r\nConnection: close" in head
    assert body == b"%d\n" % (number + 1)


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        piece = connection.recv(4096)
        assert piece, received
        received += piece
    return received


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_what_waits_at_once(start: Callable[..., Running], news: News, number: signal.Signals) -> None:
    """Streams end as HTTP ends them, polls are answered, and nobody waits for them."""
    server = start(graceful_seconds=60)
    workers = server.workers()
    since = news.read()
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(contextlib.closing(Listener(server, f"since={since}"))) for _ in range(100)]
        poll = stack.enter_context(server.connect())
        poll.sendall(_poll(server, since, 60))
        wait_for(lambda: _waiting(server) == 101, 10, "all wait")
        server.process.send_signal(number)
        assert all(receive_all(listener.connection).endswith(b"\r\n4\r\nend\n\r\n0\r\n\r\n") for listener in listeners)
        assert receive_all(poll).endswith(b"\r\n\r\n%x\r\n%d\r\n0\r\n\r\n" % (len(str(since)), since))
    if number == signal.SIGTERM:
        assert server.process.wait(STOP_SECONDS) == 0
    else:
        wait_for(lambda: not set(server.workers()) & set(workers), 10, "the old worker has left")


def test_listeners_behind_tls(
    start: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory, news: News
) -> None:
    """They are told, beat, are noticed when they go, and cost no thread either."""
    folder = tmp_path_factory.mktemp("tls")
    server = start(tls=str(folder))
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    number = news.read()
    listeners = [Listener(server, f"since={number}&seconds=0.3", context) for _ in range(30)]
    assert {listener.line() for listener in listeners} == {b"beat"}
    assert _threads(server) < 15
    news.tell(number + 1)
    for listener in listeners:
        assert set(iter(listener.line, b"%d" % (number + 1))) <= {b"beat"}
    for listener in listeners[1:]:
        listener.close()
    client = http.client.HTTPSConnection("localhost", server.port, timeout=20, context=context)

    def waiting() -> int:
        client.request("GET", "/waiting")
        return int(client.getresponse().read())

    wait_for(lambda: waiting() == 1, 10, "only one is left")
    client.close()
    listeners[0].close()
