"""The house stands as DESIGN.md draws it: imports point down, and each library has its rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent

# From the roof to the floor; rooms of one storey never import each other.
STOREYS = [
    ["baludav.cli", "baludav.__main__"],
    ["baludav.server"],
    ["baludav.app"],
    ["providers", "sync_ext"],
    ["baludav.tree", "baludav.answering"],
    ["baludav.accounts"],
    ["baludav.db", "baludav.limits"],
    [
        "baludav.config",
        "baludav.cors",
        "baludav.errors",
        "baludav.log",
        "baludav.metrics",
        "baludav.spares",
        "baludav.waiting",
        "baludav.doctor",
    ],
    ["baludav.origin"],
]
NEIGHBOURS = {"baludav.__main__": "baludav.cli"}  # the one exception: it is the command's other name

# Which rooms may meet a library, so that it can be replaced by changing them only.
HOMES = {
    "cheroot": ["baludav.server"],
    "httptools": ["baludav.server"],
    "yaml": ["baludav.config"],
    "sqlalchemy": ["baludav.db", "baludav.accounts", "baludav.tree"],
    "alembic": ["baludav.db"],
    "sqlite3": ["baludav.db"],
    "wsgidav": ["providers", "baludav.app"],
    "falcon": ["sync_ext"],
    "msgspec": ["sync_ext", "baludav.config", "baludav.log"],
    "argon2": ["baludav.accounts"],
    "click": ["baludav.cli"],
    "prometheus_client": ["baludav.metrics"],
    "rich": ["baludav.cli"],
    "zeroconf": ["baludav.server.announcing"],
    "ifaddr": ["baludav.server.announcing"],
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("baludav", "providers", "sync_ext"):
        for file in sorted((TOP / package).rglob("*.py")):
            name = ".".join(file.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")
            yield name, file


def imports(name: str, file: Path) -> set[str]:
    """Everything a module imports, wherever in it, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import hides where it points"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(name: str) -> str | None:
    return next((room for storey in STOREYS for room in storey if is_in(name, room)), None)


def storey_of(room: str) -> int:
    return next(number for number, storey in enumerate(STOREYS) if room in storey)


MODULES = list(modules())


@pytest.mark.parametrize(("name", "file"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_point_down(name: str, file: Path) -> None:
    room = room_of(name)
    if name == "baludav":
        assert not file.read_text(), "baludav is both the roof and the floor, so it stays empty"
        return
    assert room is not None, f"{name} is in no room that DESIGN.md names"
    for imported in imports(name, file):
        other = room_of(imported)
        if other is None or other == room or NEIGHBOURS.get(room) == other:
            assert other is not None or not is_in(imported, "baludav"), f"{imported} is in no room"
        else:
            assert storey_of(other) > storey_of(room), f"{name} imports {imported}, which is not below it"


@pytest.mark.parametrize(("name", "file"), MODULES, ids=[name for name, _ in MODULES])
def test_libraries_stay_at_home(name: str, file: Path) -> None:
    for imported in imports(name, file):
        homes = HOMES.get(imported.split(".")[0])
        assert homes is None or any(is_in(name, home) for home in homes), f"{name} imports {imported}"


def test_nothing_sleeps_in_tests() -> None:
    for file in sorted((TOP / "tests").rglob("*.py")):
        called = {
            f"{node.func.value.id}.{node.func.attr}"
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        }
        assert "time.sleep" not in called, f"{file.relative_to(TOP)} sleeps"


def test_each_module_says_what_it_is_for() -> None:
    for name, file in MODULES:
        text = file.read_text(encoding="utf-8")
        assert not text or ast.get_docstring(ast.parse(text)), f"{name} has no docstring"
