"""What a comparison found: figures by row and server, as tables and as plain values for JSON."""

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from perf.harness import console
from perf.workload import Row

OWN = ("baludav", "baludav-fast")
YARDSTICKS = ("apache", "nginx")


@dataclass
class Figures:
    """What one server showed in one row."""

    rounds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # what it did instead, in the rounds in which it did
    remarks: list[str] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        """None if it ever answered wrongly, or was never asked."""
        return statistics.median(self.rounds) if self.rounds and not self.wrong else None


class Findings:
    """All figures of a comparison."""

    def __init__(self, rows: Sequence[Row], servers: Sequence[str], words: Mapping[str, str]) -> None:
        self.rows = rows
        self.servers = servers
        self._words = words
        self._figures: dict[tuple[str, str], Figures] = {}

    def row(self, key: str) -> Row:
        return next(row for row in self.rows if row.key == key)

    def at(self, row: Row, server: str) -> Figures:
        return self._figures.setdefault((row.key, server), Figures())

    def mark_wrong(self, rows: Iterable[Row], server: str, reason: str) -> None:
        """Say that a server did something else than what the rows are about."""
        for row in rows:
            self.at(row, server).wrong.append(reason)

    def title(self, row: Row) -> str:
        return row.title.format(**self._words)

    def unit(self, row: Row) -> str:
        return row.unit.format(**self._words)

    def best_other(self, row: Row) -> tuple[str, float] | None:
        """The best of the servers that are not ours, and its figure."""
        known = [(name, self.at(row, name).median) for name in self.servers if name not in OWN]
        found = [(name, median) for name, median in known if median is not None]
        if not found:
            return None
        return (max if row.more_is_better else min)(found, key=lambda item: item[1])

    def measured(self) -> Iterator[Row]:
        """The rows in which some server has shown something."""
        for row in self.rows:
            if any(self.at(row, name).rounds or self.at(row, name).wrong for name in self.servers):
                yield row

    def own_failures(self) -> list[str]:
        """Where baludav answered wrongly."""
        return [
            f"{name}, {self.title(row)}: {reason}"
            for row in self.rows
            for name in OWN
            for reason in self.at(row, name).wrong
        ]

    # ---- for people ----

    def show(self) -> None:
        """Print what each server showed, and how baludav compares."""
        shown = Table("work", "unit", *self.servers, title="medians")
        notes: list[str] = []
        for row in self.measured():
            shown.add_row(self.title(row), self.unit(row), *(self._cell(row, name, notes) for name in self.servers))
        console.print(shown)
        for number, note in enumerate(notes, 1):
            console.print(f"({number}) {note}", highlight=False)
        self._show_relations()

    def _cell(self, row: Row, server: str, notes: list[str]) -> str:
        figures = self.at(row, server)
        cell = "wrong" if figures.wrong else text(figures.median) if figures.median is not None else "–"
        for note in [*figures.wrong, *figures.remarks][:1]:
            notes.append(f"{server}, {self.title(row)}: {note}")
            cell += f" ({len(notes)})"
        return cell

    def _show_relations(self) -> None:
        """How many times as good baludav is as others."""
        own = [name for name in OWN if name in self.servers]
        columns = [f"{name} : {other}" for name in own for other in (*YARDSTICKS, "best")]
        shown = Table("work", *columns, "best", title="how many times as good as others")
        for row in self.measured():
            best = self.best_other(row)
            cells = []
            for name in own:
                mine = self.at(row, name).median
                others = [self.at(row, other).median for other in YARDSTICKS] + [best[1] if best else None]
                cells += ["–" if mine is None or it is None else f"{row.better(mine, it):.2f}" for it in others]
            shown.add_row(self.title(row), *cells, best[0] if best else "–")
        console.print(shown)

    # ---- for programs ----

    def plain(self) -> dict[str, Any]:
        """The same as values that JSON knows."""
        return {
            row.key: {
                "title": self.title(row),
                "unit": self.unit(row),
                "more_is_better": row.more_is_better,
                "servers": {
                    name: {"median": found.median, **dataclasses.asdict(found)}
                    for name in self.servers
                    if (found := self.at(row, name)).rounds or found.wrong
                },
            }
            for row in self.measured()
        }


def text(value: float) -> str:
    """A figure with three or more digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
