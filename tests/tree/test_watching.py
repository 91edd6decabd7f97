"""What the watches tell: which names in which folders, wherever the folders have gone."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.errors import NotFound
from baludav.tree.disk import kernel, marker
from baludav.tree.disk.local import LocalStorage
from baludav.tree.roots import StorageRoot
from baludav.tree.truth.watching import GATHER_SECONDS, QUIET_SECONDS, Watcher

LONG = 1e9  # later than anything is due


class Watched:
    """A storage root, and what a watcher tells of it."""

    def __init__(self, folder: Path, watcher: Watcher) -> None:
        self.folder = folder
        self.storage = LocalStorage(folder, marker.make(folder), sync=False)
        self.root = StorageRoot(1, "home", "anna", self.storage, 1)
        self.watcher = watcher
        self.add()

    def add(self, *names: str) -> list[str]:
        """Watch a folder and those below it; those that were not watched there."""
        path = "/".join(names)
        found = [path] if self.watcher.add(self.root, names) else []
        for name, stat in self.storage.scan(names):
            if stat.is_collection:
                found += self.add(*names, name)
        return found

    def told(self, now: float = LONG) -> tuple[set[str], set[str]]:
        """Names to which something happened, and folders to be read."""
        self.watcher.read(time.monotonic())
        touched, fresh = self.watcher.take(now)
        assert all(root is self.root for root, *_ in (*touched, *fresh))
        names = {"/".join((*folder, name)) for _, folder, names in touched for name in names}
        return names, {"/".join(names) for _, names in fresh}


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    watcher = Watcher()
    yield watcher
    watcher.close()


@pytest.fixture
def disk(tmp_path: Path, watcher: Watcher) -> Iterator[Watched]:
    for name in ("a/b/c", "d", ".baludav"):
        (tmp_path / "root" / name).mkdir(parents=True)
    disk = Watched(tmp_path / "root", watcher)
    assert disk.told() == (set(), set())
    yield disk
    disk.storage.close()


def test_every_kind_of_change_is_told_once(disk: Watched) -> None:
    file = disk.folder / "a/b/f"
    for change in (
        lambda: file.write_bytes(b"new"),
        lambda: file.write_bytes(b"edited"),
        lambda: os.utime(file, (1, 1)),
        lambda: file.chmod(0o600),
        lambda: os.truncate(file, 1),
        lambda: os.replace(_made(disk.folder.parent / "other"), file),
        lambda: file.unlink(),
    ):
        change()
        assert disk.told() == ({"a/b/f"}, set())
        assert disk.told() == (set(), set())


def _made(file: Path) -> Path:
    file.write_bytes(b"made")
    return file


def test_what_belongs_to_the_server_is_not_told(disk: Watched) -> None:
    """Nor what it does not show."""
    (disk.folder / ".baludav/tmp/x").write_bytes(b"x")
    (disk.folder / ".BALUDAV").mkdir()
    (disk.folder / os.fsdecode(b"\xff")).write_bytes(b"x")
    assert disk.told() == (set(), set())


def test_what_is_still_open_is_told_when_it_is_closed_or_quiet(disk: Watched) -> None:
    with (disk.folder / "f").open("wb") as file:
        file.write(b"1")
        file.flush()
        began = time.monotonic()
        assert disk.told(began + GATHER_SECONDS) == (set(), set())
        assert disk.watcher.due is not None
        assert began + QUIET_SECONDS - 1 < disk.watcher.due < began + QUIET_SECONDS + 1
        assert disk.told(disk.watcher.due + 0.01) == ({"f"}, set())
        file.write(b"2")
        os.utime(disk.folder / "f")
        file.flush()
        assert disk.told(time.monotonic() + GATHER_SECONDS) == (set(), set())
    assert disk.told(time.monotonic()) == ({"f"}, set())
    assert disk.watcher.due is None


def test_due_after_the_first_of_what_happens(disk: Watched) -> None:
    assert disk.watcher.due is None
    (disk.folder / "f").write_bytes(b"1")
    disk.watcher.read(100.0)
    (disk.folder / "g").write_bytes(b"1")
    disk.watcher.read(100.05)
    assert disk.watcher.due == 100.0 + GATHER_SECONDS


def test_new_folders_are_to_be_read(disk: Watched) -> None:
    """They are watched before they are told of, so what comes into them later is told too."""
    (disk.folder / "n/e/w").mkdir(parents=True)
    assert disk.told() == ({"n"}, {"n"})
    assert disk.add("n") == ["n/e", "n/e/w"]
    (disk.folder / "n/e/w/f").write_bytes(b"f")
    assert disk.told() == ({"n/e/w/f"}, set())


def test_a_folder_goes_on_being_watched_where_it_is_moved(disk: Watched) -> None:
    (disk.folder / "a").rename(disk.folder / "d/a2")
    (disk.folder / "d/a2/b/f").write_bytes(b"f")
    watches = len(disk.watcher)
    touched, fresh = disk.told()
    assert touched == {"a", "d/a2", "d/a2/b/f"}
    assert fresh == {"d/a2"}
    assert len(disk.watcher) == watches
    (disk.folder / "d/a2/b/c/g").write_bytes(b"g")
    assert disk.told() == ({"d/a2/b/c/g"}, set())


def test_folders_that_change_places(disk: Watched) -> None:
    """What was in the one comes to hold it; two are swapped; a new one takes the old name."""
    (disk.folder / "a/b").rename(disk.folder / "top")
    (disk.folder / "a").rename(disk.folder / "top/a")
    (disk.folder / "a").mkdir()
    _, fresh = disk.told()
    assert fresh == {"a", "top", "top/a"}
    (disk.folder / "top").rename(disk.folder / "t")
    (disk.folder / "d").rename(disk.folder / "top")
    (disk.folder / "t").rename(disk.folder / "d")
    for name in ("d/c/f", "d/a/f", "top/f", "a/f"):
        (disk.folder / name).write_bytes(b"f")
    touched, _ = disk.told()
    assert touched == {"d", "top", "t", "d/c/f", "d/a/f", "top/f", "a/f"}


def test_what_leaves_is_not_watched_any_more(disk: Watched, tmp_path: Path) -> None:
    """Out of the storage root, or deleted."""
    before = len(disk.watcher)
    (disk.folder / "a").rename(tmp_path / "elsewhere")
    assert disk.told() == ({"a"}, set())
    assert len(disk.watcher) == before - 3
    (tmp_path / "elsewhere/b/f").write_bytes(b"f")
    assert disk.told() == (set(), set())
    (tmp_path / "elsewhere").rename(disk.folder / "back")
    assert disk.told() == ({"back"}, {"back"})
    disk.add("back")
    assert len(disk.watcher) == before
    shutil.rmtree(disk.folder / "back")
    disk.told()
    assert len(disk.watcher) == before - 3
    with pytest.raises(NotFound):
        disk.add("back")


def test_a_move_that_is_told_in_two_parts(disk: Watched) -> None:
    """The one name in one portion, the other in the next: as if it had left and come."""
    (disk.folder / "d/x").mkdir()
    disk.told()
    (disk.folder / "d/x").rename(disk.folder / "y")
    disk.watcher.read(1.0)
    disk.told()
    (disk.folder / "y/f").write_bytes(b"f")
    touched, _ = disk.told()
    assert touched == {"y/f"}


def test_more_than_the_kernel_keeps_is_known_to_be_lost(disk: Watched) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for name in ("f", "g"):
        (disk.folder / name).write_bytes(b"1")
    for _ in range(limit // 2 + 100):
        for name in ("f", "g"):  # by turns, since the same event twice is one
            (disk.folder / name).chmod(0o600)
    disk.told()
    assert disk.watcher.has_lost


def test_more_names_than_are_to_be_kept_are_lost(tmp_path: Path) -> None:
    watcher = Watcher(most_names=3)
    disk = Watched(tmp_path, watcher)
    for number in range(5):
        (tmp_path / f"d{number}").mkdir()
        disk.add(f"d{number}")
        disk.told()
    for number in range(5):
        (tmp_path / f"d{number}/f").write_bytes(b"f")
    disk.told()
    assert watcher.has_lost
    watcher.close()
    disk.storage.close()


def test_out_of_watches(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Said once; what is watched goes on being told."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).mkdir()
    watcher = Watcher(most_watches=3)
    disk = Watched(tmp_path, watcher)
    assert watcher.partly == {1}
    assert len(watcher) == 3
    assert len(caplog.records) == 1
    for name in ("a", "b", "c", "d"):
        (tmp_path / name / "f").write_bytes(b"f")
    touched, _ = disk.told()
    assert len(touched) == 2
    shutil.rmtree(tmp_path / touched.pop().partition("/")[0])
    disk.told()
    watcher.partly.clear()
    (tmp_path / "e").mkdir()
    assert disk.told() == ({"e"}, {"e"})
    assert watcher.partly == set()
    watcher.close()
    disk.storage.close()


def test_where_changes_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.setattr(kernel, "tells_changes", lambda fd: False)
    watcher = Watcher()
    disk = Watched(tmp_path, watcher)
    assert watcher.partly == {1}
    assert len(watcher) == 0
    watcher.close()
    disk.storage.close()


def test_a_storage_root_is_forgotten(disk: Watched) -> None:
    disk.watcher.forget(disk.root)
    assert len(disk.watcher) == 0
    (disk.folder / "a/f").write_bytes(b"f")
    assert disk.told() == (set(), set())


def _share(folder: Path) -> StorageRoot:
    return StorageRoot(2, "share", "s", LocalStorage(folder, marker.make(folder), sync=False), 2)


def test_a_move_from_one_storage_root_to_another(disk: Watched, tmp_path: Path) -> None:
    (tmp_path / "other/d").mkdir(parents=True)
    other = _share(tmp_path / "other")
    for names in ((), ("d",)):
        assert disk.watcher.add(other, names)
    (tmp_path / "other/d").rename(disk.folder / "from other")
    (disk.folder / "from other/f").write_bytes(b"f")
    disk.watcher.read(0.0)
    touched, fresh = disk.watcher.take(LONG)
    assert sorted((root.id, folder, names) for root, folder, names in touched) == [
        (1, (), {"from other"}), (2, (), {"d"}),
    ]  # fmt: skip
    assert [(root.id, names) for root, names in fresh] == [(1, ("from other",))]
    (disk.folder / "from other/g").write_bytes(b"g")
    assert disk.told() == ({"from other/g"}, set())
    other.storage.close()


def test_a_storage_root_within_another(disk: Watched) -> None:
    """A share that is a folder of a home: both are told."""
    other = _share(disk.folder / "a")
    for names in ((), ("b",), ("b", "c")):
        assert disk.watcher.add(other, names)
        assert not disk.watcher.add(other, names)
        assert not disk.watcher.add(disk.root, ("a", *names))

    def told() -> list[tuple[int, str]]:
        disk.watcher.read(0.0)
        touched, _ = disk.watcher.take(LONG)
        return sorted((root.id, "/".join((*folder, name))) for root, folder, names in touched for name in names)

    (disk.folder / "a/b/c/f").write_bytes(b"f")
    assert told() == [(1, "a/b/c/f"), (2, "b/c/f")]
    (disk.folder / "a/b/c").rename(disk.folder / "a/x")
    assert told() == [(1, "a/b/c"), (1, "a/x"), (2, "b/c"), (2, "x")]
    disk.watcher.forget(other)
    (disk.folder / "a/x/f").write_bytes(b"f")
    assert told() == [(1, "a/x/f")]
    other.storage.close()
