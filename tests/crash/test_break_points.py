"""kill -9 at every step of every kind of change: afterwards each resource is wholly old or wholly new."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from baludav.tree.http.updates import Update
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from tests.crash.dying import each_step
from tests.crash.installation import (
    BEFORE,
    Tree,
    copied,
    copy,
    move,
    moved,
    path,
    put,
    start_again,
    without,
)  # fmt: skip


def _reuse(target: str) -> Callable[[UserTree], object]:
    body = BEFORE["other"] or b""
    sha256 = hashlib.sha256(body).hexdigest()
    return lambda user: user.write_known(path(target), NO_TERMS, sha256, len(body))


def _patch(user: UserTree) -> None:
    with user.open_patch(path("d/x"), NO_TERMS, Update(1000)) as patch:
        patch.write(b"patched")
        patch.commit()


def _lock(user: UserTree) -> object:
    return user.lock(
        path("locked"), NO_TERMS, is_exclusive=True, is_infinite=False, owner_xml="", timeout=60, client=""
    )


SEEN: Tree = {**BEFORE, "pub": None}
OPERATIONS: dict[str, tuple[Callable[[UserTree], object], Tree]] = {
    "put new": (lambda user: put(user, "new", b"new bytes"), {**SEEN, "new": b"new bytes"}),
    "put over": (lambda user: put(user, "file", b"newer bytes"), {**SEEN, "file": b"newer bytes"}),
    "mkcol": (lambda user: user.make_collection(path("c"), NO_TERMS), {**SEEN, "c": None}),
    "delete file": (lambda user: user.delete(path("file"), NO_TERMS), without(SEEN, "file")),
    "delete collection": (lambda user: user.delete(path("d"), NO_TERMS), without(SEEN, "d")),
    "move file": (move("file", "moved"), moved(SEEN, "file", "moved")),
    "move file over file": (move("file", "other"), moved(SEEN, "file", "other")),
    "move collection": (move("d", "e/d"), moved(SEEN, "d", "e/d")),
    "move collection over collection": (move("d", "e"), moved(SEEN, "d", "e")),
    "move to a share": (move("d", "pub/d"), moved(SEEN, "d", "pub/d")),
    "copy file": (copy("file", "copied"), copied(SEEN, "file", "copied")),
    "copy file over file": (copy("file", "other"), copied(SEEN, "file", "other")),
    "copy collection": (copy("d", "e/d"), copied(SEEN, "d", "e/d")),
    "copy collection over collection": (copy("d", "e"), copied(SEEN, "d", "e")),
    "copy file over collection": (copy("file", "e"), copied(SEEN, "file", "e")),
    "write known bytes": (_reuse("new"), copied(SEEN, "other", "new")),
    "write known bytes over a file": (_reuse("file"), copied(SEEN, "other", "file")),
    "patch": (_patch, {**SEEN, "d/x": b"x" * 1000 + b"patched" + b"x" * 3993}),
    "lock a new name": (_lock, {**SEEN, "locked": b""}),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_resource_is_wholly_old_or_wholly_new(name: str, pristine: Path, tmp_path: Path) -> None:
    """Whatever step the process dies at, the next start finds the old tree or the new one, and nothing between."""
    operation, new = OPERATIONS[name]
    for ending in each_step(pristine, tmp_path, lambda user, _: operation(user)):
        found = start_again(ending.folder)
        assert found in ((new,) if ending.has_passed else (SEEN, new)), f"at step {ending.step}"
