"""Names of conflict copies keep what a name says, fit the disk, and are recognised."""

import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given

from baludav.tree.conflictcopy import conflict_copy, is_conflict_copy
from baludav.tree.paths import MAX_NAME, MAX_PATH, is_visible, parse_decoded, stored

AT = 1_700_000_000.9  # 2023-11-14 22:13:20 UTC
MARK = "(conflict 2023-11-14 221320 laptop)"


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("report.txt", f"report {MARK}.txt"),
        ("report", f"report {MARK}"),
        ("my report.final.txt", f"my report.final {MARK}.txt"),
        ("archive.tar.gz", f"archive {MARK}.tar.gz"),
        ("ARCHIVE.TAR.XZ", f"ARCHIVE {MARK}.TAR.XZ"),
        ("a.tar", f"a {MARK}.tar"),
        (".bashrc", f".bashrc {MARK}"),
        (".config.json", f".config {MARK}.json"),
        (".tar.gz", f".tar {MARK}.gz"),
        ("..odd", f"..odd {MARK}"),
        ("ends.", f"ends. {MARK}"),
        ("Chapter 1. The beginning", f"Chapter 1. The beginning {MARK}"),
        ("v1.2 notes", f"v1.2 notes {MARK}"),
        ("u\u0308ber.txt", f"\u00fcber {MARK}.txt"),
        ("日本.テキスト", f"日本 {MARK}.テキスト"),
        (f"report {MARK}.txt", f"report {MARK}.txt"),
        ("report (conflict 1999-01-01 000000 phone).txt", f"report {MARK}.txt"),
        ("a (conflict 1999-01-01 000000 phone).tar.gz", f"a {MARK}.tar.gz"),
        ("report (draft).txt", f"report (draft) {MARK}.txt"),
    ],
)
def test_names(name: str, copy: str) -> None:
    assert conflict_copy(("some", name), AT, "laptop") == ("some", copy)
    assert is_conflict_copy(copy)


@pytest.mark.parametrize(
    ("device", "shown"),
    [
        ("Anna's laptop", "Anna's laptop"),
        ('a/b\\c:d*e?f"g<h>i|j', "a b c d e f g h i j"),
        ("work (old)", "work old"),
        ("\u202e\ud800 \x07", "\u202e"),
        ("  ", "device"),
        ("...", "..."),
        ("ü" * 50, "ü" * 32),
    ],
)
def test_the_device_is_made_safe(device: str, shown: str) -> None:
    assert conflict_copy(("a.txt",), AT, device) == (f"a (conflict 2023-11-14 221320 {shown}).txt",)


@pytest.mark.parametrize(
    "name",
    ["report.txt", "report (conflict).txt", "(conflict 2023-11-14 221320 laptop).txt", f"a {MARK} b.txt", f"a {MARK}b"],
)
def test_other_names_are_no_conflict_copies(name: str) -> None:
    assert not is_conflict_copy(name)


def test_a_long_name_loses_its_end_but_not_its_extension() -> None:
    ((name,), (deep,)) = conflict_copy(("ü" * 125 + ".tar.gz",), AT, "laptop"), conflict_copy(("x" * 250,), AT, "d")
    assert name.startswith("üüü")
    assert name.endswith(f"ü {MARK}.tar.gz")
    assert len(name.encode()) in (MAX_NAME - 1, MAX_NAME)
    assert len(deep) == MAX_NAME


def test_a_long_path_leaves_less_for_the_name() -> None:
    path = (*("d" * 250 for _ in range(16)), "n" * 70 + ".txt")
    copy = conflict_copy(path, AT, "laptop")
    assert sum(len(part) + 1 for part in copy) == MAX_PATH
    assert parse_decoded("/" + "/".join(copy)) == copy


names = st.text(min_size=1, max_size=255).filter(lambda name: "/" not in name and name not in (".", ".."))


@given(names, st.floats(0, 4_000_000_000), st.text(max_size=100))
@example("." + "x" * 254, 0, "")
def test_any_copy_is_a_name_that_can_be_stored(name: str, at: float, device: str) -> None:
    assume(is_visible(name))
    copy = conflict_copy(("some", name), at, device)
    assert parse_decoded("/" + "/".join(copy)) == copy
    assert copy[-1] == stored(copy[-1])
    assert copy[-1] != name
    assert is_conflict_copy(copy[-1])
    assert is_visible(copy[-1])
    again = conflict_copy(copy, at, device)
    assert len(again[-1].encode()) <= len(copy[-1].encode()), "a copy of a copy does not grow"
