"""The folder of a device, in memory: files and folders by path, as a file system finds them."""

from unicodedata import normalize


def composed(path: str) -> str:
    """A path in the form that servers and most systems give to new names (NFC)."""
    return normalize("NFC", path)


class Blocked(Exception):
    """Something else is in the way, or under a name that this file system does not tell from the one asked for."""


class Folder:
    """A file system of its own, whose paths begin with a slash.

    Args:
        folds: takes names for the same that differ in case, or in how letters are composed, as on macOS and Windows;
            they keep the spelling they were made with.
    """

    def __init__(self, *, folds: bool) -> None:
        self.folds = folds
        self._entries: dict[str, bytes | None] = {}  # None for a folder

    def copy(self) -> "Folder":
        """The same at another place, as in a backup."""
        other = Folder(folds=self.folds)
        other._entries = dict(self._entries)
        return other

    # What is there

    def files(self) -> dict[str, bytes]:
        return {path: body for path, body in self._entries.items() if body is not None}

    def folders(self) -> set[str]:
        return {path for path, body in self._entries.items() if body is None}

    def spelled(self, path: str) -> str:
        """A path as it is spelled here, as far as it is there."""
        found = ""
        for name in path.split("/")[1:]:
            wanted = f"{found}/{name}"
            if wanted not in self._entries and self.folds:
                wanted = next((there for there in self._entries if self._is_same(there, wanted)), wanted)
            found = wanted
        return found

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None if there is no file."""
        return self._entries.get(self.spelled(path))

    def is_folder(self, path: str) -> bool:
        path = self.spelled(path)
        return path in self._entries and self._entries[path] is None

    def exists(self, path: str) -> bool:
        return self.spelled(path) in self._entries

    def can_hold(self, path: str) -> bool:
        """Whether a file could be written under this name, in whichever composition."""
        above = self.above(path)
        return (
            composed(self.spelled(path)) == composed(path)
            and not self.is_folder(path)
            and all(self.is_folder(folder) or not self.exists(folder) for folder in above)
        )

    @staticmethod
    def above(path: str) -> list[str]:
        """The folders that a path lies in, from the top."""
        return [path[:at] for at in range(1, len(path)) if path[at] == "/"]

    # What changes

    def write(self, path: str, body: bytes) -> None:
        """Write a file, making the folders above it that are missing."""
        path = self.spelled(path)
        if self.is_folder(path):
            raise Blocked(path)
        for folder in self.above(path):
            self.make(folder)
        self._entries[path] = body

    def make(self, path: str) -> None:
        """Make a folder, if it is not there."""
        path = self.spelled(path)
        for folder in (*self.above(path), path):
            if self._entries.setdefault(folder, None) is not None:
                raise Blocked(folder)

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing if it is not there."""
        path = self.spelled(path)
        self._entries = {p: body for p, body in self._entries.items() if p != path and not p.startswith(f"{path}/")}

    def remove_if_empty(self, path: str) -> bool:
        """Remove a folder if nothing is in it."""
        path = self.spelled(path)
        if not self.is_folder(path) or any(there.startswith(f"{path}/") for there in self._entries):
            return False
        del self._entries[path]
        return True

    def remove_empty_folders(self) -> None:
        for path in sorted(self.folders(), reverse=True):
            self.remove_if_empty(path)

    def rename(self, path: str, to: str) -> None:
        """Give something another name that nothing has."""
        path = self.spelled(path)
        parent, name = self.spelled(to).rsplit("/", 1)[0], to.rsplit("/", 1)[1]
        to = f"{parent}/{name}"
        is_taken = self.exists(to) and self.spelled(to) != path
        if path not in self._entries or is_taken or f"{to}/".startswith(f"{path}/"):
            raise Blocked(to)
        for folder in self.above(to):
            self.make(folder)
        moved = {p: body for p, body in self._entries.items() if p == path or p.startswith(f"{path}/")}
        self.remove(path)
        self._entries |= {to + p[len(path) :]: body for p, body in moved.items()}

    @staticmethod
    def _is_same(path: str, other: str) -> bool:
        return normalize("NFD", path).casefold() == normalize("NFD", other).casefold()
