"""Says which names a user or a group may have: they become segments of paths and lines of a configuration."""

import unicodedata

_LONGEST = 64  # characters
_LONGEST_BYTES = 255  # what one segment of a path can hold
_MARKS = frozenset("._-@ ")


class AccountError(ValueError):
    """An account cannot be changed as asked; the message says why and what to do."""


def checked(name: str, kind: str = "user") -> str:
    """The name in NFC.

    Raises:
        AccountError: it cannot be the name of a user or group.
    """
    name = unicodedata.normalize("NFC", name)
    if not name or len(name) > _LONGEST or len(name.encode("utf-8", "replace")) > _LONGEST_BYTES:
        raise AccountError(f"A {kind} name has 1 to {_LONGEST} characters; choose another")
    wrong = next((letter for letter in name if not _is_allowed(letter)), None)
    if wrong is not None:
        raise AccountError(
            f"A {kind} name has letters, digits, '.', '_', '-', '@' and blanks, not {wrong!a}; choose another"
        )
    if name[0] in ".-@ " or name[-1] in ". ":
        raise AccountError(
            f"A {kind} name begins with a letter, a digit or '_' and does not end with '.' or a blank; choose another"
        )
    return name


def folded(name: str) -> str:
    """The spelling in which two names that differ only in case are equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _is_allowed(letter: str) -> bool:
    # Marks, because many scripts write letters with them: "कि" is a letter and a vowel sign.
    return letter in _MARKS or unicodedata.category(letter)[0] in "LMN"
