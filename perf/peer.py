"""A server under comparison: its folder, its process, and what that needs of memory."""

import abc
import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from perf.harness import free_port
from perf.wire import Account, Connection

START_SECONDS = 60
STOP_SECONDS = 15
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])  # servers, for users too


class NotServedError(Exception):
    """A server did not start; why, as far as it said."""


@dataclass(frozen=True)
class Certificate:
    """PEM files."""

    chain: Path
    key: Path


class Peer(abc.ABC):
    """One server in one folder, which it may fill as it likes; started and stopped as often as needed.

    Attributes:
        name: its column in the table.
        install: how to get it.
        prefix: where its tree begins in its URLs.
        root: the folder that it serves, made by lay().
    """

    name: ClassVar[str]
    install: ClassVar[str]
    program: ClassVar[str]
    prefix: ClassVar[str] = "/"
    account: ClassVar[Account] = Account("admin", "measured")
    only_writes: ClassVar[bool] = False

    def __init__(self, folder: Path, certificate: Certificate | None = None) -> None:
        self.folder = folder
        self.root = folder / "files"
        self.certificate = certificate
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    # ---- what each server does in its own way ----

    @classmethod
    def is_installed(cls) -> bool:
        return cls.executable() is not None

    @classmethod
    @abc.abstractmethod
    def version(cls) -> str:
        """Its own version, and nothing else."""

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Write the configuration for `port` and `root`; gives the command that serves in the foreground."""

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": PATH}

    def lay(self) -> None:
        """Make `folder` and `root`."""
        self.root.mkdir(parents=True)

    def settle(self) -> None:  # noqa: B027 -- most servers have nothing to do
        """Get ready to serve the files that were put into `root`."""

    # ---- what all have in common ----

    @classmethod
    def executable(cls) -> str | None:
        return shutil.which(cls.program, path=PATH)

    @classmethod
    def said(cls, *arguments: str) -> str:
        """What its program says about itself, on both streams."""
        command = [str(cls.executable()), *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return ran.stdout + ran.stderr

    @property
    def url(self) -> str:
        """Where its tree begins, ending in a slash."""
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self.port}{self.prefix}"

    def path(self, name: str) -> str:
        """Path of a resource in its URLs."""
        return self.prefix + name

    def connect(self) -> Connection:
        return Connection(self.port, self.account, self.certificate is not None)

    def start(self, name: str) -> float:
        """Start it on a free port; gives the seconds until it had answered a GET of this resource.

        Raises:
            NotServedError: it ended, or does not answer.
        """
        self.port = free_port()
        command = self.command()
        with (self.folder / "output.log").open("ab") as output:
            begun = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the comparison, which then stops its servers
            )
        try:
            while not self._answers(name):
                if self._process.poll() is not None or time.perf_counter() > begun + START_SECONDS:
                    raise NotServedError(f"it did not start: {self.output()}")
                time.sleep(0.002)
            return time.perf_counter() - begun
        except BaseException:
            self.stop()
            raise

    def _answers(self, name: str) -> bool:
        try:
            with self.connect() as connection:
                return connection.request("GET", self.path(name)).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self) -> None:
        """Stop it, by force if it does not stop by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what is left of the session that was made for it
        process.wait()

    def output(self) -> str:
        """The end of what it said."""
        return (self.folder / "output.log").read_text(errors="replace")[-2000:]

    def processes(self) -> list[int]:
        """The ids of all its processes: those in the session that was made for it."""
        assert self._process is not None, "it is not running"
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    # The name, in parentheses, may hold blanks and parentheses.
                    session = (entry / "stat").read_text().rpartition(")")[2].split()[3]
                    if int(session) == self._process.pid:
                        found.append(int(entry.name))
        return found

    def memory(self) -> tuple[int, int]:
        """Bytes of all processes: resident, and the proportional share of what they share with others."""
        totals = {"Rss:": 0, "Pss:": 0}
        for process in self.processes():
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                words = line.split()
                if words[0] in totals:
                    totals[words[0]] += int(words[1]) * 1024
        return totals["Rss:"], totals["Pss:"]
