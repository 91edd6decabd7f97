"""Who waits for a change is told of each, of none that is not theirs, and of nothing once the account is changed."""

import json
import select
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path as DiskPath
from typing import Any

import pytest

from baludav.accounts.accounts import Principal
from baludav.db.bell import Bell
from baludav.errors import TooManyListeners, Unavailable
from baludav.tree.tokens import Token
from providers.house import House
from sync_ext.events import EventStream, LongPoll
from sync_ext.listeners import Listeners
from tests.crash.installation import open_installation, prepare, put, user_of

BEAT = 15.0


@pytest.fixture
def house(tmp_path: DiskPath) -> Iterator[House]:
    prepare(tmp_path)
    house = open_installation(tmp_path, "fast")
    for name in ("bob", "root"):
        house.accounts.add(name, "password", is_admin=name == "root")
        house.tree.create_home(name)
    yield house
    house.close()


@pytest.fixture
def listeners(house: House) -> Iterator[Listeners]:
    listeners = _listeners(house, heartbeat=BEAT)
    yield listeners
    listeners.close()


def _listeners(house: House, **options: Any) -> Listeners:
    bounds = {"most": 100, "most_of_a_user": 100, **options}
    return Listeners(house.database, house.tree, house.sign_in, house.common.listeners, **bounds)


def _principal(house: House, name: str = "alice") -> Principal:
    return house.accounts.get(name)


def _stream(house: House, listeners: Listeners, name: str = "alice", last_id: str = "") -> EventStream:
    return EventStream(listeners, _principal(house, name), last_id)


def _token(event: bytes | None) -> str:
    """The token of an event, which must be the whole of a piece."""
    assert event is not None
    first, second, third, *rest = event.decode().split("\n")
    assert (second, rest) == ("event: change", ["", ""])
    token: str = json.loads(third.removeprefix("data: "))["change_token"]
    assert first == f"id: {token}"
    return token


def test_the_first_event_has_the_present_token(house: House, listeners: Listeners) -> None:
    """Then nothing is said until something changes."""
    stream = _stream(house, listeners)
    assert _token(stream.pull(time.monotonic())) == str(user_of(house).token())
    assert stream.pull(time.monotonic()) == b""


def test_a_change_before_the_server_watches_is_told(house: House, listeners: Listeners) -> None:
    """The first answer that waits in a process is watched a moment after it was made."""
    stream = _stream(house, listeners)
    stream.pull(time.monotonic())
    put(user_of(house), "file", b"new bytes")
    poll = select.poll()
    poll.register(listeners.fileno(), select.POLLIN)
    assert poll.poll(0)
    assert listeners.look() == [stream]


def test_a_change_is_told_once(house: House, listeners: Listeners) -> None:
    """With a token that the feed knows, and since which nothing has changed."""
    stream, user = _stream(house, listeners), user_of(house)
    before = Token.parse(_token(stream.pull(time.monotonic())))
    put(user, "file", b"new bytes")
    assert listeners.look() == [stream]
    token = Token.parse(_token(stream.pull(time.monotonic())))
    assert [change.path for change in user.changes(before, most=10).changes] == [("file",)]
    assert user.changes(token, most=10).changes == []
    assert listeners.look() == []
    assert stream.pull(time.monotonic()) == b""


def test_many_changes_may_be_one_event(house: House, listeners: Listeners) -> None:
    stream, user = _stream(house, listeners), user_of(house)
    stream.pull(time.monotonic())
    for number in range(5):
        put(user, f"file-{number}", b"bytes")
    listeners.look()
    assert _token(stream.pull(time.monotonic())) == str(user.token())
    assert stream.pull(time.monotonic()) == b""


@pytest.mark.parametrize(
    ("changed_by", "place", "told"),
    [
        ("alice", "new", {"alice", "root"}),
        ("bob", "new", {"bob", "root"}),
        ("root", "new", {"root"}),
        ("alice", "pub/new", {"alice", "root"}),
        ("root", "pub/new", {"alice", "root"}),
        ("root", "homes/bob/new", {"bob", "root"}),
    ],
)
def test_those_are_told_who_can_see_it(
    house: House, listeners: Listeners, changed_by: str, place: str, told: set[str]
) -> None:
    """Nobody learns that something happens where they may not look."""
    streams = {name: _stream(house, listeners, name) for name in ("alice", "bob", "root")}
    for stream in streams.values():
        stream.pull(time.monotonic())
    put(house.tree.of(_principal(house, changed_by)), place, b"bytes")
    found = listeners.look()
    assert {name for name, stream in streams.items() if stream in found} == told
    assert {name for name, stream in streams.items() if stream.pull(time.monotonic())} == told


def test_a_home_that_comes_or_goes_is_told_to_admins(house: House, listeners: Listeners) -> None:
    """It changes what they see, and so their token."""
    alice, root = _stream(house, listeners), _stream(house, listeners, "root")
    tokens = [_token(root.pull(time.monotonic()))]
    alice.pull(time.monotonic())
    for change in (house.tree.create_home, lambda name: house.tree.delete_home(name, files=True)):
        change("carol")
        assert listeners.look() == [root]
        tokens.append(_token(root.pull(time.monotonic())))
        assert tokens[-1] == str(house.tree.of(_principal(house, "root")).token())
    assert tokens[0] == tokens[2] != tokens[1]


def test_who_joins_takes_no_event_from_others(house: House, listeners: Listeners) -> None:
    """The newcomer knows of a change before anybody was told: the others are told all the same."""
    first = _stream(house, listeners)
    first.pull(time.monotonic())
    put(user_of(house), "file", b"new bytes")
    second = _stream(house, listeners)
    token = _token(second.pull(time.monotonic()))
    assert first in listeners.look()
    assert _token(first.pull(time.monotonic())) == token
    assert second.pull(time.monotonic()) == b""


def test_what_happened_while_nobody_waited_is_known(house: House, listeners: Listeners) -> None:
    """Also by who has waited before."""
    stream = _stream(house, listeners)
    last_id = _token(stream.pull(time.monotonic()))
    stream.close()
    put(user_of(house), "file", b"new bytes")
    stream = _stream(house, listeners, last_id=last_id)
    assert _token(stream.pull(time.monotonic())) == str(user_of(house).token()) != last_id
    assert listeners.look() == []


def test_last_event_id_resumes(house: House, listeners: Listeners) -> None:
    """Who knows the present token is not told it again, but sees that the stream has begun."""
    stream = _stream(house, listeners, last_id=str(user_of(house).token()))
    assert stream.pull(time.monotonic()) == b":\n\n"
    put(user_of(house), "file", b"new bytes")
    listeners.look()
    assert _token(stream.pull(time.monotonic())) == str(user_of(house).token())


@pytest.mark.parametrize("last_id", ["0.0.0", "\xff", "x" * 5000])
def test_an_unknown_last_event_id_is_none(house: House, listeners: Listeners, last_id: str) -> None:
    assert _token(_stream(house, listeners, last_id=last_id).pull(time.monotonic())) == str(user_of(house).token())


def test_silence_is_told(house: House, listeners: Listeners) -> None:
    """Each heartbeat after the last that was said."""
    stream = _stream(house, listeners)
    now = time.monotonic()
    stream.pull(now)
    assert stream.due == now + BEAT
    assert stream.pull(now + BEAT - 0.1) == b""
    assert stream.pull(now + BEAT) == b":\n\n"
    put(user_of(house), "file", b"new bytes")
    listeners.look()
    assert _token(stream.pull(now + BEAT + 1))
    assert stream.due == now + BEAT + 1 + BEAT


def test_a_ring_that_was_lost_is_made_up_for(house: House, listeners: Listeners) -> None:
    """Before somebody is told that nothing happened, that is looked at."""
    stream = _stream(house, listeners)
    now = time.monotonic()
    stream.pull(now)
    put(user_of(house), "file", b"new bytes")
    assert _token(stream.pull(now + BEAT)) == str(user_of(house).token())


def _disable(house: House) -> None:
    house.accounts.disable("alice")


def _set_password(house: House) -> None:
    house.accounts.set_password("alice", "another password")


def _remove_device(house: House) -> None:
    device, _ = house.devices.add(_principal(house).id, "laptop", "desktop", "token")
    house.devices.remove(_principal(house).id, device.public_id)


def _delete(house: House) -> None:
    house.accounts.delete("alice")


@pytest.mark.parametrize("change", [_disable, _set_password, _remove_device, _delete])
@pytest.mark.parametrize("is_told", [True, False], ids=["at the next change", "at the next heartbeat"])
def test_a_changed_account_ends_the_waiting(
    house: House, listeners: Listeners, change: Callable[[House], None], is_told: bool
) -> None:
    """Nothing more is told to who may not be allowed to know it any more; others listen on."""
    stream, other, user = _stream(house, listeners), _stream(house, listeners, "root"), user_of(house)
    now = time.monotonic()
    stream.pull(now)
    other.pull(now)
    change(house)
    listeners.look()
    if is_told:
        put(user, "file", b"new bytes")
        assert set(listeners.look()) == {stream, other}
        assert stream.pull(now + 1) is None
        assert _token(other.pull(now + 1))
    else:
        assert stream.pull(now + BEAT) is None
        assert other.pull(now + BEAT) == b":\n\n"
    assert list(stream.rest()) == []


def test_so_many_may_wait_and_no_more(house: House) -> None:
    """For each user and together; who leaves makes room."""
    listeners = _listeners(house, most=5, most_of_a_user=3)
    streams = [_stream(house, listeners) for _ in range(3)]
    with pytest.raises(TooManyListeners) as refused:
        _stream(house, listeners)
    assert refused.value.status == 429
    assert dict(refused.value.headers)["Retry-After"]
    streams += [_stream(house, listeners, "bob") for _ in range(2)]
    with pytest.raises(Unavailable):
        _stream(house, listeners, "root")
    streams[0].close()
    streams[0].close()
    _stream(house, listeners, "root")
    with pytest.raises(Unavailable):
        _stream(house, listeners)


def _poll(
    house: House, listeners: Listeners, token: Token, answer: Callable[[], bytes] = lambda: b"answer"
) -> LongPoll:
    return LongPoll(listeners, _principal(house), token, 30, answer, nothing=b"nothing")


def test_a_poll_waits_for_a_change(house: House, listeners: Listeners) -> None:
    poll = _poll(house, listeners, user_of(house).token())
    assert poll.pull(time.monotonic()) == b""
    put(user_of(house), "file", b"new bytes")
    assert listeners.look() == [poll]
    assert poll.pull(time.monotonic()) is None
    assert list(poll) == [b"answer"]


def test_a_poll_that_comes_late_waits_for_nothing(house: House, listeners: Listeners) -> None:
    """Something changed after its client was told that nothing did, and before it waited."""
    token = user_of(house).token()
    put(user_of(house), "file", b"new bytes")
    assert _poll(house, listeners, token).pull(time.monotonic()) is None


def test_a_poll_ends_with_its_time(house: House, listeners: Listeners) -> None:
    poll = _poll(house, listeners, user_of(house).token())
    assert poll.pull(poll.due - 0.1) == b""
    assert poll.pull(poll.due) is None
    assert list(poll) == [b"answer"]


@pytest.mark.parametrize("end", ["stop", "account", "failure"])
def test_a_poll_that_cannot_be_answered_says_nothing(house: House, listeners: Listeners, end: str) -> None:
    """When the server stops, when the account was changed, and when the answer fails: asking again tells why."""

    def fail() -> bytes:
        raise Unavailable()

    poll = _poll(house, listeners, user_of(house).token(), fail if end == "failure" else lambda: b"answer")
    if end == "stop":
        poll.stop()
    elif end == "account":
        house.accounts.disable("alice")
    assert poll.pull(poll.due) is None
    assert list(poll) == [b"nothing"]


@pytest.mark.parametrize("has_inotify", [True, False])
def test_another_server_iterates(house: House, monkeypatch: pytest.MonkeyPatch, has_inotify: bool) -> None:
    """One that does not know such bodies has a thread for each, and the body waits in it."""
    if not has_inotify:

        def refuse(bell: Bell) -> int:
            raise OSError(24, "Too many open files")

        monkeypatch.setattr(Bell, "_watch", refuse)
    listeners = _listeners(house, heartbeat=0.2)
    stream, user = _stream(house, listeners), user_of(house)
    pieces = iter(stream)
    assert _token(next(pieces)) == str(user.token())
    assert next(pieces) == b":\n\n"
    writer = threading.Thread(target=put, args=(user, "file", b"new bytes"))
    writer.start()
    assert _token(next(piece for piece in pieces if piece != b":\n\n"))
    writer.join()
    house.accounts.disable("alice")
    assert set(pieces) <= {b":\n\n"}
    stream.close()
    assert listeners.look() == []


def _listen(house: House, listeners: Listeners, is_done: threading.Event, numbers: list[int], *, stays: bool) -> None:
    """Follow the events until the last; one who does not stay comes anew for each."""
    user = user_of(house)
    stream = _stream(house, listeners)
    while not (is_done.is_set() and numbers and numbers[-1] == user.token().number):
        piece = stream.pull(time.monotonic())
        if not piece or piece == b":\n\n":
            continue
        token = Token.parse(_token(piece))
        assert user.changes(token, most=1).token.number >= token.number, "told before it can be seen"
        numbers.append(token.number)
        if not stays:
            stream.close()
            stream = _stream(house, listeners)
    stream.close()


def test_nobody_misses_a_change_and_no_token_goes_back(house: House, listeners: Listeners) -> None:
    """Many write while many listen, come and go: at the end each has heard of the last change, in order."""
    user = user_of(house)
    is_written, is_done = threading.Event(), threading.Event()

    def write(number: int) -> None:
        for count in range(40):
            put(user, f"written-{number}-{count % 7}", b"%d" % count)

    def look() -> None:
        while not is_written.is_set():
            listeners.look()
        listeners.look()
        is_done.set()

    heard: list[list[int]] = [[] for _ in range(4)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    ears = [
        threading.Thread(target=_listen, args=(house, listeners, is_done, numbers), kwargs={"stays": number < 2})
        for number, numbers in enumerate(heard)
    ]
    eye = threading.Thread(target=look)
    for thread in (*writers, *ears, eye):
        thread.start()
    for thread in writers:
        thread.join()
    is_written.set()
    for thread in (eye, *ears):
        thread.join(60)
        assert not thread.is_alive(), "the last change was not heard of"
    assert all(before < after for numbers in heard[:2] for before, after in pairwise(numbers))
    assert all(before <= after for numbers in heard[2:] for before, after in pairwise(numbers))


def test_a_home_that_is_gone_holds_nobody_up(house: House, listeners: Listeners) -> None:
    """What can be seen by its owner is not known any more; the others hear on."""
    alice, root = _stream(house, listeners), _stream(house, listeners, "root")
    now = time.monotonic()
    alice.pull(now)
    root.pull(now)
    house.tree.delete_home("alice", files=True)
    assert listeners.look() == [root]
    assert _token(root.pull(now))
    assert alice.pull(now + BEAT) == b":\n\n"
