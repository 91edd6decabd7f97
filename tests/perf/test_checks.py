"""The workloads tell right answers from wrong ones: no server is fast by not doing the work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from perf.peers import StockWsgidav
from perf.trees import KIB, QUICK, Sizes, content, file_name, plant_collections, plant_files
from perf.workload import Bench, WrongAnswerError
from perf.workloads.listing import collection, looked_at
from perf.workloads.reading import got
from perf.workloads.standing import slow_clients
from perf.workloads.writing import mixed, written
from tests.perf.liar import Liar, ok

SECONDS = 0.4  # of each load


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[Liar]:
    """A server that can be taught what to say, over the files of a quick comparison."""
    peer = Liar(tmp_path / "liar")
    peer.lay()
    plant_files(peer.root, QUICK)
    plant_collections(peer.root, QUICK)
    yield peer
    peer.stop()


def taught(liar: Liar, *answers: bytes) -> Bench:
    liar.answers = answers
    liar.start("up")
    return Bench(liar, QUICK, SECONDS)


def test_wrong_bytes_are_noticed(liar: Liar) -> None:
    """A GET is compared with the file."""
    bench = taught(liar, ok(bytes(4 * KIB)))
    with pytest.raises(WrongAnswerError, match="other bytes"):
        got(bench, "4k", 4 * KIB, 2)


def test_failures_among_right_answers_are_noticed(liar: Liar) -> None:
    """Every answer's status counts, not only those of the samples."""
    name = f"4k/{file_name(0)}"
    right = ok(content(name, 4 * KIB))
    bench = taught(liar, *[right] * 40, b"500 No\r\nContent-Length: 0\r\n\r\n")
    one = Bench(bench.peer, Sizes(files=1), SECONDS)
    with pytest.raises(WrongAnswerError, match="answers were failures"):
        got(one, "4k", 4 * KIB, 2)


def test_short_answers_among_right_ones_are_noticed(liar: Liar) -> None:
    """All answers together must have the bytes of as many right ones."""
    right = ok(content(f"4k/{file_name(0)}", 4 * KIB))
    bench = taught(liar, *[right] * 10, *[ok(b"short")] * 10)
    one = Bench(bench.peer, Sizes(files=1), SECONDS)
    with pytest.raises(WrongAnswerError, match="bytes"):
        got(one, "4k", 4 * KIB, 2)


def test_a_listing_without_its_members_is_noticed(liar: Liar) -> None:
    """A 207 is read, and its members and sizes are compared."""
    body = b'<D:multistatus xmlns:D="DAV:"></D:multistatus>'
    bench = taught(liar, b"207 Multi-Status\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    with pytest.raises(WrongAnswerError, match="listing of 0"):
        collection("few", bench)
    with pytest.raises(WrongAnswerError, match="PROPFIND"):
        looked_at(bench, [f"4k/{file_name(0)}"], 4 * KIB)


def test_a_write_that_was_not_made_is_noticed(liar: Liar) -> None:
    """What was acknowledged must be there, through the server and on the disk."""
    bench = taught(liar, b"201 Created\r\nContent-Length: 0\r\n\r\n", ok(b""))
    with pytest.raises(WrongAnswerError):
        written(bench, [f"put-4k/{file_name(number)}" for number in range(32)], 4 * KIB)


def test_a_read_of_other_bytes_than_written_is_noticed(liar: Liar) -> None:
    """In the mixed load each status is counted by its method, and each GET is compared with the PUT before."""
    bench = taught(liar, ok(b"other"))
    with pytest.raises(WrongAnswerError, match="GET 200 with other bytes"):
        mixed(bench)


def test_a_server_that_serves_nobody_beside_slow_clients_has_a_figure(tmp_path: Path) -> None:
    """Stock WsgiDAV has ten threads; with more slow clients than that, nothing is left for others."""
    peer = StockWsgidav(tmp_path / "wsgidav")
    peer.lay()
    plant_files(peer.root, QUICK)
    peer.start(f"4k/{file_name(0)}")
    try:
        (share,) = slow_clients(Bench(peer, Sizes(files=10, large=QUICK.large, trickling=60), 1))
    finally:
        peer.stop()
    assert 0 <= share < 0.5
