"""Each system call and each statement of every kind of change fails once: all is old or all is new, and goes on."""

from pathlib import Path

import pytest

from tests.faults.failing import Faults, Place
from tests.faults.operations import OPERATIONS, problems

_looks: set[Place] = set()


@pytest.mark.parametrize("kind", ["kernel", "database"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_all_is_old_or_all_is_new(name: str, kind: str, pristine: Path, tmp_path: Path) -> None:
    """After a fault: a clear failure, all old or all new, no debris, and the same request works."""
    faults = Faults(kind, seed=list(OPERATIONS).index(name), looks=_looks)
    assert problems(name, faults, pristine, tmp_path / "copy") == []
    assert faults.tried
