"""What a workload is: some rows of the table, and how they are measured on one running server."""

from collections.abc import Callable
from dataclasses import dataclass, field

from perf.peer import Peer
from perf.trees import Sizes
from perf.wire import Answer


class WrongAnswerError(Exception):
    """A server did not do what the workload asks of it; what it did, in a few words."""


@dataclass(frozen=True)
class Bench:
    """One server at work."""

    peer: Peer
    sizes: Sizes
    seconds: float  # of each load
    span: int = 0  # seconds over which growth is looked at
    remarks: list[str] = field(default_factory=list)  # what else is to be known about the figures


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title: what was done; `{few}` and the like stand for the sizes.
        unit: of the figures.
        more_is_better: of two servers, whether the one with the larger figure is the better one.
        is_pictured: whether the picture shows it.
    """

    key: str
    title: str
    unit: str = "requests/s"
    more_is_better: bool = True
    is_pictured: bool = True

    def better(self, one: float, other: float) -> float:
        """How many times as good one figure is as the other."""
        if self.more_is_better:
            return one / other if other else float("inf")
        return other / one if one else float("inf")


@dataclass(frozen=True)
class Workload:
    """Rows that are measured together.

    Attributes:
        measure: figures for the rows, in their order. Raises WrongAnswerError.
        writes: whether `durability` matters.
        tls: whether it goes over TLS.
        once: whether the last round is enough, because it takes long or leaves traces.
    """

    key: str
    rows: tuple[Row, ...]
    measure: Callable[[Bench], tuple[float, ...]]
    writes: bool = False
    tls: bool = False
    once: bool = False


def expect(answer: Answer, *statuses: int) -> Answer:
    """The answer, if it has one of these statuses."""
    if answer.status not in statuses:
        raise WrongAnswerError(f"{answer.status} instead of {' or '.join(map(str, statuses))}")
    return answer


def expect_bytes(found: bytes, wanted: bytes, what: str) -> None:
    """Nothing, if the bytes are right."""
    if found != wanted:
        raise WrongAnswerError(f"{what}: other bytes than those stored ({len(found):,} instead of {len(wanted):,})")
