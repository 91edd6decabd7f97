"""Watched folders: the number is another one after each change, and the same as long as there is none."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.tree.disk import kernel
from baludav.tree.disk.local import LocalStorage
from baludav.tree.disk.marker import make
from baludav.tree.roots import StorageRoot
from baludav.tree.truth import watches
from baludav.tree.truth.watches import Watches


@pytest.fixture
def root(tmp_path: Path) -> Iterator[StorageRoot]:
    folder = tmp_path / "home"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_bytes(b"bytes")
    storage = LocalStorage(folder, make(folder), sync=False)
    yield StorageRoot(1, "home", "anna", storage, 1)
    storage.close()


@pytest.fixture
def watched() -> Iterator[Watches]:
    found = Watches()
    yield found
    found.close()


def _count(watched: Watches, root: StorageRoot, name: str) -> int | None:
    stat = root.storage.stat((name,))
    assert stat is not None
    return watched.count(root, (name,), stat)


def _overwrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"other")


@pytest.mark.parametrize(
    "change",
    [
        lambda a: (a / "new").write_bytes(b"x"),
        lambda a: _overwrite(a / "file"),
        lambda a: os.utime(a / "file", ns=(1, 1)),
        lambda a: (a / "file").chmod(0o600),
        lambda a: (a / "file").unlink(),
        lambda a: (a / "file").rename(a / "renamed"),
        lambda a: (a / "file").rename(a.parent / "b" / "moved"),
        lambda a: (a.parent / "b" / "file").rename(a / "file"),
        lambda a: (a / "folder").mkdir(),
        lambda a: os.link(a.parent / "b" / "file", a / "link"),
        lambda a: os.utime(a, ns=(1, 1)),
    ],
)
def test_a_change_is_known_when_it_is_made(root: StorageRoot, watched: Watches, tmp_path: Path, change) -> None:
    """Of a member's name, bytes or times, or of the folder's own."""
    before = _count(watched, root, "a")
    assert before is not None
    assert _count(watched, root, "a") == before
    change(tmp_path / "home" / "a")
    after = _count(watched, root, "a")
    assert after not in (None, before)
    assert _count(watched, root, "a") == after


def test_each_folder_has_its_own_number(root: StorageRoot, watched: Watches, tmp_path: Path) -> None:
    first, second = _count(watched, root, "a"), _count(watched, root, "b")
    assert first != second
    (tmp_path / "home" / "a" / "new").write_bytes(b"x")
    assert _count(watched, root, "b") == second
    assert _count(watched, root, "a") != first


def test_another_folder_in_the_same_place(root: StorageRoot, watched: Watches, tmp_path: Path) -> None:
    """It is watched anew; what happened before is not mistaken for quiet."""
    before = _count(watched, root, "a")
    (tmp_path / "home" / "a").rename(tmp_path / "home" / "gone")
    (tmp_path / "home" / "b").rename(tmp_path / "home" / "a")
    assert _count(watched, root, "a") != before


def test_events_that_were_lost_are_changes_everywhere(
    root: StorageRoot, watched: Watches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the queue of the kernel has overflowed nobody can say where something happened."""
    numbers = [_count(watched, root, name) for name in "ab"]
    monkeypatch.setattr(kernel, "events", lambda data: iter([(-1, kernel.IN_Q_OVERFLOW, b"")]))
    (tmp_path / "home" / "a" / "new").write_bytes(b"x")
    assert [_count(watched, root, name) for name in "ab"] != numbers
    assert _count(watched, root, "b") != numbers[1]


def test_the_first_watched_makes_room(
    root: StorageRoot, watched: Watches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the most folders; when it is asked for again its number is another one, as nobody has looked."""
    monkeypatch.setattr(watches, "_MOST", 1)
    first = _count(watched, root, "a")
    second = _count(watched, root, "b")
    assert _count(watched, root, "b") == second
    assert _count(watched, root, "a") not in (None, first)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE])
def test_no_watch_to_spare(root: StorageRoot, watched: Watches, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Then nothing can be told, and it is not tried again and again."""

    def refuse(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(kernel, "notifier" if code == errno.EMFILE else "watch", refuse)
    assert _count(watched, root, "a") is None
    monkeypatch.undo()
    assert _count(watched, root, "a") is None


def test_where_the_kernel_does_not_see_every_change(
    root: StorageRoot, watched: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "tells_changes", lambda fd: False)
    assert _count(watched, root, "a") is None
