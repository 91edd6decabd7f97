"""The files that every server under comparison serves: the same names and bytes for all, from fixed seeds."""

import random
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
MIB = 1024 * KIB
MEMBER_BYTES = 64

LARGE = "large.bin"
MEMBERS = {"few": "list-few", "many": "list-many", "most": "list-most"}
POLLED = "polled"
WRITTEN = ("put-4k", "put-100k", "put-large", "mixed")


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    files: int = 100  # of 4 KiB and of 100 KiB, each
    large: int = 64 * MIB
    few: int = 100  # members of a collection
    many: int = 1_000
    most: int = 10_000
    polled: tuple[int, int] = (50, 20)  # collections, and files in each
    trickling: int = 200  # connections
    small_namespace: int = 1_000  # files
    large_namespace: int = 200_000

    def members(self, which: str) -> int:
        """How many a collection `few`, `many` or `most` has."""
        return {"few": self.few, "many": self.many, "most": self.most}[which]

    @property
    def words(self) -> dict[str, str]:
        """The sizes as they are named in the titles of the table."""
        counts = {
            "few": self.few, "many": self.many, "most": self.most, "folders": self.polled[0],
            "polled": self.polled[0] * self.polled[1], "trickling": self.trickling,
            "small": self.small_namespace, "namespace": self.large_namespace,
        }  # fmt: skip
        return {"large": f"{self.large // MIB} MiB", **{name: f"{count:,}" for name, count in counts.items()}}


QUICK = Sizes(
    files=10, large=4 * MIB, few=10, many=50, most=200, polled=(5, 4), trickling=20,
    small_namespace=100, large_namespace=1_000,
)  # fmt: skip


def content(name: str, size: int) -> bytes:
    """The bytes of one file."""
    return random.Random(name).randbytes(size)


def file_name(number: int) -> str:
    return f"file-{number:05}"


def member_content(name: str) -> bytes:
    """The bytes of a member of a collection that is listed, moved, copied or deleted."""
    return name.encode().ljust(MEMBER_BYTES, b".")


def plant_files(root: Path, sizes: Sizes) -> None:
    """Put the single files of the workloads into an empty folder, and folders to write into."""
    for folder, size in (("4k", 4 * KIB), ("100k", 100 * KIB)):
        (root / folder).mkdir()
        for number in range(sizes.files):
            name = f"{folder}/{file_name(number)}"
            (root / name).write_bytes(content(name, size))
    (root / LARGE).write_bytes(content(LARGE, sizes.large))
    for name in WRITTEN:
        (root / name).mkdir()


def plant_collections(root: Path, sizes: Sizes) -> None:
    """Put the collections of the workloads into the folder."""
    for which, name in MEMBERS.items():
        _plant_members(root / name, sizes.members(which))
    (root / POLLED).mkdir()
    for number in range(sizes.polled[0]):
        _plant_members(root / POLLED / f"folder-{number:02}", sizes.polled[1])


def _plant_members(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        name = file_name(number)
        (folder / name).write_bytes(member_content(name))


def plant_namespace(root: Path, count: int, chosen: int, each: int = 100) -> list[str]:
    """Make so many files in folders of `each`, all empty but for some; gives the names of those from `root` on.

    Where most files have no bytes, making and removing the namespace takes seconds instead of minutes on disks that
    are told of every block that becomes free; looking up a resource among them costs the same.
    """
    places = [divmod(number, each) for number in range(count)]
    names = [f"folder-{folder:04}/{file_name(file)}" for folder, file in places]
    for folder in range(places[-1][0] + 1):
        (root / f"folder-{folder:04}").mkdir()
    for name in names:
        (root / name).touch()
    picked = random.Random(count).sample(names, chosen)
    for name in picked:
        (root / name).write_bytes(member_content(Path(name).name))
    return picked
