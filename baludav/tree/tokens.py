"""Change tokens: opaque to clients, who store them and give them back."""

from typing import NamedTuple

from baludav.errors import TokenExpired


class Token(NamedTuple):
    """A moment in one user's namespace.

    Attributes:
        sight: names the storage roots that the user could see.
        number: of the last change before it.
        after: while the whole state is read: up to where it was, as the position of a storage root among those
            that the user sees and a resource id.
    """

    epoch: str
    sight: str
    number: int
    after: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = f"{self.epoch}.{self.sight}.{self.number}"
        return text if self.after is None else f"{text}.{self.after[0]}.{self.after[1]}"

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token that a client got once.

        Raises:
            TokenExpired: it is none of this server's.
        """
        match text.split("."):
            case [epoch, sight, *numbers] if all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
                match [int(number) for number in numbers]:
                    case [number]:
                        return cls(epoch, sight, number)
                    case [number, position, resource_id]:
                        return cls(epoch, sight, number, (position, resource_id))
        raise TokenExpired()
