"""kill -9 at every step of an upload in parts: what was acknowledged is there, and the upload goes on from it."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from baludav.errors import MethodNotAllowed, NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from tests.crash.dying import die_at
from tests.crash.installation import BEFORE, Tree, open_installation, path, prepare, start_again, user_of

REPOSITORY = Path(__file__).parents[2]
PARTS = {"1": b"first " * 1000, "2": b"second " * 3000, "3": b"third"}
WHOLE = b"".join(PARTS.values())
SEEN: Tree = {**BEFORE, "pub": None}


def _upload(user: UserTree, target: str) -> None:
    """Go on with the upload, or begin it, as a client does that has asked what is there."""
    with contextlib.suppress(MethodNotAllowed):
        user.begin_upload("upload", length=len(WHOLE))
    there = {part.name: part.size for part in user.upload_parts("upload")}
    for name, body in PARTS.items():
        if name in there:
            assert there[name] == len(body), "a part is there that did not come completely"
            continue
        with user.open_part("upload", name, length=len(body)) as part:
            part.write(body)
            part.commit()
        sys.stdout.write(f"{name}\n")  # the client knows
        sys.stdout.flush()
    user.finish_upload("upload", path(target), NO_TERMS, length=len(WHOLE))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    prepare(folder)
    return folder


@pytest.mark.parametrize("target", ["file", "pub/new"])
def test_an_upload_goes_on_after_a_crash(target: str, pristine: Path, tmp_path: Path) -> None:
    """Over a file, and into a share, which may lie on another disk."""
    new = {**SEEN, target: WHOLE}
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        shutil.copytree(pristine, folder)
        child = subprocess.run(
            [sys.executable, "-m", "tests.crash.test_resumed_uploads", str(folder), target, str(step)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert child.returncode in (0, -signal.SIGKILL), child.stderr
        found = start_again(folder)
        assert found in (SEEN, new), f"at step {step}"
        house = open_installation(folder)
        user = user_of(house)
        acknowledged = child.stdout.split()
        with contextlib.suppress(NotFound):  # it is finished
            assert set(acknowledged) <= {part.name for part in user.upload_parts("upload")}
        if found != new or child.returncode == 0:
            _upload(user, target)
        house.close()
        assert start_again(folder) == new, f"at step {step}"
        if child.returncode == 0:
            assert step > 5, "no step was reached"
            return
        shutil.rmtree(folder)


def main(folder: str, target: str, number: str) -> None:
    """What the child does: an upload, and dies on the way."""
    house = open_installation(Path(folder))
    user = user_of(house)
    die_at(int(number))
    _upload(user, target)
    house.close()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
