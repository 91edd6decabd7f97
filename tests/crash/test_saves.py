"""kill -9 at every step of the end of a save: the new bytes are there under their name, the old ones somewhere."""

from pathlib import Path

from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from tests.crash.dying import each_step
from tests.crash.installation import BEFORE, path, put, start_again


def _save(user: UserTree) -> None:
    user.move(path("file"), path("old"), NO_TERMS, overwrite=True)
    put(user, "file", b"new bytes")


def test_the_end_of_a_save(pristine: Path, tmp_path: Path) -> None:
    """The old file, moved away before, is deleted: wholly there or wholly gone."""
    saved = {**BEFORE, "pub": None, "file": b"new bytes"}
    old = {**saved, "old": b"old bytes"}
    for ending in each_step(pristine, tmp_path, lambda user, _: user.delete(path("old"), NO_TERMS), before=_save):
        found = start_again(ending.folder)
        assert found in ((saved,) if ending.has_passed else (saved, old)), f"at step {ending.step}"
