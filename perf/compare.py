"""How fast is baludav beside other WebDAV servers: the same files, sign-in and load for each, one after the other?"""

import argparse
import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from baludav.server.tls import self_signed
from perf import disk, picture, trees
from perf.figures import Findings
from perf.harness import RESULTS, console, save, table
from perf.peer import Certificate, NotServedError, Peer
from perf.peers import PEERS, TLS_PEERS, Apache, BaludavFast
from perf.workload import Bench, Row, Workload, WrongAnswerError
from perf.workloads import WORKLOADS, growth
from perf.workloads.standing import MEMORY_GROWTH

# Who shows what a large namespace costs: baludav without syncing, which would hide it, and one peer as a measure of
# what the file system alone does.
GROWING: tuple[type[Peer], ...] = (BaludavFast, Apache)
_BUSY = 0.5  # load average above which others are at work
_NO_ANSWER = (OSError, http.client.HTTPException, subprocess.TimeoutExpired)


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    peers: Sequence[type[Peer]]
    only: frozenset[str]  # keys of workloads; empty for all
    sizes: trees.Sizes
    rounds: int
    seconds: float  # of each load
    span: int  # seconds over which the growth of memory is looked at; 0: it is not

    @property
    def words(self) -> dict[str, str]:
        """What the titles of the rows speak of."""
        return {**self.sizes.words, "span": f"{self.span:,}"}

    def workloads(self, peer: Peer, is_last_round: bool = True) -> list[Workload]:
        return [
            workload
            for workload in WORKLOADS
            if workload.tls == (peer.certificate is not None)
            and (workload.writes or not peer.only_writes)
            and (is_last_round or not workload.once)
            and (not self.only or workload.key in self.only)
            and (self.span or workload.key != MEMORY_GROWTH)
        ]

    @property
    def growing(self) -> list[type[Peer]]:
        return [kind for kind in GROWING if kind in self.peers and (not self.only or growth.KEY in self.only)]


def main(arguments: list[str]) -> int:
    asked = _parser().parse_args(arguments)
    if shutil.which("wrk") is None:
        console.print("The load comes from wrk, which is missing: sudo apt install wrk")
        return 2
    plan = Plan(
        peers=[kind for kind in PEERS if kind.name in asked.peers and kind.is_installed()],
        only=frozenset(asked.only),
        sizes=trees.QUICK if asked.quick else trees.Sizes(),
        rounds=asked.rounds or (1 if asked.quick else 3),
        seconds=asked.seconds or (0.4 if asked.quick else 1),
        span=asked.span,
    )
    load = os.getloadavg()[0]
    if load > _BUSY:
        console.print(f"This machine is busy (load {load:.1f}): the figures will say little.")
    missing = [kind for kind in PEERS if kind.name in asked.peers and not kind.is_installed()]
    rows: list[Row] = [row for workload in WORKLOADS for row in workload.rows]
    findings = Findings([*rows, *growth.ROWS], [kind.name for kind in plan.peers], plan.words)
    with tempfile.TemporaryDirectory(prefix="baludav-compare-") as made:
        folder = Path(made)
        folder.chmod(0o755)  # Apache does not serve as root
        synced = disk.sync_rates(folder)
        file_system = disk.file_system(folder)
        _compare(plan, folder, findings)
    findings.show()
    table("files written and synced, and PUT (durability: safe) beside", [_beside(line, findings) for line in synced])
    for kind in missing:
        console.print(f"{kind.name} is not installed and was left out: {kind.install}", highlight=False)
    settings = {
        "quick": asked.quick, "rounds": plan.rounds, "seconds": plan.seconds, "span": plan.span,
        "file_system": file_system,
        "load_before": load,
        "servers": {kind.name: kind.version() for kind in plan.peers},
    }  # fmt: skip
    file = save("compare", asked.results, {"rows": findings.plain(), "disk": synced}, settings)
    caption = f"{len(os.sched_getaffinity(0))} cores, {file_system}, {datetime.now(UTC):%Y-%m-%d}"
    picture.draw(findings, caption, file.with_suffix(".svg"))
    for failure in findings.own_failures():
        console.print(failure, highlight=False)
    return 1 if findings.own_failures() else 0


def _beside(line: dict[str, Any], findings: Findings) -> dict[str, Any]:
    """A line about the disk, with what PUT of resources of this size reaches of it."""
    rate = findings.at(findings.row(f"put-{line['KiB']}k"), PEERS[0].name).median
    return {**line, "PUT": rate / line["files/s"] if rate is not None else "–"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [kind.name for kind in PEERS]
    keys = [*(workload.key for workload in WORKLOADS), growth.KEY]
    parser.add_argument("--quick", action="store_true", help="small numbers and one round, to see that it runs")
    for option, known, default in (("--peers", names, names), ("--only", keys, [])):
        words = f"comma-separated, of {', '.join(known)}"
        parser.add_argument(option, type=_words(known), default=default, metavar="NAMES", help=words)
    parser.add_argument("--rounds", type=int, default=0, help="how often each server is asked (3)")
    parser.add_argument("--seconds", type=float, default=0, help="length of each load (1)")
    words = "seconds of load over which memory may grow, such as 600 (0: that is not looked at)"
    parser.add_argument("--span", type=int, default=0, help=words)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON file and the picture")
    return parser


def _words(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Reads an argument that is a list of known words."""

    def parse(text: str) -> list[str]:
        words = text.split(",")
        unknown = set(words) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return words

    return parse


def _compare(plan: Plan, folder: Path, findings: Findings) -> None:
    """Fill in the findings: in each round every server in turn, over the files it had in the round before."""
    certificate = Certificate(*self_signed(folder / "tls", "localhost"))
    servers = [kind(folder / kind.name) for kind in plan.peers]
    servers += [kind(folder / f"{kind.name}-tls", certificate) for kind in TLS_PEERS if kind in plan.peers]
    servers = [peer for peer in servers if plan.workloads(peer)]
    for peer in servers:
        console.print(f"files for {peer.folder.name}")
        peer.lay()
        trees.plant_files(peer.root, plan.sizes)
        if peer.certificate is None:  # over TLS only single files are asked for
            trees.plant_collections(peer.root, plan.sizes)
        peer.settle()
    for number in range(plan.rounds):
        for peer in servers:
            console.print(f"round {number + 1} of {plan.rounds}: {peer.folder.name}")
            os.sync()
            workloads = plan.workloads(peer, is_last_round=number == plan.rounds - 1)
            try:
                with _serving(peer):
                    for workload in workloads:
                        _measure(workload, Bench(peer, plan.sizes, plan.seconds, plan.span), findings)
            except NotServedError as error:
                findings.mark_wrong([row for workload in workloads for row in workload.rows], peer.name, str(error))
    for peer in servers:
        shutil.rmtree(peer.folder)
    for kind in plan.growing:
        console.print(f"large namespace: {kind.name}")
        _grow(kind, plan, folder, findings)


def _grow(kind: type[Peer], plan: Plan, folder: Path, findings: Findings) -> None:
    """What a large namespace costs one kind of server."""
    try:
        found = growth.measure(kind, folder, plan.sizes, plan.seconds, plan.rounds)
    except (WrongAnswerError, NotServedError, *_NO_ANSWER) as error:
        findings.mark_wrong(growth.ROWS, kind.name, f"{error!r}")
    else:
        for row, figure in zip(growth.ROWS, found, strict=True):
            findings.at(row, kind.name).rounds.append(figure)


@contextlib.contextmanager
def _serving(peer: Peer) -> Iterator[None]:
    peer.start(f"4k/{trees.file_name(0)}")
    try:
        yield
    finally:
        peer.stop()


def _measure(workload: Workload, bench: Bench, findings: Findings) -> None:
    """One workload on one server in one round."""
    if workload.writes:
        os.sync()  # what the workload before left to be written must not slow this one down
    try:
        found = workload.measure(bench)
    except WrongAnswerError as error:
        reason = str(error)
    except _NO_ANSWER as error:
        reason = f"no answer: {error!r}"
        bench.peer.stop()  # it may be gone, or busy for ever; the next workload finds it fresh
        bench.peer.start(f"4k/{trees.file_name(0)}")
    else:
        for row, figure in zip(workload.rows, found, strict=True):
            findings.at(row, bench.peer.name).rounds.append(figure)
            findings.at(row, bench.peer.name).remarks.extend(bench.remarks)
        return
    console.print(f"  {workload.key}: {reason}", highlight=False)
    findings.mark_wrong(workload.rows, bench.peer.name, reason)


def _stopped(number: int, _: object) -> None:
    """Leave like after Ctrl-C: what was started is stopped and removed."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stopped)
    sys.exit(main(sys.argv[1:]))
