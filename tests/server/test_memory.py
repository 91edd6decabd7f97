"""What a worker needed for a moment is the system's again soon after."""

import concurrent.futures
from pathlib import Path

import pytest
import requests

from baludav.server import memory
from tests.serving import Server, wait_for

HASH = 19 << 20  # bytes that hashing one password takes


def _status(pid: int, name: str) -> int:
    """A figure of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(found.split()[1]) * 1024


def test_memory_of_sign_ins_is_given_back(tmp_path: Path) -> None:
    """Many who sign in at once take memory for their hashes; it does not stay with the worker."""
    with Server(tmp_path / "data", workers=1) as server:
        (worker,) = server.pids()[1:]
        before = _status(worker, "VmRSS")

        def sign_in(number: int) -> int:
            return requests.get(server.dav("admin"), auth=(f"user{number}", "wrong"), timeout=60).status_code

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert set(pool.map(sign_in, range(8))) <= {401, 429}
        assert _status(worker, "VmHWM") - before > HASH // 2, "it did take memory"
        wait_for(lambda: _status(worker, "VmRSS") - before < HASH // 2, 30, "the memory is given back")


def test_descriptors_of_a_rush_are_given_back(tmp_path: Path) -> None:
    """Many who write at once hold a guard each; those that nobody needs any more are closed."""
    with Server(tmp_path / "data", workers=1) as server, concurrent.futures.ThreadPoolExecutor(32) as pool:
        (worker,) = server.pids()[1:]

        def write(number: int) -> int:
            return requests.put(
                f"{server.dav('admin')}{number}", b"x", auth=server.auth("admin"), timeout=60
            ).status_code

        def guards() -> int:
            links = [link.readlink() for link in Path(f"/proc/{worker}/fd").iterdir() if link.is_symlink()]
            return links.count(server.data / "guards")

        def is_rush() -> bool:
            assert set(pool.map(write, range(32))) <= {201, 204}
            return guards() > 2

        wait_for(is_rush, 60, "several write at once")
        wait_for(lambda: guards() == 1, 60, "guards are closed but for one")


def test_clients_who_ask_at_once_share_an_answer(tmp_path: Path) -> None:
    """A listing that takes long is made once for all who ask before it is there, not once for each of them."""
    with Server(tmp_path / "data", workers=1) as server:
        folder = server.home("admin") / "many"
        folder.mkdir()
        for number in range(4_000):
            (folder / f"{number:04}").touch()
        session = requests.Session()
        session.auth = server.auth("admin")

        def hot_answers() -> float:
            lines = session.get(f"{server.url}/metrics", timeout=60).text.splitlines()
            (line,) = [line for line in lines if line.startswith("baludav_hot_answers_total ")]
            return float(line.split()[1])

        def ask(body: bytes = b"") -> bytes:
            answer = requests.request(
                "PROPFIND", f"{server.dav('admin')}many/", data=body, headers={"Depth": "1"}, auth=session.auth,
                timeout=120,
            )  # fmt: skip
            assert answer.status_code == 207
            return answer.content

        before = hot_answers()
        ask()  # now the index knows them
        wait_for(lambda: (ask(), hot_answers() > before)[1], 60, "answers are used again")
        before = hot_answers()
        body = b'<propfind xmlns="DAV:"><prop><getetag/><getlastmodified/></prop></propfind>'
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            answers = set(pool.map(ask, [body] * 6))
        assert len(answers) == 1
        assert answers.pop().count(b"<D:response>") == 4_001
        assert hot_answers() - before == 5


def test_only_who_has_worked_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most once in ten seconds, and never by a process that has nothing to do."""
    now, worked = 100.0, 5.0
    monkeypatch.setattr(memory.time, "monotonic", lambda: now)
    monkeypatch.setattr(memory.time, "process_time", lambda: worked)
    monkeypatch.setattr(memory, "_resident", lambda: 60 << 20)
    pace = memory.Pace()
    worked += 1
    assert not pace.is_due()
    now += 11
    assert pace.is_due()
    assert not pace.is_due()
    now += 11
    assert not pace.is_due(), "it has done nothing"
    worked += 1
    assert not pace.is_due(), "it looks once in ten seconds"
    now += 11
    assert pace.is_due()


def test_who_has_taken_much_gives_back_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two seconds, though it has not worked for long; but what is left then is not tried again and again."""
    now, resident = 100.0, 60 << 20
    monkeypatch.setattr(memory.time, "monotonic", lambda: now)
    monkeypatch.setattr(memory.time, "process_time", lambda: 5.0)
    monkeypatch.setattr(memory, "_resident", lambda: resident)
    pace = memory.Pace()
    resident += HASH
    assert not pace.is_due()
    now += 2.5
    assert pace.is_due()
    resident -= HASH // 2
    pace.give_back()
    now += 2.5
    assert not pace.is_due(), "the rest is needed"
    resident += HASH
    now += 2.5
    assert pace.is_due()
