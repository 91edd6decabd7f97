"""kill -9 at every step of an upload that grows at its end: what was acknowledged is there, and it goes on from it."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from baludav.errors import NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from tests.crash.dying import die_at
from tests.crash.installation import BEFORE, Tree, open_installation, path, prepare, start_again, user_of

REPOSITORY = Path(__file__).parents[2]
PARTS = [b"first " * 1000, b"second " * 3000, b"third"]
WHOLE = b"".join(PARTS)
SEEN: Tree = {**BEFORE, "pub": None}


def _say(*words: object) -> None:
    """Tell the client."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def _bodies(body: bytes) -> Iterator[memoryview]:
    yield memoryview(body)


def _send(user: UserTree, upload_id: str, body: bytes) -> None:
    """Go on with an upload, as a client does that has asked how far it has come, in requests of 8,000 bytes."""
    upload, offset, _ = user.appended(upload_id)
    while offset < len(body):
        upload, offset, _ = user.append(upload, offset, _bodies(body[offset : offset + 8000]), NO_TERMS)
        _say(upload_id, offset)


def _create(user: UserTree, length: int, target: str | None) -> str:
    upload = user.create_upload(length, path(target) if target else None, NO_TERMS, note="")
    upload_id = upload.name.removeprefix("/")
    _say(upload_id, 0)
    return upload_id


def _append(user: UserTree, ids: list[str], target: str) -> None:
    ids = ids or [_create(user, len(WHOLE), target)]
    _send(user, ids[0], WHOLE)


def _concatenate(user: UserTree, ids: list[str], target: str) -> None:
    ids = [*ids, *(_create(user, len(body), None) for body in PARTS[len(ids) :])]
    for upload_id, body in zip(ids, PARTS, strict=True):
        _send(user, upload_id, body)
    user.concatenate(ids, path(target), NO_TERMS, note="")


WAYS: dict[str, Callable[[UserTree, list[str], str], None]] = {"append": _append, "concatenate": _concatenate}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    prepare(folder)
    return folder


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["file", "pub/new"])
def test_an_upload_goes_on_after_a_crash(way: str, target: str, pristine: Path, tmp_path: Path) -> None:
    """Over a file, and into a share, which may lie on another disk."""
    new = {**SEEN, target: WHOLE}
    for step in itertools.count(1):
        folder = tmp_path / str(step)
        shutil.copytree(pristine, folder)
        child = subprocess.run(
            [sys.executable, "-m", "tests.crash.test_appended_uploads", str(folder), way, target, str(step)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert child.returncode in (0, -signal.SIGKILL), child.stderr
        found = start_again(folder)
        assert found in (SEEN, new), f"at step {step}"
        house = open_installation(folder)
        user = user_of(house)
        told = {upload_id: int(offset) for upload_id, offset in map(str.split, child.stdout.splitlines())}
        for upload_id, offset in told.items():
            try:
                now = user.appended(upload_id).offset
            except NotFound:
                assert found == new, f"at step {step}"
                continue
            assert now >= offset, f"at step {step}"
            if way == "append":
                assert (now == len(WHOLE)) == (found == new), f"at step {step}"
        if found != new:
            WAYS[way](user, list(told), target)
        house.close()
        assert start_again(folder) == new, f"at step {step}"
        if child.returncode == 0:
            assert step > 5, "no step was reached"
            return
        shutil.rmtree(folder)


def main(folder: str, way: str, target: str, number: str) -> None:
    """What the child does: an upload, and dies on the way."""
    house = open_installation(Path(folder))
    user = user_of(house)
    die_at(int(number))
    WAYS[way](user, [], target)
    house.close()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
