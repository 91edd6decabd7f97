"""kill -9 at every step of an upload in parts: what was acknowledged is there, and the upload goes on from it."""

import contextlib
from pathlib import Path

import pytest

from baludav.errors import MethodNotAllowed, NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from tests.crash.dying import Say, each_step
from tests.crash.installation import BEFORE, Tree, open_installation, path, start_again, user_of

PARTS = {"1": b"first " * 1000, "2": b"second " * 3000, "3": b"third"}
WHOLE = b"".join(PARTS.values())
SEEN: Tree = {**BEFORE, "pub": None}


def _upload(user: UserTree, target: str, say: Say) -> None:
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
        say(name)
    user.finish_upload("upload", path(target), NO_TERMS, length=len(WHOLE))


@pytest.mark.parametrize("target", ["file", "pub/new"])
def test_an_upload_goes_on_after_a_crash(target: str, pristine: Path, tmp_path: Path) -> None:
    """Over a file, and into a share, which may lie on another disk."""
    new = {**SEEN, target: WHOLE}
    for ending in each_step(pristine, tmp_path, lambda user, say: _upload(user, target, say)):
        found = start_again(ending.folder)
        assert found in (SEEN, new), f"at step {ending.step}"
        house = open_installation(ending.folder)
        user = user_of(house)
        with contextlib.suppress(NotFound):  # it is finished
            assert set(ending.said) <= {part.name for part in user.upload_parts("upload")}
        if found != new or ending.has_passed:
            _upload(user, target, lambda _: None)
        house.close()
        assert start_again(ending.folder) == new, f"at step {ending.step}"
    assert ending.step > 5
