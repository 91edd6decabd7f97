"""Load from wrk: many keep-alive connections that send the same few requests by turns."""

import contextlib
import json
import math
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perf.peer import Peer
from perf.workload import Bench, WrongAnswerError

SCRIPT = Path(__file__).with_name("wrk.lua")
LONGEST = 4.0  # seconds that one round of answers on all connections may take; beyond it there are fewer connections
_GRACE = 60  # seconds after which an answer is given up


@dataclass(frozen=True)
class Request:
    """One request of a load."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    takes_body: bool = False  # the next of the load's bodies, which are all of one length


@dataclass(frozen=True)
class Load:
    """What wrk counted."""

    requests: int
    seconds: float
    bytes: int
    p99_ms: float
    statuses: Mapping[str, int]  # by method and status, only with several threads

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


def load(
    bench: Bench,
    requests: Sequence[Request],
    connections: int,
    *,
    bodies: Sequence[bytes] = (),
    threads: int = 1,
    answer_seconds: float = 0.0,
    may_starve: bool = False,
) -> Load:
    """Send requests by turns for the bench's seconds, each connection the next one as soon as it has its answer.

    Args:
        requests: in the order in which they are sent. With several threads, each thread takes its share of them.
        bodies: by turns for the requests that take one.
        may_starve: whether it is a figure, too, that no answer came.
        answer_seconds: what one answer takes; a slow server gets more time, or fewer connections, to show some.
    Raises:
        WrongAnswerError: an answer was no success, or none came.
    """
    peer, seconds = bench.peer, bench.seconds
    if answer_seconds:
        connections = max(1, min(connections, int(LONGEST / answer_seconds)))
        seconds = max(seconds, math.ceil(2 * connections * answer_seconds))
    with tempfile.NamedTemporaryFile(prefix="plan-", dir=peer.folder) as plan:
        heads = [_head(peer, request, len(bodies[0]) if bodies else 0) for request in requests]
        plan.write(b"%d\n%d\n" % (len(heads), len(bodies)))
        for part in [*heads, *bodies]:
            plan.write(b"%d\n%b" % (len(part), part))
        plan.flush()
        command = [
            "wrk",
            f"-t{threads}",
            f"-c{connections}",
            f"-d{math.ceil(seconds)}s",
            f"--timeout={_GRACE}s",
            "--latency",
            "-s",
            str(SCRIPT),
        ]
        command += [peer.url, "--", plan.name, str(threads)]
        ran = _ran(command, seconds)
    line = next((line for line in ran.stdout.splitlines() if line.startswith("FIGURES ")), None)
    if ran.returncode or line is None:
        raise WrongAnswerError(f"wrk ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
    return _judged(bench, json.loads(line.removeprefix("FIGURES ")), may_starve)


def _ran(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run wrk, which knows only whole seconds: of others it is told when they are over, as by Ctrl-C."""
    # Ctrl-C means something to it only once it has begun; before, it must not end it.
    patient = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with subprocess.Popen(patient, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            if seconds != math.ceil(seconds):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
                process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=seconds + 2 * _GRACE)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _head(peer: Peer, request: Request, length: int) -> bytes:
    lines = [
        f"{request.method} {request.path} HTTP/1.1",
        f"Host: 127.0.0.1:{peer.port}",
        f"Authorization: {peer.account.authorization}",
        *(f"{name}: {value}" for name, value in request.headers.items()),
    ]
    if request.takes_body or request.body:
        lines.append(f"Content-Length: {length if request.takes_body else len(request.body)}")
    mark = "+" if request.takes_body else ""
    return (mark + "\r\n".join(lines) + "\r\n\r\n").encode() + request.body


def _judged(bench: Bench, figures: dict[str, int | Mapping[str, int]], may_starve: bool) -> Load:
    counts = {name: int(value) for name, value in figures.items() if isinstance(value, int)}
    if counts["failed"]:
        raise WrongAnswerError(f"{counts['failed']:,} of {counts['requests']:,} answers were failures")
    if not counts["requests"] and not may_starve:
        raise WrongAnswerError("no answer came")
    statuses = figures["statuses"]
    assert isinstance(statuses, Mapping)
    if broken := sum(counts[what] for what in ("connect", "read", "write", "timeout")):
        bench.remarks.append(f"{broken:,} connections broke or timed out beside {counts['requests']:,} answers")
    return Load(
        requests=counts["requests"],
        seconds=counts["microseconds"] / 1e6,
        bytes=counts["bytes"],
        p99_ms=counts["p99"] / 1000,
        statuses=statuses,
    )
