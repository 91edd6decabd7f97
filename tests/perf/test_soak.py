"""The soak finds nothing wrong in a short run, and would: each kind of damage is noticed."""

import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from perf import soak
from perf.harness import Server, serving
from perf.soaking.counting import Counter
from perf.soaking.files import Files
from perf.soaking.following import Device
from perf.soaking.gauges import Gauges, Sample
from perf.soaking.keeping import Keeper
from perf.soaking.line import Line
from perf.soaking.scene import Cut, Scene, Wrong

SEED = 20_261


def test_a_short_soak(tmp_path: Path) -> None:
    """Clients of all kinds, broken connections, killed workers and edits from outside: nothing is lost or wrong."""
    asked = ["--clients", "40", "--seconds", "25", "--seed", str(SEED), "--results", str(tmp_path)]
    status = soak.main(asked)
    report = json.loads((tmp_path / "soak.json").read_text())
    results = report["results"]
    assert (status, results["problems"]) == (0, [])
    assert report["settings"]["seed"] == SEED
    assert results["kills"] >= 2
    assert results["edits"] > 0
    operations = {row["operation"]: row for row in results["operations"]}
    wanted = "COPY DELETE GET HEAD LOCK MKCOL MOVE PATCH POST PROPFIND PROPPATCH PUT REPORT UNLOCK".split()
    assert {name for name, row in operations.items() if row["done"]} == set(wanted)
    assert sum(row["cut by a kill"] for row in operations.values()) > 0
    assert all(operations[name]["broken off"] > 0 for name in ("GET", "PUT", "PATCH"))
    assert "**0 problems**" in (tmp_path / "soak.md").read_text()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serving("safe", users=1, workers=1) as server:
        yield server


@pytest.fixture
def scene(running: Server) -> Scene:
    return Scene(running, SEED, 0.0)


def client(scene: Scene, kind: type[Keeper]) -> Keeper:
    """One with a file, in a collection that no other test has."""
    keeper = kind(scene, "user0", random.SystemRandom().randrange(10**9))
    keeper.begin()
    body = keeper.new_body()
    assert keeper.attempt(keeper.with_one("file 0", body), "PUT", keeper.target("file 0"), 201, body=bytes(body))
    return keeper


def damage_bytes(keeper: Keeper) -> None:
    with (keeper.disk / "file 0").open("ab") as file:
        file.write(b"more")


def remove_file(keeper: Keeper) -> None:
    (keeper.disk / "file 0").unlink()


def add_file(keeper: Keeper) -> None:
    (keeper.disk / "another").write_bytes(b"never written")


@pytest.mark.parametrize("damage", [damage_bytes, remove_file, add_file])
def test_damage_is_noticed(damage: object, scene: Scene) -> None:
    """Other bytes than those acknowledged, none, or some that nobody wrote."""
    keeper = client(scene, Files)
    keeper.finish()
    assert scene.tally.problems == []
    assert callable(damage)
    damage(keeper)
    keeper.finish()
    assert len(scene.tally.problems) == 1


def test_a_lost_update_is_noticed(scene: Scene) -> None:
    """A count below what was acknowledged."""
    counter = client(scene, Counter)
    for _ in range(3):
        counter.turn()
    counter.finish()
    assert scene.tally.problems == []
    (scene.server.data / "files/user0/count").write_bytes(b"2 of somebody")
    counter.finish()
    assert scene.tally.problems == ["user0 counted to 2, with 3 acknowledged, 0 unknown"]


def test_a_change_that_a_device_did_not_hear_of_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(scene, "user0", 1)
    device.begin()
    client(scene, Files)
    device.finish()
    assert scene.tally.problems == []
    monkeypatch.setattr("perf.soaking.following._CATCH_UP_SECONDS", 1)
    device.tree["/gone"] = "0" * 64
    device.finish()
    assert len(scene.tally.problems) == 1


def test_only_a_kill_explains_a_cut(scene: Scene) -> None:
    """A connection that breaks is a failure, unless it was one of those of a killed worker."""
    line = Line(scene, "user0")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line.reach(listener.getsockname()[1])
        deaths: list[bool] = [False, True]

        def serve() -> None:
            for is_death in deaths:
                connection, address = listener.accept()
                connection.recv(100)
                if is_death:
                    scene.deaths.note({address[1]})
                connection.close()

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(Wrong, match="nobody was killed"):
            line.ask("GET", "/dav/", 200)
        with pytest.raises(Cut):
            line.ask("GET", "/dav/", 200)
        server.join()


def test_a_client_that_fails_is_noticed(scene: Scene) -> None:
    """No thread ends unseen."""

    def fail() -> None:
        raise KeyError("name")

    soak._joined(scene, soak._started(scene, [fail]))
    assert len(scene.tally.problems) == 1


@pytest.mark.parametrize(("growth", "leaks"), [(1.04, 0), (1.06, 2)])
def test_growth_is_noticed(scene: Scene, growth: float, leaks: int) -> None:
    """More than 5 % of memory in ten minutes; a few descriptors or threads more are none."""
    gauges = Gauges(scene, 0, 10)
    for number in range(100):
        grown = 1 + (growth - 1) * number / 50
        gauges.samples.append(Sample(number * 10.0, 100 * grown, 50 * grown, 150 * grown, 80 + number // 20, 0, 16))
    assert len(gauges.leaks()) == leaks
