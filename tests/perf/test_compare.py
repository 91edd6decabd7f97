"""The comparison with other servers runs, shows what it found, and leaves nothing behind."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from perf import compare
from perf.figures import Findings
from perf.peer import Peer
from perf.peers import PEERS
from perf.workload import Row
from tests.serving import TOP, processes, wait_for

OTHERS = [kind.name for kind in PEERS if not kind.name.startswith("baludav")]


def rows_of(folder: Path, *asked: str) -> dict[str, Any]:
    """What a quick comparison has found."""
    assert compare.main(["--quick", "--results", str(folder), *asked]) == 0
    report = json.loads((folder / "compare.json").read_text())
    assert all(line["files/s"] > 0 for line in report["results"]["disk"])
    rows: dict[str, Any] = report["results"]["rows"]
    assert not any(found["wrong"] for row in rows.values() for found in row["servers"].values()), rows
    return rows


@pytest.mark.timeout(900)
def test_every_row_has_a_figure(tmp_path: Path) -> None:
    """baludav does all that is asked."""
    rows = rows_of(tmp_path, "--span", "1", "--peers", "baludav")
    assert rows.keys() == {row.key for workload in compare.WORKLOADS for row in workload.rows}
    assert all(row["servers"]["baludav"]["median"] > 0 for row in rows.values())


def test_servers_stand_side_by_side(tmp_path: Path) -> None:
    """The figures of several servers are saved with a picture of them; what a large namespace costs is among them."""
    rows = rows_of(tmp_path, "--peers", "baludav-fast,wsgidav", "--only", f"get-4k,put-4k,{compare.growth.KEY}")
    assert rows.keys() == {"get-4k", "put-4k"} | {row.key for row in compare.growth.ROWS}
    assert rows["get-4k"]["servers"].keys() == {"wsgidav"}
    assert rows["put-4k"]["servers"].keys() == {"baludav-fast", "wsgidav"}
    assert all(row["servers"]["baludav-fast"]["median"] > 0 for key, row in rows.items() if key != "get-4k")
    settings = json.loads((tmp_path / "compare.json").read_text())["settings"]
    assert settings["servers"].keys() == {"baludav-fast", "wsgidav"}
    picture = etree.parse(tmp_path / "compare.svg").getroot()
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"baludav-fast", "wsgidav", "GET 4 KiB (requests/s)"} <= set(texts)


@pytest.mark.parametrize("kind", [kind for kind in PEERS if kind.name in OTHERS and kind.is_installed()])
def test_other_servers_do_the_work(kind: type[Peer], tmp_path: Path) -> None:
    """Each server that is installed starts with its configuration, answers rightly, and stops."""
    only = "get-4k,not-modified,head,ranges,propfind,list-many,clients,put-4k,mixed,copy,move,delete,memory"
    rows_of(tmp_path, "--peers", kind.name, "--only", only)


MORE, LESS = Row("more", "more"), Row("less", "less", "ms", more_is_better=False)


def found(**figures: tuple[float, float]) -> Findings:
    findings = Findings([MORE, LESS], list(figures), {})
    for server, (more, less) in figures.items():
        findings.at(MORE, server).rounds.append(more)
        findings.at(LESS, server).rounds.append(less)
    return findings


def test_the_best_other_is_never_baludav() -> None:
    """Who is compared is not the measure; more or less is better as the row says."""
    findings = found(baludav=(9.0, 1.0), apache=(3.0, 5.0), nginx=(4.0, 6.0))
    assert findings.best_other(MORE) == ("nginx", 4.0)
    assert findings.best_other(LESS) == ("apache", 5.0)
    assert MORE.better(9.0, 4.0) == 2.25
    assert LESS.better(1.0, 5.0) == 5.0


def test_one_wrong_round_leaves_no_figure() -> None:
    """A server that answered wrongly once is not compared, however fast it was."""
    findings = found(baludav=(9.0, 1.0), apache=(3.0, 5.0))
    findings.mark_wrong([MORE], "apache", "404 instead of 200")
    assert findings.best_other(MORE) is None
    assert findings.plain()["more"]["servers"]["apache"]["wrong"] == ["404 instead of 200"]
    assert findings.own_failures() == []
    findings.mark_wrong([LESS], "baludav", "wrong bytes")
    assert findings.own_failures() == ["baludav, less: wrong bytes"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_after_an_interruption(ending: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a load stops the server and removes every file."""
    command = [sys.executable, "-m", "perf.compare", "--quick", "--seconds", "60", "--results", str(tmp_path)]
    command += ["--peers", "wsgidav", "--only", "get-4k"]
    environment = {**compare.os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=TOP, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def children() -> set[int]:
        return {pid for pid, (parent, _) in processes().items() if parent == process.pid}

    try:
        wait_for(lambda: len(children()) == 2, 90, "a server and the load run")
        started = children()
        process.send_signal(ending)
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not started & set(processes()), 10, "both have ended")
    assert [path.name for path in tmp_path.iterdir()] == []
