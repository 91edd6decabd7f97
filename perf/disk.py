"""What the disk itself can do: the lines beside which `durability: safe` is to be read."""

import functools
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

from perf.trees import KIB, content

_SECONDS = 1.0


def sync_rates(folder: Path) -> list[dict[str, Any]]:
    """New files a second that are written and synced to the disk, one after the other and 16 at once."""
    rows = []
    for size, count in itertools.product((4 * KIB, 100 * KIB), (1, 16)):
        rows.append({"KiB": size // KIB, "at once": count, "files/s": _rate(folder, size, count)})
    return rows


def _rate(folder: Path, size: int, count: int) -> float:
    """The same by so many threads."""
    body = content("disk", size)
    end = time.perf_counter() + _SECONDS
    written = [0] * count

    def write(number: int) -> None:
        path = folder / f"synced-{number}"
        while time.perf_counter() < end:
            file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            try:
                os.write(file, body)
                os.fdatasync(file)
            finally:
                os.close(file)
                path.unlink()
            written[number] += 1

    threads = [threading.Thread(target=functools.partial(write, number)) for number in range(count)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(written) / (time.perf_counter() - begun)


def file_system(folder: Path) -> str:
    """Kind of the file system that holds a folder."""
    mounts = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if folder.resolve().is_relative_to(point):
            mounts.append((len(point), kind))
    return max(mounts)[1]
