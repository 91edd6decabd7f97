"""Paths that some systems do not tell apart: by case (Windows, macOS), or by how letters are composed (macOS)."""

from collections.abc import Iterable, Iterator, Set
from functools import lru_cache
from unicodedata import normalize


def composed(path: str) -> str:
    """A path in the form that the server gives to new names (NFC)."""
    return path if path.isascii() else normalize("NFC", path)


def folded(path: str) -> str:
    """The same for all spellings (canonical caseless matching, Unicode §3.13)."""
    return path.lower() if path.isascii() else _fold(path)


def above(paths: Iterable[str]) -> set[str]:
    """The collections that some paths lie in."""
    found: set[str] = set()
    for path in paths:
        collection = path[: path.rindex("/")]
        while collection and collection not in found:
            found.add(collection)
            collection = collection[: collection.rindex("/")]
    return found


def is_below(path: str, collections: Set[str]) -> bool:
    """Whether a path lies in one of some collections (composed)."""
    return bool(collections) and any(part in collections for part in _parts(path)[:-1])


def falling_together(new: list[str], files: Set[str]) -> Iterator[tuple[str, str, str]]:
    """What of some new files would fall together with something else on a system that tells less apart.

    Args:
        files: that are there already.
    Yields:
        the new path; what of it, itself or a collection above it, meets something that is spelled otherwise; and how
        that is spelled, which is there or is new and comes first.
    """
    everything = {*files, *new}
    everything |= above(map(composed, everything))
    if not new or len(set(map(folded, everything))) == len(everything):
        return
    known = {*files, *above(map(composed, files))}
    spelled: dict[str, str] = {}
    for path in sorted(known):
        spelled.setdefault(folded(path), path)
    for path in new:
        parts = _parts(path)
        for part in parts:
            other = spelled.setdefault(folded(part), part)
            if other != part and part not in known:
                yield path, "/".join(path.split("/")[: part.count("/") + 1]), other
                break
        else:
            known |= set(parts)


def _parts(path: str) -> list[str]:
    """The collections above a path, composed, from the top; and the path."""
    collections, name = composed(path[: path.rindex("/")]), path
    ends = [at for at, letter in enumerate(collections) if letter == "/"][1:]
    return [*(collections[:end] for end in ends), *([collections] if collections else []), name]


@lru_cache(maxsize=16384)
def _fold(path: str) -> str:
    return normalize("NFC", normalize("NFD", path).casefold())
