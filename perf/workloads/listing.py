"""PROPFIND: one resource, collections of all sizes, what real clients ask for, and whether anything changed."""

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote, urlsplit

from lxml import etree

from perf.peers import Baludav
from perf.trees import KIB, MEMBER_BYTES, MEMBERS, POLLED, file_name, member_content
from perf.wire import Answer
from perf.workload import Bench, Row, Workload, WrongAnswerError, expect
from perf.workloads.clients import CLIENTS, PLAIN, Question
from perf.workloads.reading import CONNECTIONS, expect_size
from perf.wrk import Request, load

LISTING_CONNECTIONS = 8
_RESPONSE, _HREF, _LENGTH = (f"{{DAV:}}{name}" for name in ("response", "href", "getcontentlength"))


def sizes(answer: Answer) -> dict[str, int]:
    """Path and size of every file in a 207, and -1 for each collection."""
    expect(answer, 207)
    found = {}
    for response in etree.fromstring(answer.body).iter(_RESPONSE):
        path = unquote(urlsplit(response.findtext(_HREF) or "").path).rstrip("/")
        texts = (length.text for length in response.iter(_LENGTH))
        is_collection = next(response.iter("{DAV:}collection"), None) is not None
        found[path] = -1 if is_collection else int(next((text for text in texts if text), "0"))
    return found


def expect_listing(answer: Answer, collection: str, members: Mapping[str, int]) -> None:
    """Nothing, if exactly the collection and its members came, each member with its size."""
    found = sizes(answer)
    wanted = {collection.rstrip("/"): -1} | {f"{collection}{name}": size for name, size in members.items()}
    if found != wanted:
        wrong = len(found.items() ^ wanted.items())
        raise WrongAnswerError(f"listing of {len(found):,} instead of {len(wanted):,}, {wrong:,} differ")


def members_of(count: int) -> dict[str, int]:
    return {file_name(number): MEMBER_BYTES for number in range(count)}


def one_resource(bench: Bench) -> tuple[float, ...]:
    """PROPFIND Depth 0 of files."""
    return (looked_at(bench, [f"4k/{file_name(number)}" for number in range(bench.sizes.files)], 4 * KIB),)


def looked_at(bench: Bench, names: Sequence[str], size: int) -> float:
    """PROPFINDs Depth 0 a second of files that all have this size."""
    paths = [bench.peer.path(name) for name in names]
    requests = [Request("PROPFIND", path, PLAIN.headers("0"), PLAIN.body) for path in paths]
    with bench.peer.connect() as connection:
        answer = connection.request("PROPFIND", paths[0], PLAIN.body, PLAIN.headers("0"))
    if sizes(answer) != {paths[0]: size}:
        raise WrongAnswerError(f"PROPFIND: {sizes(answer)}")
    done = load(bench, requests, CONNECTIONS)
    expect_size(done.bytes, done.requests, answer.wire_bytes, CONNECTIONS)
    return done.rate


def collection(which: str, bench: Bench) -> tuple[float, ...]:
    """PROPFIND Depth 1 of one collection, over several connections."""
    path = bench.peer.path(f"{MEMBERS[which]}/")
    answer, seconds = _asked(bench, path, PLAIN)
    expect_listing(answer, path, members_of(bench.sizes.members(which)))
    request = Request("PROPFIND", path, PLAIN.headers("1"), PLAIN.body)
    done = load(bench, [request], LISTING_CONNECTIONS, answer_seconds=seconds)
    expect_size(done.bytes, done.requests, answer.wire_bytes, LISTING_CONNECTIONS)
    return (done.rate,)


def as_clients_ask(bench: Bench) -> tuple[float, ...]:
    """PROPFIND Depth 1 over one connection with the properties that each client asks for, in milliseconds."""
    path = bench.peer.path(f"{MEMBERS['many']}/")
    figures = []
    for question in (PLAIN, *CLIENTS):
        times: list[float] = []
        while len(times) < 2 or sum(times) < bench.seconds / 8:
            answer, seconds = _asked(bench, path, question)
            times.append(seconds)
        expect_listing(answer, path, members_of(bench.sizes.many))
        figures.append(statistics.median(times) * 1000)
    return tuple(figures)


def _asked(bench: Bench, path: str, question: Question) -> tuple[Answer, float]:
    """The second answer to a PROPFIND Depth 1, and the seconds that it took."""
    with bench.peer.connect() as connection:
        connection.request("PROPFIND", path, question.body, question.headers("1"))
        begun = time.perf_counter()
        answer = connection.request("PROPFIND", path, question.body, question.headers("1"))
        return answer, time.perf_counter() - begun


def anything_changed(bench: Bench) -> tuple[float, ...]:
    """How often a second a client learns whether anything changed below a collection.

    baludav's collections have entity-tags that change with everything below them, so one PROPFIND Depth 0 of the
    topmost tells; the others are asked for every collection with its members.
    """
    folders, _ = bench.sizes.polled
    if isinstance(bench.peer, Baludav):
        paths, depth = [bench.peer.path(f"{POLLED}/")], "0"
    else:
        paths, depth = [bench.peer.path(f"{POLLED}/folder-{number:02}/") for number in range(folders)], "1"
    before = _states(bench, paths, depth)
    requests = [Request("PROPFIND", path, PLAIN.headers(depth), PLAIN.body) for path in paths]
    rate = load(bench, requests, 1).rate / len(paths)
    if _states(bench, paths, depth) != before:
        raise WrongAnswerError("a change was told where nothing had changed")
    _expect_notice(bench, paths, depth, before)
    return (rate,)


def _expect_notice(bench: Bench, paths: list[str], depth: str, before: list[bytes]) -> None:
    """Nothing, if the answers tell of a file that is written now; it gets its old bytes back."""
    name = f"{POLLED}/folder-00/{file_name(0)}"
    for body in (b"changed", member_content(file_name(0))):
        with bench.peer.connect() as connection:
            expect(connection.request("PUT", bench.peer.path(name), body), 200, 201, 204)
        if body == b"changed" and _states(bench, paths, depth) == before:
            raise WrongAnswerError("a change was not told")


def _states(bench: Bench, paths: Iterable[str], depth: str) -> list[bytes]:
    with bench.peer.connect() as connection:
        return [
            expect(connection.request("PROPFIND", path, PLAIN.body, PLAIN.headers(depth)), 207).body for path in paths
        ]


def _listing(which: str) -> Workload:
    row = Row(f"list-{which}", f"PROPFIND Depth 1, {{{which}}} members")
    return Workload(row.key, (row,), lambda bench: collection(which, bench))


LISTING = (
    Workload("propfind", (Row("propfind", "PROPFIND Depth 0"),), one_resource),
    _listing("few"),
    _listing("many"),
    _listing("most"),
    Workload(
        "clients",
        tuple(
            Row(
                f"clients-{question.client}", f"{{many}} members, as {question.client} asks", "ms",
                more_is_better=False, is_pictured=False,
            )
            for question in (PLAIN, *CLIENTS)
        ),
        as_clients_ask,
    ),
    Workload(
        "poll",
        (Row("poll", "anything changed in {folders} folders, {polled} files?", "polls/s"),),
        anything_changed,
        writes=True,
    ),
)  # fmt: skip
