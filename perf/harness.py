"""A server for one measurement, clients for it, and the report."""

import argparse
import base64
import contextlib
import http.client
import importlib.metadata
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from baludav.config import load
from providers.house import open_house

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
PASSWORD = "measured"
START_SECONDS = 30
_PACKAGES = ("wsgidav", "cheroot", "httptools", "sqlalchemy", "lxml")

console = Console(width=None if sys.stdout.isatty() else 170)


def asked_for(told: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    """What a measurement is asked for: `quick`, `durability` and `results`, the folder for its JSON file.

    Args:
        told: its docstring.
    """
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that it runs")
    parser.add_argument("--durability", choices=["safe", "fast"], default="safe")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file")
    return parser.parse_args(arguments)


class Server:
    """A server of its own, on a free port with an empty data folder."""

    def __init__(
        self, folder: Path, durability: str, workers: int = 0, settings: Mapping[str, str] | None = None
    ) -> None:
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = free_port()
        self.environment = {
            **os.environ,
            "BALUDAV_HOST": "127.0.0.1",
            "BALUDAV_PORT": str(self.port),
            "BALUDAV_DATA": str(self.data),
            "BALUDAV_DURABILITY": durability,
            "BALUDAV_WORKERS": str(workers),
            "BALUDAV_ADMIN_PASSWORD": PASSWORD,
            "BALUDAV_LOG_LEVEL": "warning",
            **(settings or {}),
        }
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "baludav", "serve"],
                cwd=REPOSITORY, env=self.environment, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def command(self, *arguments: str) -> None:
        """Run a `baludav` command on the server's data."""
        command = [sys.executable, "-m", "baludav", *arguments]
        ran = subprocess.run(command, cwd=REPOSITORY, env=self.environment, text=True, check=False, capture_output=True)
        if ran.returncode:
            raise RuntimeError(f"baludav {' '.join(arguments)}: {ran.returncode}\n{ran.stdout}{ran.stderr}")

    def add_users(self, count: int) -> None:
        """Add `user0`, `user1` and so on, as `baludav user add` does, but all at once."""
        mask = os.umask(0o077)
        house = open_house(load(REPOSITORY / "wsgidav.yaml", self.environment))
        try:
            for number in range(count):
                house.accounts.add(f"user{number}", PASSWORD)
                house.tree.create_home(f"user{number}")
        finally:
            house.close()
            os.umask(mask)

    @property
    def master(self) -> int:
        """Process id of the master."""
        return self._process.pid

    def memory(self) -> int:
        """Resident bytes of the master and its workers."""
        total = 0
        for pid in [self.master, *self.workers()]:
            with contextlib.suppress(OSError):
                total += resident(pid)
        return total

    def threads(self) -> int:
        """Threads of the workers."""
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.workers())

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_SECONDS)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children")
        return [int(pid) for pid in children.read_text().split()]

    def connections(self, pid: int) -> set[int]:
        """The other ends' ports of the connections that a process has."""
        own = f":{self.port:04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        ports = {row[9]: int(row[2].rpartition(":")[2], 16) for row in rows if row[1].endswith(own)}
        found = set()
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(ports.get(str(link.readlink()).removeprefix("socket:[").rstrip("]"), 0))
        return found - {0}

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    durability: str, users: int = 0, workers: int = 0, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A running server with users `user0`, `user1` and so on; without a number of workers, one for each core."""
    with tempfile.TemporaryDirectory(prefix="baludav-perf-") as folder:
        server = Server(Path(folder), durability, workers, settings)
        try:
            server.add_users(users)
            yield server
        finally:
            server.stop()


def authorization(user: str) -> str:
    """The value of the field by which a user signs in."""
    return f"Basic {base64.b64encode(f'{user}:{PASSWORD}'.encode()).decode()}"


class Client:
    """One keep-alive connection of one user."""

    def __init__(self, server: Server, user: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self._headers = {"Authorization": authorization(user)}

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Status, body and header fields of the answer."""
        self._connection.request(method, f"/dav/{path}", body, {**self._headers, **(headers or {})})
        answer = self._connection.getresponse()
        return answer.status, answer.read(), answer.headers

    @property
    def socket(self) -> socket.socket:
        """Where the requests go out; there after the first of them."""
        return self._connection.sock

    def close(self) -> None:
        self._connection.close()


@dataclass
class Timings:
    """Operations of one kind: seconds of each that succeeded, and how many did not."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    wall: float = 0.0

    def timed(self, operation: Callable[[], object]) -> None:
        """Run one operation; it fails by raising."""
        begun = time.perf_counter()
        try:
            operation()
        except (AssertionError, OSError, http.client.HTTPException) as error:
            self.failed += 1
            console.print(f"failed: {error!r}")
        else:
            self.seconds.append(time.perf_counter() - begun)

    def summary(self) -> dict[str, Any]:
        """Success rate, operations a second and latencies in milliseconds."""
        count = len(self.seconds)
        ordered = sorted(self.seconds) or [0.0]
        return {
            "operations": count + self.failed,
            "failed": self.failed,
            "success_rate": count / (count + self.failed) if count + self.failed else 0.0,
            "operations_per_second": count / self.wall if self.wall else 0.0,
            "min_ms": ordered[0] * 1000,
            "median_ms": statistics.median(ordered) * 1000,
            "mean_ms": statistics.fmean(ordered) * 1000,
            "p95_ms": percentile(ordered, 0.95) * 1000,
            "p99_ms": percentile(ordered, 0.99) * 1000,
        }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed."""
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000 * len(ordered)) // 1000) - 1))]


def in_parallel(works: Sequence[Callable[[Timings], object]]) -> Timings:
    """Run all at once, each in a thread of its own with timings of its own; gives them together."""
    results = [Timings() for _ in works]
    threads = [threading.Thread(target=work, args=(result,)) for work, result in zip(works, results, strict=True)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = Timings(wall=time.perf_counter() - begun)
    for result in results:
        total.seconds += result.seconds
        total.failed += result.failed
    return total


def expect(answer: tuple[int, bytes, Any], *statuses: int) -> bytes:
    """The body of an answer with one of these statuses; anything else is a failed operation."""
    status, body, _ = answer
    assert status in statuses, f"{status} {body[:200]!r}"
    return body


def table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print rows with equal keys."""
    shown = Table(*rows[0], title=title)
    for row in rows:
        shown.add_row(*(f"{value:,.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(shown)


def save(name: str, folder: Path, results: dict[str, Any], settings: dict[str, Any]) -> Path:
    """Write the results as JSON, with where and of what they were measured."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    machine = {
        "processor": _described("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _described("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": versions,
        "settings": settings,
        "results": results,
    }
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print(f"saved as {file}")
    return file


def _described(file: str, name: str) -> str:
    """A value of one of the kernel's lists of `name: value`."""
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"
