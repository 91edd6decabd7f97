"""kill -9 at every step of every kind of change: afterwards each resource is wholly old or wholly new.

So it is by its bytes, and by its id, dead properties and versions, whichever of them the change is to keep.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from baludav.tree.http.updates import Update
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from baludav.tree.truth.refreshing import refresh
from tests.crash.dying import each_step
from tests.crash.installation import (
    BEFORE,
    NOTED,
    Being,
    Tree,
    beings,
    copied,
    copy,
    move,
    moved,
    open_installation,
    path,
    put,
    start_again,
    user_of,
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


def _restore_version(user: UserTree) -> object:
    return user.restore_version(path("file"), user.versions(path("file"))[0].id)


def _settle_and_delete(user: UserTree) -> None:
    settle(user)
    user.delete(path("d"), NO_TERMS)


def _restore_deleted(user: UserTree) -> object:
    return user.restore_deleted(user.trash()[0].deleted.resource_id)


def settle(user: UserTree) -> None:
    """The copied installation has been running for a while: it knows each file by its inode."""
    for _, root in user.namespace.roots():
        for _ in refresh(user.tree, root):
            pass


SEEN: Tree = {**NOTED, "pub": None}
OPERATIONS: dict[str, tuple[Callable[[UserTree], object], Tree]] = {
    "put new": (lambda user: put(user, "new", b"new bytes"), {**SEEN, "new": b"new bytes"}),
    "put over": (lambda user: put(user, "file", b"newer bytes"), {**SEEN, "file": b"newer bytes"}),
    "put over an empty file": (lambda user: put(user, "empty", b"bytes"), {**SEEN, "empty": b"bytes"}),
    "put no bytes over": (lambda user: put(user, "file", b""), {**SEEN, "file": b""}),
    "put the same bytes over": (lambda user: put(user, "file", SEEN["file"] or b""), SEEN),
    "mkcol": (lambda user: user.make_collection(path("c"), NO_TERMS), {**SEEN, "c": None}),
    "delete file": (lambda user: user.delete(path("file"), NO_TERMS), without(SEEN, "file")),
    "delete collection": (lambda user: user.delete(path("d"), NO_TERMS), without(SEEN, "d")),
    "move file": (move("file", "moved"), moved(SEEN, "file", "moved")),
    "move file over file": (move("file", "other"), moved(SEEN, "file", "other")),
    "save over file": (move("other", "file"), moved(SEEN, "other", "file")),
    "move file over an empty file": (move("file", "empty"), moved(SEEN, "file", "empty")),
    "move file over collection": (move("file", "e"), moved(SEEN, "file", "e")),
    "move collection over file": (move("d", "file"), moved(SEEN, "d", "file")),
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
    "restore a version": (_restore_version, {**SEEN, "file": b"older old bytes"}),
    "patch": (_patch, {**SEEN, "d/x": b"x" * 1000 + b"patched" + b"x" * 3993}),
    "lock a new name": (_lock, {**SEEN, "locked": b""}),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_resource_is_wholly_old_or_wholly_new(name: str, noted: Path, tmp_path: Path) -> None:
    """Whatever step the process dies at, the next start finds the old tree or the new one, and nothing between.

    Except that a copy may be there before it has the dead properties of what was copied: those that were at its place
    are there until then, so that nothing is lost that was.
    """
    operation, new = OPERATIONS[name]
    before, seen = _beings(noted), list[tuple[int, Tree, dict[str, Being]]]()
    for ending in each_step(noted, tmp_path, lambda user, _: operation(user), before=settle):
        found = start_again(ending.folder)
        assert found in ((new,) if ending.has_passed else (SEEN, new)), f"at step {ending.step}"
        seen.append((ending.step, found, _beings(ending.folder)))
    if name == "move to a share":
        return  # what is moved to another storage root gets another id when the process dies before the commit
    _, _, after = seen.pop()
    old_ids = {being.id for being in before.values()}
    for step, found, now in seen:
        wanted = [known for tree, known in ((SEEN, before), (new, after)) if tree == found]
        if name.startswith("copy"):
            wanted.append({name: before_copied(being, before.get(name)) for name, being in after.items()})
        assert _known(now, old_ids) in [_known(known, old_ids) for known in wanted], f"at step {step}"


def test_what_is_restored_from_the_trash_is_itself(noted: Path, tmp_path: Path) -> None:
    """With all in it: ids, dead properties and versions."""
    before, deleted = _beings(noted), without(SEEN, "d")
    for ending in each_step(noted, tmp_path, lambda user, _: _restore_deleted(user), before=_settle_and_delete):
        found = start_again(ending.folder)
        assert found in ((SEEN,) if ending.has_passed else (deleted, SEEN)), f"at step {ending.step}"
        now = _beings(ending.folder)
        assert now == {name: being for name, being in before.items() if name in found}, f"at step {ending.step}"


def _beings(folder: Path) -> dict[str, Being]:
    house = open_installation(folder)
    found = beings(user_of(house))
    house.close()
    return found


def _known(found: dict[str, Being], old_ids: set[int | None]) -> dict[str, Being]:
    """Only what was there before has an id that says something."""
    return {name: being if being.id in old_ids else being._replace(id=None) for name, being in found.items()}


def before_copied(copy: Being, old: Being | None) -> Being:
    """A copy that does not have the dead properties yet of what was copied; another resource was left as it was."""
    is_same = old is not None and old.id == copy.id
    return copy._replace(properties=old.properties if old is not None and is_same else {})
