"""What happens to the server meanwhile: its workers are killed, and files are edited behind its back."""

import os
import random
import signal
import time
from pathlib import Path

from perf.soaking.keeping import NAMES
from perf.soaking.scene import Scene

_REPLACE_SECONDS = 30


class Killer:
    """Kills a worker from time to time, but never the first, whose memory is to be watched.

    Args:
        spared: process id of that worker.
        every: seconds between two kills.
    """

    def __init__(self, scene: Scene, spared: int, every: float) -> None:
        self._scene = scene
        self._spared = spared
        self._every = every
        self._chance = random.Random(f"{scene.seed} killer")

    def run(self) -> None:
        server = self._scene.server
        count = len(server.workers())
        while not self._scene.stop.wait(self._every):
            victim = self._chance.choice([pid for pid in server.workers() if pid != self._spared])
            os.kill(victim, signal.SIGSTOP)
            _wait_until_stopped(victim)
            self._scene.deaths.note(server.connections(victim))  # all that will be cut, and no other
            os.kill(victim, signal.SIGKILL)
            end = time.monotonic() + _REPLACE_SECONDS
            while victim in server.workers() or len(server.workers()) < count:
                if time.monotonic() > end:
                    self._scene.tally.problem(f"a worker that was killed was not replaced in {_REPLACE_SECONDS} s")
                    return
                self._scene.stop.wait(0.05)


def _wait_until_stopped(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)


class Editor:
    """Edits files of a home as somebody does who sits at the machine.

    Attributes:
        count: of the edits.
    """

    def __init__(self, scene: Scene, user: str) -> None:
        self._scene = scene
        self._folder = scene.server.data / "files" / user / "outside"
        self._chance = random.Random(f"{scene.seed} editor of {user}")
        self.count = 0

    def run(self) -> None:
        self._folder.mkdir()
        turns = (self._replace, self._replace, self._write_in_place, self._append, self._remove)
        while not self._scene.stop.wait(self._chance.uniform(0, 20 * self._scene.pause)):
            self._chance.choice(turns)()
            self.count += 1

    def _replace(self) -> None:
        """As editors do that write beside and rename."""
        beside = self._folder / "beside"
        beside.write_bytes(self._bytes())
        beside.rename(self._folder / f"replaced {self._chance.choice(NAMES)}")

    def _write_in_place(self) -> None:
        (self._folder / f"edited {self._chance.choice(NAMES)}").write_bytes(self._bytes())

    def _append(self) -> None:
        with (self._folder / f"edited {self._chance.choice(NAMES)}").open("ab") as file:
            file.write(self._bytes())

    def _remove(self) -> None:
        kind = self._chance.choice(("replaced", "edited"))
        (self._folder / f"{kind} {self._chance.choice(NAMES)}").unlink(missing_ok=True)

    def _bytes(self) -> bytes:
        return self._chance.randbytes(self._chance.choice((0, 500, 30_000)))
