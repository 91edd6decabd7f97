"""What leaves the server: framing, 100 Continue, bodies left unread, files."""

import hashlib

import pytest

from tests.server.conftest import Running, receive_all

NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_continue_is_sent_only_when_the_body_is_read(plain: Running) -> None:
    """An application that refuses without reading spares the client the upload."""
    head = b"PUT %s HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
    with plain.connect() as connection:
        connection.sendall(head % b"/read")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"abc")
        assert b'"length": 3' in connection.recv(1000)
    refused = plain.say(head % b"/unread")
    assert refused.startswith(b"HTTP/1.1 403 ")
    assert b"100 Continue" not in refused


@pytest.mark.parametrize("method", ["HEAD /any", "HEAD /unread", "GET /none", "HEAD /raise"])
def test_answers_without_a_body_have_none(plain: Running, method: str) -> None:
    """HEAD and 204 send no body, whatever the application says, so the next answer begins where it should."""
    answer = plain.say(f"{method} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + NEXT)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert rest.startswith(b"HTTP/1.1 200 ") or (b"Connection: close" in head and rest == b"")
    if b" 204 " in head:
        assert b"Content-Length" not in head


def test_an_unread_body_does_not_become_a_request(plain: Running) -> None:
    """A refusal that leaves a large body unread is read by the client, and what it sent is never answered."""
    body = NEXT * 60_000
    for framing in (b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked"):
        with plain.connect() as connection:
            connection.sendall(b"PUT /unread HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
            sent = b"%x\r\n" % len(body) + body if b"chunked" in framing else body
            try:
                connection.sendall(sent)
            except (BrokenPipeError, ConnectionResetError):
                continue  # it stopped listening, which is as good
            answer = receive_all(connection)
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert b"next" not in answer


@pytest.mark.parametrize("size", [0, 10, 70_000, 1_000_000])
def test_a_refused_body_does_not_cost_the_connection(plain: Running, size: int) -> None:
    """After a refusal that read nothing of a body of a usual size, the next request is served."""
    for _ in range(20):
        with plain.connect() as connection:
            connection.sendall(b"PUT /unread HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            connection.sendall(b"x" * size + NEXT)
            answers = receive_all(connection)
        assert answers.startswith(b"HTTP/1.1 403 ")
        assert b'"path": "/next"' in answers


def test_a_large_refused_body_costs_the_connection_and_the_client_is_told(plain: Running) -> None:
    """Reading it would take longer than connecting again."""
    refused = plain.say(b"PUT /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in refused


def test_a_short_body_is_an_error(plain: Running) -> None:
    """A client that ends before its body does is told, and nothing else happens."""
    assert plain.say(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc", end=True).startswith(
        b"HTTP/1.1 400 "
    )


@pytest.mark.parametrize("path", ["/raise", "/split"])
def test_a_broken_application_is_a_500(plain: Running, path: str) -> None:
    """An exception, or a line break in a field, becomes a plain 500; nothing of it reaches the client."""
    status, body = plain.ask(f"GET {path} HTTP/1.1")
    assert status == 500
    assert b"Set-Cookie" not in body
    assert b"as asked" not in body


def test_a_body_shorter_than_announced_closes_the_connection(plain: Running) -> None:
    """The client sees that something is missing, and takes no later answer for it."""
    answer = plain.say(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT)
    assert answer.endswith(b"abc")


def test_files_are_sent_whole(plain: Running) -> None:
    """64 MiB leave byte by byte as they lie on the disk."""
    status, body = plain.ask("GET /file HTTP/1.1")
    assert status == 200
    assert hashlib.sha256(body).digest() == hashlib.sha256(plain.file.read_bytes()).digest()
