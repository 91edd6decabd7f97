"""Threads that wait for clients are shared out: nobody takes all, and who comes later finds some."""

from baludav.server.waits import Waits


def _fill(waits: Waits, owner: str) -> int:
    """How many this owner gets."""
    count = 0
    while waits.enter(owner):
        count += 1
        assert count < 1000
    return count


def test_who_comes_later_finds_some() -> None:
    waits = Waits(128)
    assert [_fill(waits, name) for name in ("anna", "ben", "carl", "dora")] == [64, 32, 16, 8]
    assert not waits.enter("anna")
    assert waits.enter("eve")


def test_those_who_ask_in_turns_get_the_same() -> None:
    waits = Waits(100)
    got = dict.fromkeys(("anna", "ben", "carl"), 0)
    for _ in range(100):
        for name in got:
            got[name] += waits.enter(name)
    assert set(got.values()) == {25}


def test_who_leaves_makes_room() -> None:
    waits = Waits(4)
    assert _fill(waits, "anna") == 2
    waits.leave("anna")
    assert waits.enter("anna")
    assert not waits.enter("anna")
    for _ in range(2):
        waits.leave("anna")
    assert _fill(waits, "ben") == 2


def test_who_is_refused_is_forgotten() -> None:
    """So names of users do not gather."""
    waits = Waits(0)
    for number in range(100):
        assert not waits.enter(f"user {number}")
    assert len(waits._of) == 0
