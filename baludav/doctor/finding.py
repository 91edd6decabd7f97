"""What the doctor finds: one line for each check, and below it what to do."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """How one check came out; the value is what a person reads."""

    WELL = "ok"
    LACKING = "note"  # the server does without it, and so do its clients
    ILL = "FAILS"  # somebody loses files, time or access by it


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        about: what was looked at, in two or three words.
        said: what was seen, in one line.
        advice: what to do, one line each.
    """

    about: str
    verdict: Verdict
    said: str
    advice: tuple[str, ...] = ()


class Ill(Exception):
    """A check found something that must be mended."""

    verdict = Verdict.ILL

    def __init__(self, said: str, *advice: str) -> None:
        super().__init__(said)
        self.said = said
        self.advice = advice


class Lacking(Ill):
    """A check found something that the server does without."""

    verdict = Verdict.LACKING
