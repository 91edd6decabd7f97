"""docs/compatibility.md tells what is tested: every test of a client is named there, and what is named is there."""

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = (HERE.parent / "docs" / "compatibility.md").read_text(encoding="utf-8")


def test_every_client_that_is_tried_is_in_the_table() -> None:
    named = set(re.findall(r"`((?:conformance|habits|proxy)/test_\w+\.py)`", TABLE))
    there = {f"{room}/{file.name}" for room in ("conformance", "habits") for file in (HERE / room).glob("test_*.py")}
    assert there <= named, "not in docs/compatibility.md"
    assert [name for name in named if not (HERE / name).exists()] == [], "not in tests"


def test_what_is_called_run_is_not_a_replay() -> None:
    """A row says `run` if, and only if, the real program is started by a test that it names."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (`.+?`) \|", TABLE, re.MULTILINE)
    assert len(rows) > 15
    for client, _, proof, tests in rows:
        assert ("run" in proof) == bool(re.search("`(conformance|proxy)/", tests)), client
        assert ("replayed" in proof) == ("`habits/" in tests), client
