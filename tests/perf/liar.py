"""A server that says what it was told to say, to show what the comparison notices."""

import sys
import textwrap

from perf.peer import Peer


def ok(body: bytes) -> bytes:
    """A right answer to a GET, but for what is left to the liar: the version in front."""
    return b"200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Liar(Peer):
    """A server that answers every request with one of the answers that it was given."""

    name = "liar"
    program = sys.executable
    answers: tuple[bytes, ...] = ()

    @classmethod
    def version(cls) -> str:
        return "1"

    def command(self) -> list[str]:
        answers = [b"HTTP/1.1 " + answer for answer in (ok(b""), *self.answers)]
        script = f"""
            import itertools, socketserver
            answers = {answers!r}
            turns = itertools.cycle(answers[1:])
            class Handler(socketserver.StreamRequestHandler):
                def handle(self):
                    while line := self.rfile.readline():
                        length = 0
                        while (field := self.rfile.readline()) != b"\\r\\n":
                            if field.lower().startswith(b"content-length:"):
                                length = int(field.split()[1])
                        self.rfile.read(length)
                        self.wfile.write(answers[0] if b"/up" in line else next(turns))
            class Server(socketserver.ThreadingTCPServer):
                daemon_threads = True
                request_queue_size = 128
            Server(("127.0.0.1", {self.port}), Handler).serve_forever()
            """
        (self.folder / "liar.py").write_text(textwrap.dedent(script))
        return [sys.executable, str(self.folder / "liar.py")]
