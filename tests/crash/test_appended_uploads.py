"""kill -9 at every step of an upload that grows at its end: what was acknowledged is there, and it goes on from it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from baludav.errors import NotFound
from baludav.tree.reading import NO_TERMS
from baludav.tree.tree import UserTree
from tests.crash.dying import Say, each_step
from tests.crash.installation import BEFORE, Tree, open_installation, path, start_again, user_of

PARTS = [b"first " * 1000, b"second " * 3000, b"third"]
WHOLE = b"".join(PARTS)
SEEN: Tree = {**BEFORE, "pub": None}


def _bodies(body: bytes) -> Iterator[memoryview]:
    yield memoryview(body)


def _send(user: UserTree, upload_id: str, body: bytes, say: Say) -> None:
    """Go on with an upload, as a client does that has asked how far it has come, in requests of 8,000 bytes."""
    upload, offset, _ = user.appended(upload_id)
    while offset < len(body):
        upload, offset, _ = user.append(upload, offset, _bodies(body[offset : offset + 8000]), NO_TERMS)
        say(f"{upload_id} {offset}")


def _create(user: UserTree, length: int, target: str | None, say: Say) -> str:
    upload = user.create_upload(length, path(target) if target else None, NO_TERMS, note="")
    upload_id = upload.name.removeprefix("/")
    say(f"{upload_id} 0")
    return upload_id


def _append(user: UserTree, ids: list[str], target: str, say: Say) -> None:
    ids = ids or [_create(user, len(WHOLE), target, say)]
    _send(user, ids[0], WHOLE, say)


def _concatenate(user: UserTree, ids: list[str], target: str, say: Say) -> None:
    ids = [*ids, *(_create(user, len(body), None, say) for body in PARTS[len(ids) :])]
    for upload_id, body in zip(ids, PARTS, strict=True):
        _send(user, upload_id, body, say)
    user.concatenate(ids, path(target), NO_TERMS, note="")


WAYS: dict[str, Callable[[UserTree, list[str], str, Say], None]] = {"append": _append, "concatenate": _concatenate}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", ["file", "pub/new"])
def test_an_upload_goes_on_after_a_crash(way: str, target: str, pristine: Path, tmp_path: Path) -> None:
    """Over a file, and into a share, which may lie on another disk."""
    new = {**SEEN, target: WHOLE}
    for ending in each_step(pristine, tmp_path, lambda user, say: WAYS[way](user, [], target, say)):
        found = start_again(ending.folder)
        assert found in (SEEN, new), f"at step {ending.step}"
        house = open_installation(ending.folder)
        user = user_of(house)
        told = {upload_id: int(offset) for upload_id, offset in map(str.split, ending.said)}
        for upload_id, offset in told.items():
            try:
                now = user.appended(upload_id).offset
            except NotFound:
                assert found == new, f"at step {ending.step}"
                continue
            assert now >= offset, f"at step {ending.step}"
            if way == "append":
                assert (now == len(WHOLE)) == (found == new), f"at step {ending.step}"
        if found != new:
            WAYS[way](user, list(told), target, lambda _: None)
        house.close()
        assert start_again(ending.folder) == new, f"at step {ending.step}"
    assert ending.step > 5
