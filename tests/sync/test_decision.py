"""The three-way decision: a row for every case, and what holds for any two sides."""

from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from baludav.tree.records.conflicts import Kind
from sync_ext.actions import Action, Clash, DeleteHere, DeleteThere, Download, Here, There, Upload, Wait, Why
from sync_ext.decision import decide, is_mass_deletion

B, L, S = "b" * 64, "1" * 64, "5" * 64
GONE = None
COMPOSED, DECOMPOSED = "/\u00e9", "/e\u0301"


def download(path: str, sha256: str | None, spelled: str = "") -> Download:
    return Download(path, There(spelled or path, sha256))


def folder(path: str, etag: str | None = "etag") -> There:
    return There(path, None, True, etag)


ONE_PATH = [
    # here, base, there, decided
    (None, None, S, download("/a", S)),
    (L, None, None, Upload("/a", None)),
    (S, None, S, None),
    (L, None, S, Clash("/a", Kind.BOTH_CREATED, None, L, S)),
    (B, B, B, None),
    (B, B, S, download("/a", S)),
    (B, B, None, DeleteHere("/a", B)),
    (L, B, B, Upload("/a", B)),
    (L, B, L, None),
    (L, B, S, Clash("/a", Kind.BOTH_EDITED, B, L, S)),
    (L, B, None, Clash("/a", Kind.DELETED_THERE, B, L, None)),
    (GONE, B, B, DeleteThere("/a", B)),
    (GONE, B, S, Clash("/a", Kind.DELETED_HERE, B, None, S)),
    (GONE, B, None, None),
    (GONE, None, S, download("/a", S)),
    (GONE, None, None, None),
]


@pytest.mark.parametrize(("here", "base", "there", "decided"), ONE_PATH)
def test_one_path(here: str | None, base: str | None, there: str | None, decided: Action | None) -> None:
    files = [There("/a", there)] if there is not None else []
    expected = [] if decided is None else [decided]
    assert decide([Here("/a", here, base)], files) == expected
    if here is base is None:
        assert decide([], files) == expected, "a path that is not listed was never known"


@pytest.mark.parametrize(
    ("here", "base", "decided"),
    [
        (None, None, download("/a", None)),
        (L, None, Wait("/a", Why.NOT_HASHED)),
        (B, B, Wait("/a", Why.NOT_HASHED)),
        (L, B, Wait("/a", Why.NOT_HASHED)),
        (GONE, B, Wait("/a", Why.NOT_HASHED)),
    ],
)
def test_bytes_that_the_server_has_not_hashed(here: str | None, base: str | None, decided: Action) -> None:
    """They may be those that the device has: to take them for others would make a conflict of nothing."""
    assert decide([Here("/a", here, base)], [There("/a", None)]) == [decided]


NEIGHBOURS: dict[str, tuple[list[Here], list[There], list[Action]]] = {
    "a collection became a file there": (
        [Here("/a/x", B, B), Here("/a/y", B, B)],
        [There("/a", S)],
        [download("/a", S), DeleteHere("/a/x", B), DeleteHere("/a/y", B)],
    ),
    "the same, and a member was edited here": (
        [Here("/a/x", L, B), Here("/a/y", B, B)],
        [There("/a", S)],
        [Clash("/a", Kind.FILE_AND_COLLECTION, None, None, S), Wait("/a/x", Why.BLOCKED), DeleteHere("/a/y", B)],
    ),
    "the same, and a member was made here": (
        [Here("/a/x/new", L, None)],
        [There("/a", S)],
        [Clash("/a", Kind.FILE_AND_COLLECTION, None, None, S), Wait("/a/x/new", Why.BLOCKED)],
    ),
    "a file became a collection there": (
        [Here("/a", B, B)],
        [folder("/a"), There("/a/x", S)],
        [DeleteHere("/a", B), download("/a/x", S)],
    ),
    "the same, and the file was edited here": (
        [Here("/a", L, B)],
        [folder("/a"), There("/a/x", S)],
        [Clash("/a", Kind.FILE_AND_COLLECTION, B, L, None), Wait("/a/x", Why.BLOCKED)],
    ),
    "the same, and the collection is empty": (
        [Here("/a", L, B)],
        [folder("/a")],
        [Clash("/a", Kind.FILE_AND_COLLECTION, B, L, None)],
    ),
    "a collection became a file here": (
        [Here("/a", L, None), Here("/a/x", GONE, B), Here("/a/y/z", GONE, B)],
        [folder("/a"), folder("/a/y", "inner"), There("/a/x", B), There("/a/y/z", B)],
        [DeleteThere("/a", "etag", True), Upload("/a", None)],
    ),
    "a file in place of a collection that is empty there": (
        [Here("/a", L, None)],
        [folder("/a")],
        [DeleteThere("/a", "etag", True), Upload("/a", None)],
    ),
    "a file in place of a collection that cannot be deleted": (
        [Here("/share", L, None)],
        [folder("/share", None)],
        [Clash("/share", Kind.FILE_AND_COLLECTION, None, L, None)],
    ),
    "a collection became a file here, and a member was edited there": (
        [Here("/a", L, None), Here("/a/x", GONE, B), Here("/a/y", GONE, B)],
        [folder("/a"), There("/a/x", S), There("/a/y", B)],
        [Clash("/a", Kind.FILE_AND_COLLECTION, None, L, None), Wait("/a/x", Why.BLOCKED), DeleteThere("/a/y", B)],
    ),
    "a file became a collection here": (
        [Here("/a", GONE, B), Here("/a/x", L, None)],
        [There("/a", B)],
        [DeleteThere("/a", B), Upload("/a/x", None)],
    ),
    "the same, and the file was edited there": (
        [Here("/a", GONE, B), Here("/a/x", L, None)],
        [There("/a", S)],
        [Clash("/a", Kind.FILE_AND_COLLECTION, B, None, S), Wait("/a/x", Why.BLOCKED)],
    ),
    "the same, and the server has not hashed it": (
        [Here("/a", GONE, B), Here("/a/x", L, None)],
        [There("/a", None)],
        [Clash("/a", Kind.FILE_AND_COLLECTION, B, None, None), Wait("/a/x", Why.BLOCKED)],
    ),
    "names that only begin alike": (
        [Here("/a", L, None), Here("/ab/x", L, None)],
        [There("/a.txt", S), folder("/abc"), There("/abc/x", S)],
        [Upload("/a", None), download("/a.txt", S), Upload("/ab/x", None), download("/abc/x", S)],
    ),
}


@pytest.mark.parametrize("case", NEIGHBOURS)
def test_files_and_collections(case: str) -> None:
    here, there, decided = NEIGHBOURS[case]
    assert decide(here, there) == decided


SPELLINGS: dict[str, tuple[list[Here], list[There], list[Action]]] = {
    "both exist on both sides": (
        [Here("/a", B, B), Here("/A", S, S)],
        [There("/a", B), There("/A", S)],
        [],
    ),
    "edited where both exist": (
        [Here("/a", L, B), Here("/A", S, S)],
        [There("/a", B), There("/A", S)],
        [Upload("/a", B)],
    ),
    "one here, another there": (
        [Here("/a", L, None)],
        [There("/A", S)],
        [Wait("/A", Why.BLOCKED), Clash("/a", Kind.NAME_COLLISION, None, L, S, "/A")],
    ),
    "new here": (
        [Here("/a", L, None), Here("/A", S, S)],
        [There("/A", S)],
        [Clash("/a", Kind.NAME_COLLISION, None, L, S, "/A")],
    ),
    "new there": (
        [Here("/a", B, B)],
        [There("/a", B), There("/A", S)],
        [Wait("/A", Why.BLOCKED), Clash("/a", Kind.NAME_COLLISION, B, B, S, "/A")],
    ),
    "two new here": (
        [Here("/A", L, None), Here("/a", B, None)],
        [],
        [Upload("/A", None), Clash("/a", Kind.NAME_COLLISION, None, B, None, "/A")],
    ),
    "two new there": (
        [],
        [There("/A", B), There("/a", S)],
        [Clash("/A", Kind.NAME_COLLISION, None, None, S, "/a"), download("/A", B), Wait("/a", Why.BLOCKED)],
    ),
    "three": (
        [Here("/aa", L, None), Here("/aA", L, None)],
        [There("/AA", S)],
        [Wait("/AA", Why.BLOCKED), Clash("/aA", Kind.NAME_COLLISION, None, L, S, "/AA"), Wait("/aa", Why.BLOCKED)],
    ),
    "renamed here": (
        [Here("/File", GONE, B), Here("/file", B, None)],
        [There("/File", B)],
        [DeleteThere("/File", B), Upload("/file", None)],
    ),
    "renamed there": (
        [Here("/File", B, B)],
        [There("/file", B)],
        [DeleteHere("/File", B), download("/file", B)],
    ),
    "the other is a conflict itself": (
        [Here("/a", L, B)],
        [There("/a", S), There("/A", S)],
        [Wait("/A", Why.BLOCKED), Clash("/a", Kind.BOTH_EDITED, B, L, S)],
    ),
    "collections": (
        [Here("/dir/x", L, None), Here("/dir/y", L, None)],
        [folder("/Dir"), There("/Dir/x", S)],
        [
            Wait("/Dir/x", Why.BLOCKED),
            Clash("/dir", Kind.NAME_COLLISION, None, None, None, "/Dir"),
            Wait("/dir/x", Why.BLOCKED),
            Wait("/dir/y", Why.BLOCKED),
        ],
    ),
    "collections on both sides": (
        [Here("/dir/x", B, B), Here("/Dir/x", B, B), Here("/dir/y", L, None)],
        [There("/dir/x", B), There("/Dir/x", B)],
        [Upload("/dir/y", None)],
    ),
    "a collection renamed here": (
        [Here("/Dir/x", GONE, B), Here("/dir/x", B, None)],
        [folder("/Dir"), There("/Dir/x", B)],
        [DeleteThere("/Dir/x", B), Upload("/dir/x", None)],
    ),
    "a file and a collection": (
        [Here("/A", L, None)],
        [folder("/a"), There("/a/x", S)],
        [Clash("/A", Kind.NAME_COLLISION, None, L, None, "/a"), Wait("/a/x", Why.BLOCKED)],
    ),
    "letters beyond ASCII": (
        [Here("/STRASSE", L, None), Here("/ÉCOLE", L, None)],
        [There("/straße", S), There("/école", S)],
        [
            Clash("/STRASSE", Kind.NAME_COLLISION, None, L, S, "/straße"),
            Wait("/straße", Why.BLOCKED),
            Clash("/ÉCOLE", Kind.NAME_COLLISION, None, L, S, "/école"),
            Wait("/école", Why.BLOCKED),
        ],
    ),
    "decomposed here, composed there: one and the same": (
        [Here(DECOMPOSED, L, B), Here(DECOMPOSED + "2", B, B), Here(DECOMPOSED + "3/new", L, None)],
        [There(COMPOSED, B), There(COMPOSED + "3/old", S)],
        [
            Upload(DECOMPOSED, B),
            DeleteHere(DECOMPOSED + "2", B),
            Upload(DECOMPOSED + "3/new", None),
            download(COMPOSED + "3/old", S),
        ],
    ),
    "composed here, decomposed there: the same": (
        [Here(COMPOSED, GONE, B), Here(COMPOSED + "2", B, B)],
        [There(DECOMPOSED, B), There(DECOMPOSED + "2", S)],
        [DeleteThere(COMPOSED, B), download(COMPOSED + "2", S, DECOMPOSED + "2")],
    ),
    "both forms on both sides": (
        [Here(COMPOSED, B, B), Here(DECOMPOSED, S, S)],
        [There(COMPOSED, B), There(DECOMPOSED, S)],
        [],
    ),
    "both forms here": (
        [Here(COMPOSED, B, B), Here(DECOMPOSED, L, None)],
        [There(COMPOSED, B)],
        [Clash(DECOMPOSED, Kind.NAME_COLLISION, None, L, B, COMPOSED)],
    ),
    "both forms there": (
        [Here(DECOMPOSED, B, B)],
        [There(DECOMPOSED, B), There(COMPOSED, S)],
        [Clash(DECOMPOSED, Kind.NAME_COLLISION, B, B, S, COMPOSED), Wait(COMPOSED, Why.BLOCKED)],
    ),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_names_that_some_systems_do_not_tell_apart(case: str) -> None:
    here, there, decided = SPELLINGS[case]
    assert decide(here, there) == decided


def _files(count: int, sha256: str | None = B) -> list[Here]:
    return [Here(f"/{number}", f"{number:064}" if sha256 else None, f"{number:064}") for number in range(count)]


def _there(*numbers: int) -> list[There]:
    return [There(f"/{number}", f"{number:064}") for number in numbers]


MASSES: dict[str, tuple[list[Here], list[There], bool]] = {
    "nothing": ([], [], False),
    "a new device": ([], _there(*range(10)), False),
    "a new server": ([file._replace(base=None) for file in _files(10)], [], False),
    "one file deleted there": (_files(1), [], False),
    "one file deleted here": (_files(1, GONE), _there(0), False),
    "two of two deleted there": (_files(2), [], True),
    "two of two deleted here": (_files(2, GONE), _there(0, 1), True),
    "half deleted there": (_files(4), _there(0, 1), False),
    "more than half deleted there": (_files(5), _there(0, 1), True),
    "half deleted here": (_files(2) + _files(4, GONE)[2:], _there(0, 1, 2, 3), False),
    "more than half deleted here": (_files(1) + _files(3, GONE)[1:], _there(0, 1, 2), True),
    "a move here": (
        _files(3, GONE) + [file._replace(path="/new" + file.path, base=None) for file in _files(3)],
        _there(0, 1, 2),
        False,
    ),
    "a move there": (_files(3), [file._replace(path="/new" + file.path) for file in _there(0, 1, 2)], False),
    "the server is empty, and all was edited here": ([Here(f"/{n}", L, B) for n in range(3)], [], True),
    "the device is empty, and all was edited there": (_files(3, GONE), [There(f"/{n}", S) for n in range(3)], True),
    "a file in place of a collection with everything": (
        [Here("/d", L, None), Here("/x", B, B), *(Here(f"/d/{n}", None, B) for n in range(3))],
        [There("/x", B), folder("/d"), *(There(f"/d/{n}", B) for n in range(3))],
        True,
    ),
}


@pytest.mark.parametrize("case", MASSES)
def test_mass_deletion(case: str) -> None:
    here, there, is_mass = MASSES[case]
    assert is_mass_deletion(here, there, decide(here, there)) == is_mass


shas = st.sampled_from([letter * 64 for letter in "123"])


def _trees(names: list[str]) -> st.SearchStrategy[dict[str, str]]:
    """SHA-256 by path, no file below another."""
    paths = st.lists(st.sampled_from(names), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
    return st.dictionaries(paths, shas, max_size=8).map(
        lambda tree: {p: sha for p, sha in tree.items() if not any(p.startswith(f"{other}/") for other in tree)}
    )


def _sides(ours: dict[str, str], bases: dict[str, str], theirs: dict[str, str]) -> tuple[list[Here], list[There]]:
    here = [Here(path, ours.get(path), bases.get(path)) for path in sorted(ours.keys() | bases.keys())]
    collections = {path[:at] for path in theirs for at in range(1, len(path)) if path[at] == "/"}
    return here, [*(There(*item) for item in theirs.items()), *map(folder, sorted(collections))]


some_trees = _trees(["a", "b", "A", "\u00e9", "e\u0301"])
plain_trees = _trees(["a", "b", "c"])


@given(some_trees, some_trees, some_trees, st.randoms(use_true_random=False))
def test_the_order_of_the_lists_does_not_matter(
    ours: dict[str, str], bases: dict[str, str], theirs: dict[str, str], chance: Random
) -> None:
    here, there = _sides(ours, bases, theirs)
    decided = decide(here, there)
    chance.shuffle(here)
    chance.shuffle(there)
    assert decide(here, there) == decided


@given(some_trees, some_trees, some_trees)
def test_nothing_is_overwritten_or_deleted_but_what_both_had(
    ours: dict[str, str], bases: dict[str, str], theirs: dict[str, str]
) -> None:
    here, there = _sides(ours, bases, theirs)
    for action in decide(here, there):
        mine, base = ours.get(action.path), bases.get(action.path)
        match action:
            case Upload(_, replaces):
                assert mine is not None
                assert replaces in (None, base)
            case Download():
                assert mine == base
            case DeleteHere(_, sha256):
                assert sha256 == mine == base
            case DeleteThere(path, etag, is_collection):
                lost = {p: sha for p, sha in theirs.items() if p == path or p.startswith(f"{path}/")}
                assert all(sha == bases[p] and p not in ours for p, sha in lost.items()) or not path.isascii()
                assert is_collection or etag == base
            case Clash(_, kind, _, mine, other):
                assert mine is None or mine != other or kind == Kind.NAME_COLLISION, "equal bytes are no conflict"


@given(plain_trees, plain_trees, plain_trees)
def test_each_path_that_differs_is_decided_once(
    ours: dict[str, str], bases: dict[str, str], theirs: dict[str, str]
) -> None:
    actions = decide(*_sides(ours, bases, theirs))
    cleared = {action.path for action in actions if isinstance(action, DeleteThere) and action.is_collection}
    decided = [action.path for action in actions if action.path not in cleared or isinstance(action, Upload)]
    different = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    assert sorted(decided) == sorted(path for path in different if not _lies_below(path, cleared))


@given(plain_trees, plain_trees, plain_trees)
def test_it_does_not_matter_who_is_the_device(
    ours: dict[str, str], bases: dict[str, str], theirs: dict[str, str]
) -> None:
    """The same is taken over, deleted and in conflict, the other way round."""
    one, two = decide(*_sides(ours, bases, theirs)), decide(*_sides(theirs, bases, ours))
    cleared = {a.path for a in [*one, *two] if isinstance(a, DeleteThere) and a.is_collection}
    assert _comparable(one, cleared) == {_turned(item) for item in _comparable(two, cleared)}


_OPPOSITE: dict[object, object] = {
    Upload: Download, Download: Upload, DeleteHere: DeleteThere, DeleteThere: DeleteHere,
    Kind.DELETED_HERE: Kind.DELETED_THERE, Kind.DELETED_THERE: Kind.DELETED_HERE,
}  # fmt: skip


def _comparable(actions: list[Action], cleared: set[str]) -> set[tuple[object, ...]]:
    """What is decided, but for what goes with its collection, which only the server can do."""
    found: set[tuple[object, ...]] = set()
    for action in actions:
        if isinstance(action, Clash):
            found.add((action.path, action.kind, action.base, action.here, action.there))
        elif not _lies_below(action.path, cleared) and not (isinstance(action, DeleteThere) and action.is_collection):
            found.add((action.path, type(action), None, None, None))
    return found


def _turned(item: tuple[object, ...]) -> tuple[object, ...]:
    path, what, base, here, there = item
    return path, _OPPOSITE.get(what, what), base, there, here


def _lies_below(path: str, collections: set[str]) -> bool:
    return any(path.startswith(f"{collection}/") for collection in collections)
