"""The power fails at any moment of a server's work: with `durability: safe` all that was answered is there.

A recorded run of every kind of change is cut at each call that reaches the disk. What was not synced by then is lost,
or there, or partly there; a server is started on each such disk.
"""

import hashlib
import itertools
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from baludav.db import checkpoints
from baludav.errors import TokenExpired
from baludav.tree.http.updates import Update
from baludav.tree.reading import NO_TERMS
from baludav.tree.records import uploads
from baludav.tree.records.history import parsed
from baludav.tree.tokens import Token
from baludav.tree.tree import UserTree
from tests.crash.installation import (
    Being,
    Tree,
    beings,
    content,
    copied,
    copy,
    is_below,
    move,
    moved,
    open_installation,
    path,
    prepare_noted,
    put,
    start_again,
    user_of,
    without,
)  # fmt: skip
from tests.crash.outage import Disk, everything, none, some, survivors
from tests.crash.recording import Recording
from tests.crash.test_break_points import SEEN, before_copied, settle

LARGE = bytes(range(256)) * 1_200
PATCHED = LARGE[:1000] + b"patched" + LARGE[1007:]
STATES = int(os.environ.get("BALUDAV_TEST_OUTAGES", "150"))
"""How many disks are looked at; `BALUDAV_TEST_OUTAGES=100000` looks at each."""


def _replace(name: str, body: bytes) -> Callable[[UserTree], object]:
    return lambda user: user.replace(path(name), NO_TERMS, body)


def _upload(name: str, body: bytes) -> Callable[[UserTree], object]:
    return lambda user: put(user, name, body)


def _restore_deleted(user: UserTree) -> None:
    user.restore_deleted(user.trash()[0].deleted.resource_id)


def _restore_version(user: UserTree) -> None:
    oldest = min(user.versions(path("file")), key=lambda version: version.id)
    user.restore_version(path("file"), oldest.id)


def _append(user: UserTree) -> None:
    """An upload that grows in requests of 30,000 bytes."""
    upload = user.create_upload(len(LARGE), path("grown"), NO_TERMS, note="")
    for start in range(0, len(LARGE), 30_000):
        upload, _, _ = user.append(upload, start, iter([memoryview(LARGE[start : start + 30_000])]), NO_TERMS)


def _patch(user: UserTree) -> None:
    with user.open_patch(path("grown"), NO_TERMS, Update(1000)) as patch:
        patch.write(b"patched")
        patch.commit()


def _write_known(user: UserTree) -> None:
    user.write_known(path("again"), NO_TERMS, hashlib.sha256(PATCHED).hexdigest(), len(PATCHED))


WORK: list[tuple[str, Callable[[UserTree], object], Callable[[Tree], Tree]]] = [
    ("upload", _upload("new", LARGE), lambda tree: {**tree, "new": LARGE}),
    ("upload over", _upload("file", LARGE[:-7]), lambda tree: {**tree, "file": LARGE[:-7]}),
    ("replace", _replace("other", b"small"), lambda tree: {**tree, "other": b"small"}),
    ("replace again", _replace("other", b"smaller"), lambda tree: {**tree, "other": b"smaller"}),
    ("make", lambda user: user.make_collection(path("c"), NO_TERMS), lambda tree: {**tree, "c": None}),
    ("move a file", move("new", "c/moved"), lambda tree: moved(tree, "new", "c/moved")),
    ("move over a file", move("c/moved", "other"), lambda tree: moved(tree, "c/moved", "other")),
    ("copy", copy("d", "c/d"), lambda tree: copied(tree, "d", "c/d")),
    ("delete", lambda user: user.delete(path("d"), NO_TERMS), lambda tree: without(tree, "d")),
    ("restore deleted", _restore_deleted, lambda tree: {**tree, **_below(SEEN, "d")}),
    ("restore version", _restore_version, lambda tree: {**tree, "file": SEEN["file"]}),
    ("move over a collection", move("c/d", "e"), lambda tree: moved(tree, "c/d", "e")),
    ("copy over a collection", copy("file", "d"), lambda tree: copied(tree, "file", "d")),
    ("delete a file", lambda user: user.delete(path("other"), NO_TERMS), lambda tree: without(tree, "other")),
    ("append", _append, lambda tree: {**tree, "grown": LARGE}),
    ("patch", _patch, lambda tree: {**tree, "grown": PATCHED}),
    ("write what is known", _write_known, lambda tree: {**tree, "again": PATCHED}),
]


def _below(tree: Tree, top: str) -> Tree:
    return {name: body for name, body in tree.items() if is_below(name, top)}


TREES = list(itertools.accumulate(WORK, lambda tree, work: work[2](tree), initial=SEEN))
"""What there is before each work, and at the end."""


def _known(recorded: Path, where: Path) -> list[dict[str, Being]]:
    """What everything is before each work, and at the end.

    Args:
        recorded: an installation that nothing has been done to.
        where: to make a copy, for doing the same there.
    """
    shutil.copytree(recorded, where)
    house = open_installation(where)
    user = user_of(house)
    settle(user)
    found = [beings(user)]
    for _, work, _ in WORK:
        work(user)
        found.append(beings(user))
    house.close()
    shutil.rmtree(where)
    return found


def _record(folder: Path, durability: str) -> tuple[Recording, list[dict[str, Being]]]:
    folder.mkdir()
    prepare_noted(folder)
    known = _known(folder, folder.with_name("known"))
    recording = Recording(folder)
    recording.run("tests.crash.test_power_loss", durability)
    return recording, known


@pytest.mark.timeout(3600)  # for all of them
def test_all_that_was_answered_is_there(tmp_path: Path) -> None:
    """Each resource is wholly old or wholly new, and what was answered is new; the feed says what changed."""
    recording, known = _record(tmp_path / "recorded", "safe")
    steps = recording.steps
    disks = [(moment, lasts) for moment in range(1, len(steps) + 1) for lasts in (none, everything, some, some)]
    chance = random.Random(5)
    for number, (moment, lasts) in enumerate(chance.sample(disks, min(STATES, len(disks)))):
        folder = tmp_path / f"disk-{number}"
        Disk(recording.top, survivors(steps, moment, lasts, chance)).write(folder)
        told = [step.name for step in steps[:moment] if step.kind == "told"]
        try:
            _check(folder, told, known)
        except BaseException as error:
            error.add_note(
                f"the power failed at step {moment}, with {lasts.__name__} left, after {len(told) - 1} works"
            )
            raise
        shutil.rmtree(folder)


def test_it_would_be_noticed(tmp_path: Path) -> None:
    """Without the syncs of `durability: safe`, what was answered is gone."""
    recording, known = _record(tmp_path / "recorded", "fast")
    steps = [step for step in recording.steps if step.kind != "sync"]
    Disk(recording.top, survivors(steps, len(steps), none, random.Random(5))).write(tmp_path / "disk")
    with pytest.raises(AssertionError):
        _check(tmp_path / "disk", [step.name for step in steps if step.kind == "told"], known)


def _check(folder: Path, told: list[str], known: list[dict[str, Being]]) -> None:
    found = start_again(folder)
    done = max(0, len(told) - 1)
    assert found in TREES[done:][:2]
    house = open_installation(folder)
    try:
        user = user_of(house)
        now = beings(user)
        wanted = [each for tree, each in zip(TREES[done:][:2], known[done:][:2], strict=True) if tree == found]
        strange = [_strange(now, each, known[done]) for each in wanted]
        assert {} in strange, strange
        _check_upload(user)
        now = user.token()
        for number, token in enumerate(told):
            if str(now) == token:
                assert found == TREES[number], "one token for two states"
            assert _followed(user, Token.parse(token), TREES[number]) == content(user)
    finally:
        house.close()


def _strange(
    now: dict[str, Being], wanted: dict[str, Being], before: dict[str, Being]
) -> dict[str, tuple[Being, Being]]:
    """What was there before and is not itself, if perhaps without what a copy was about to bring, and should be."""
    old_ids = {being.id for being in before.values()}
    return {
        name: (now[name], being)
        for name, being in wanted.items()
        if being.id in old_ids and now[name] not in (being, before_copied(being, before.get(name)))
    }


def _check_upload(user: UserTree) -> None:
    """So many bytes as are counted of an upload under way are there."""
    _, root = user.namespace.roots()[0]
    with user.tree.database.reading() as connection:
        begun = [(upload, uploads.size(connection, upload)) for upload in uploads.of_root(connection, root.id)]
    for upload, size in begun:
        if upload.sha256 is None:
            fd = root.storage.open(parsed(upload.begun))
            try:
                assert os.pread(fd, size, 0) == LARGE[:size]
            finally:
                os.close(fd)


def _followed(user: UserTree, token: Token, tree: Tree) -> Tree:
    """What a device has that knew a tree, and applies all changes since."""
    try:
        changes = user.changes(token, most=1000)
    except TokenExpired:
        return content(user)  # it reads the whole state
    assert not changes.has_more
    now = content(user)
    for change in changes.changes:
        name = "/".join(change.path)
        if change.resource is None or not change.resource.is_collection:
            tree = without(tree, name)
        if change.resource is not None:
            tree = {**tree, name: now[name]}
    return tree


def main(folder: str, durability: str) -> None:
    """What is recorded: one change after the other, each told with the change token that a client then gets."""
    checkpoints._COMMITS, checkpoints._LONG = 2, 20  # the log of the index begins anew in so few changes, too
    house = open_installation(Path(folder), durability)
    user = user_of(house)
    os.write(2, f"told {user.token()}\n".encode())
    for _, work, _ in WORK:
        work(user)
        os.write(2, f"told {user.token()}\n".encode())
    house.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
