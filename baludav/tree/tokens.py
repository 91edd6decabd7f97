"""Change tokens: opaque to clients, who store them and give them back."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

from baludav.errors import TokenExpired
from baludav.tree.paths import Path


class Token(NamedTuple):
    """A moment in one user's namespace.

    Attributes:
        sight: names the storage roots that the user could see.
        number: of the last change before it.
        after: while the whole state is read: up to where it was, as the position of a storage root among those
            that the user sees and a path below it.
    """

    epoch: str
    sight: str
    number: int
    after: tuple[int, Path] | None = None

    def __str__(self) -> str:
        text = f"{self.epoch}.{self.sight}.{self.number}"
        return text if self.after is None else f"{text}.{self.after[0]}.{_written(self.after[1])}"

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token that a client got once.

        Raises:
            TokenExpired: it is none of this server's.
        """
        match text.split("."):
            case [epoch, sight, number] if _is_number(number):
                return cls(epoch, sight, int(number))
            case [epoch, sight, number, position, path] if _is_number(number) and _is_number(position):
                return cls(epoch, sight, int(number), (int(position), _read(path)))
        raise TokenExpired()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _written(path: Path) -> str:
    """A path in characters that need no encoding in a URI and are not those between the parts of a token."""
    return urlsafe_b64encode("/".join(path).encode()).rstrip(b"=").decode()


def _read(text: str) -> Path:
    try:
        path = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise TokenExpired() from error
    return tuple(path.split("/")) if path else ()
