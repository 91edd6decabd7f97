"""kill -9 at every step of the end of a save: the new bytes are there under their name, the old ones somewhere."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from baludav.tree.reading import NO_TERMS
from tests.crash.dying import die_at
from tests.crash.installation import BEFORE, open_installation, path, prepare, put, start_again, user_of

REPOSITORY = Path(__file__).parents[2]


def test_the_end_of_a_save(tmp_path: Path) -> None:
    """The old file, moved away before, is deleted: wholly there or wholly gone."""
    (tmp_path / "pristine").mkdir()
    prepare(tmp_path / "pristine")
    saved = {**BEFORE, "pub": None, "file": b"new bytes"}
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        shutil.copytree(tmp_path / "pristine", folder)
        child = subprocess.run(
            [sys.executable, "-m", "tests.crash.test_saves", str(folder), str(step)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert child.returncode in (0, -signal.SIGKILL), child.stderr
        found = start_again(folder)
        assert found in (saved, {**saved, "old": b"old bytes"}), f"at step {step}"
        if child.returncode == 0:
            assert found == saved
            assert step > 1, "no step was reached"
            return
        shutil.rmtree(folder)


def main(folder: str, number: str) -> None:
    """What the child does: a save, and dies at its end."""
    house = open_installation(Path(folder))
    user = user_of(house)
    user.move(path("file"), path("old"), NO_TERMS, overwrite=True)
    put(user, "file", b"new bytes")
    die_at(int(number))
    user.delete(path("old"), NO_TERMS)
    house.close()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
