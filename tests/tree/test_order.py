"""In which order what leaves a folder reaches the disk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path as DiskPath

import pytest

from baludav.tree.disk import kernel, marker
from baludav.tree.disk.local import LocalStorage
from baludav.tree.disk.storage import Identity

KEPT, TEMPORARY = ".baludav/kept", ".baludav/tmp"


@pytest.fixture
def storage(tmp_path: DiskPath) -> Iterator[LocalStorage]:
    storage = LocalStorage(tmp_path, marker.make(tmp_path), sync=True)
    for name in ("a", "b"):
        storage.make_folder((name,))
    (tmp_path / "a/f").write_bytes(b"bytes")
    yield storage
    storage.close()


@pytest.mark.parametrize(
    ("change", "arrival", "leaving"),
    [
        (lambda storage: storage.put_away(("a", "f"), 7), KEPT, "a"),
        (lambda storage: storage.take_aside(("a", "f"), 7), TEMPORARY, "a"),
        (lambda storage: storage.move(("a", "f"), storage, ("b", "f")), "b", "a"),
        (lambda storage: storage.keep(("a", "f"), 7, Identity(8, 9)), KEPT, None),
    ],
    ids=["put away", "taken aside", "moved", "kept"],
)
@pytest.mark.parametrize("keeps_order", [True, False], ids=["journal", "no order"])
def test_nothing_leaves_a_folder_on_the_disk_before_it_has_arrived(
    change: Callable[[LocalStorage], object], arrival: str, leaving: str | None, keeps_order: bool,
    storage: LocalStorage, tmp_path: DiskPath, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Where the file system keeps no order between two folders, the power may fail between them."""
    steps: list[str] = []

    def noting(what: Callable[..., None], note: Callable[[int], str]) -> Callable[..., None]:
        def noted(*args: object, **kwargs: object) -> None:
            what(*args, **kwargs)
            steps.append(note(args[0]))  # type: ignore[arg-type]  # a descriptor, or not looked at

        return noted

    def folder(fd: int) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path)

    monkeypatch.setattr(kernel, "keeps_order", lambda fd: keeps_order)
    for name in ("rename", "link"):
        monkeypatch.setattr(os, name, noting(getattr(os, name), lambda _: "done"))
    monkeypatch.setattr(os, "fsync", noting(os.fsync, folder))
    change(storage)
    after = steps[steps.index("done") + 1 :]
    assert after == ([] if keeps_order else [arrival]) + ([leaving] if leaving else [])


def test_this_file_system_is_known_or_not(tmp_path: DiskPath) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with open("/proc/self/mounts", encoding="utf-8") as lines:
        mounts = {line.split(" ")[1]: line.split(" ")[2] for line in lines}
    kind = next(mounts[str(folder)] for folder in (tmp_path, *tmp_path.parents) if str(folder) in mounts)
    try:
        assert kernel.keeps_order(fd) == (kind in ("ext2", "ext3", "ext4", "xfs", "tmpfs"))
    finally:
        os.close(fd)
