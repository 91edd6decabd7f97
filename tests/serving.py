"""A server of its own for a test: `baludav serve` in processes of its own, on a free port and a fresh data folder."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from time import monotonic
from types import TracebackType
from typing import Any, Self

from baludav.config import load, parse_size
from providers.house import open_house

TOP = Path(__file__).resolve().parent.parent
ADMIN_PASSWORD = "the-admin-of-the-tests"
STOP_SECONDS = 25  # less than `graceful_seconds`, at which a server stops that would not have done so by itself


PATIENCE = 4
"""How many times as long as by itself something may take on a machine that has other things to do."""


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Ask again and again until the condition holds; fail when the time is over.

    Args:
        seconds: that it may take on a machine of its own.
    """
    seconds *= PATIENCE
    deadline = monotonic() + seconds
    pause = Event()
    while not condition():
        assert monotonic() < deadline, f"{what}: still not so after {seconds} s"
        pause.wait(0.02)


def free_port() -> int:
    """A port below those that the system gives to clients, so that it is still free after a restart.

    Each process of a parallel run has ports of its own.
    """
    chance = random.SystemRandom()
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = chance.randrange(10_000 + number, 30_000, count)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def processes() -> dict[int, tuple[int, int]]:
    """Of every process that is not a zombie: its parent and its session."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name, in parentheses, may hold blanks and parentheses.
                state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state not in "ZX":
                    found[int(entry.name)] = (int(parent), int(session))
    return found


class Server:
    """One server: start it with `with`, or with start() and stop().

    Args:
        data: data folder; the server makes it.
        workers: worker processes.
        durability: `safe` or `fast`.
        environment: further variables, such as BALUDAV_LIMITS.
        shares: the configuration key `shares`.
        port: to listen on; 0 for a free one.
        under: a command that runs it, with its arguments.
        config: its configuration file, if it is not the one in the repository.
    """

    running: "list[Server]" = []

    def __init__(
        self,
        data: Path,
        workers: int = 2,
        durability: str = "safe",
        environment: Mapping[str, str] | None = None,
        shares: Mapping[str, Any] | None = None,
        port: int = 0,
        under: Sequence[str] = (),
        config: Path | None = None,
    ) -> None:
        self.under = under
        self.options = [] if config is None else ["--config", str(config)]
        self.data = data
        self.workers = workers
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.with_name(data.name + ".log")
        self.passwords = {"admin": ADMIN_PASSWORD}
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("BALUDAV_")},
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",  # so that SIGABRT shows where each thread is
            "BALUDAV_HOST": "127.0.0.1",
            "BALUDAV_PORT": str(self.port),
            "BALUDAV_DATA": str(data),
            "BALUDAV_WORKERS": str(workers),
            "BALUDAV_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "BALUDAV_DURABILITY": durability,
            **({"BALUDAV_SHARES": json.dumps(shares)} if shares is not None else {}),
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process is None:
            return
        if kind is None:
            self.stop()
            return
        if error is not None:
            error.add_note(self.log_end())
        self.kill()

    # ---- where things are ----

    def dav(self, user: str) -> str:
        """The user's tree: everyone's has the same URL, and who signs in decides."""
        assert user in self.passwords
        return f"{self.url}/dav/"

    def auth(self, user: str) -> tuple[str, str]:
        return user, self.passwords[user]

    def home(self, user: str) -> Path:
        return self.data / "files" / user

    # ---- commands ----

    def baludav(self, *arguments: str, input: str | None = None) -> str:
        """Run a command of `baludav` for this server's data; gives what it printed."""
        ran = subprocess.run(
            [sys.executable, "-m", "baludav", *arguments],
            cwd=TOP,
            env=self.environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=60 * PATIENCE,
            check=False,
        )
        assert ran.returncode == 0, f"baludav {' '.join(arguments)}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def add_user(self, name: str, password: str = "", admin: bool = False, quota: str = "", groups: str = "") -> None:
        """Add a user; without a password they get one of their own. Groups are split at blanks."""
        password = password or f"the-password-of-{name}"
        limit, config = parse_size(quota), load(TOP / "wsgidav.yaml", self.environment)
        mask = os.umask(0o077)
        try:  # as the command does, but in this process, which has all that it needs already
            with contextlib.closing(open_house(config)) as house:
                house.accounts.add(name, password, is_admin=admin, quota=limit, groups=groups.split())
                house.tree.create_home(name)
        finally:
            os.umask(mask)
        self.passwords[name] = password

    # ---- life and death ----

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert self.process is None, "it runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.under, sys.executable, "-m", "baludav", *self.options, "serve"],
                cwd=TOP,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C of the tests is not meant for it, and its workers can be told
            )
        self.running.append(self)
        try:
            wait_for(self.is_up, 30, "the server answers /healthz")
            wait_for(lambda: len(self.pids()) > self.workers, 10, "every worker is there")
        except BaseException as error:
            error.add_note(self.log_end())
            self.kill()
            raise

    def is_up(self) -> bool:
        assert self.process is not None, "it was not started"
        status = self.process.poll()
        assert status is None, f"the server ended with {status}"
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """Ask it to stop; it must, in time, without a failure and without leaving a process behind."""
        assert self.process is not None, "it was not started"
        before = self.pids()
        try:
            self.process.send_signal(signal.SIGTERM)
            try:
                status = self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                for pid in self.pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGABRT)
                wait_for(lambda: not self.pids(), 10, "the server has said where it hangs")
                raise AssertionError(f"the server goes on after SIGTERM\n{self.log_end()}") from None
            left = set(before) & set(processes())
            assert not left, f"the server left processes {left} behind\n{self.log_end()}"
            assert status == 0, f"the server ended with {status}\n{self.log_end()}"
        finally:
            self._bury(before)

    def kill(self) -> None:
        """Kill the master and its workers, as the kernel does when memory is short."""
        assert self.process is not None, "it was not started"
        self._bury(self.pids())

    def restart(self) -> None:
        self.stop()
        self.start()

    def _bury(self, pids: list[int]) -> None:
        assert self.process is not None
        # The master first, so that it cannot replace workers.
        for pid in dict.fromkeys([self.process.pid, *pids, *self.pids()]):
            if pid in processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: not set(pids) & set(processes()), 10, "killed processes are gone")
        self.process = None
        self.running.remove(self)

    def pids(self) -> list[int]:
        """The living processes of the server, the master first."""
        assert self.process is not None, "it was not started"
        alive = processes()
        found = [self.process.pid]
        for pid in found:  # grows on the way
            found += [child for child, (parent, _) in sorted(alive.items()) if parent == pid and child not in found]
        found += [pid for pid, (_, session) in alive.items() if session == self.process.pid and pid not in found]
        return [pid for pid in found if pid in alive]

    def rss(self) -> int:
        """Memory of the master and its workers together, in bytes."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
        return total

    def log_end(self, lines: int = 60) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join([f"---- end of {self.log.name} ----", *text.splitlines()[-lines:]])


@contextlib.contextmanager
def serving(folder: Path, *users: str) -> Iterator[Server]:
    """A server with some users beside its admin; its data folder is made in `folder`."""
    with Server(folder / "data") as server:
        for user in users:
            server.add_user(user)
        yield server
