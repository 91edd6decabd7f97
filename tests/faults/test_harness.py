"""The harness that lets calls fail notices mistakes, and forgets no call."""

import ast
import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from baludav.db.engine import Database
from baludav.errors import Failure
from tests.faults.failing import Faults
from tests.faults.operations import problems

TOP = Path(__file__).resolve().parents[2]


def _keep_it(*args: object, **named: object) -> None:
    """What should be undone is not."""


@contextlib.contextmanager
def _one_way(source: str, source_fd: int, target: str, target_fd: int) -> Iterator[None]:
    os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
    yield


def _swallow(self: Database, work: Callable[[Connection], object], *, spares_accounts: bool = False) -> object:
    with contextlib.suppress(Failure):
        return self._writer.run(work, spares_accounts)
    return None


@pytest.mark.parametrize(
    ("name", "kind", "broken", "what"),
    [
        ("put over", "kernel", "baludav.tree.disk.local.LocalStorage.take_back", _keep_it),
        ("put what was deleted", "database", "baludav.tree.disk.local.LocalStorage.take_back", _keep_it),
        ("copy collection", "kernel", "baludav.tree.disk.local.LocalStorage.drop", _keep_it),
        ("delete file", "kernel", "baludav.tree.disk.leaving.renamed", _one_way),
        ("mkcol", "database", "baludav.tree.disk.local.LocalStorage.drop", _keep_it),
        ("lock", "kernel", "baludav.tree.disk.guards.translated", contextlib.nullcontext),
        ("unlock", "database", "baludav.db.engine._translated", contextlib.nullcontext),
        ("proppatch", "database", "baludav.db.engine.Database.commit", _swallow),
    ],
)
def test_a_mistake_is_noticed(
    name: str, kind: str, broken: str, what: object, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these mistakes would be found."""
    monkeypatch.setattr(broken, what)
    assert problems(name, Faults(kind), pristine, tmp_path / "copy")


# What reaches the kernel by other ways than `os`, `fcntl` and `kernel`, and so does not fail here: looks without which
# a storage root counts as not mounted, and what is done once for each.
OTHER_WAYS = {
    "baludav/tree/disk/marker.py: mkdir",
    "baludav/tree/disk/marker.py: read_text",
    "baludav/tree/disk/top.py: open",
    "baludav/tree/roots.py: is_dir",
    "baludav/tree/tree.py: is_dir",
    "baludav/tree/tree.py: rmtree",
}
_METHODS = {
    "read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "touch", "is_dir", "is_file", "iterdir", "rmtree",
    "copyfile", "copytree", "mkstemp",
}  # fmt: skip


def test_no_call_is_forgotten() -> None:
    """Every call into the kernel goes by a name that the harness replaces, but for those that are known."""
    found = set()
    for file in [*(TOP / "baludav/tree").rglob("*.py"), *(TOP / "baludav/db").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = _other_way(node)
            if name is not None:
                found.add(f"{file.relative_to(TOP)}: {name}")
    assert found == OTHER_WAYS


def _other_way(node: ast.AST) -> str | None:
    if isinstance(node, ast.ImportFrom) and node.module in ("os", "fcntl"):
        return f"from {node.module}"
    if not isinstance(node, ast.Call):
        return None
    called = node.func
    if isinstance(called, ast.Name):
        return called.id if called.id == "open" else None
    if isinstance(called, ast.Attribute) and called.attr in _METHODS:
        is_os = isinstance(called.value, ast.Name) and called.value.id == "os"
        return None if is_os else called.attr
    return None
