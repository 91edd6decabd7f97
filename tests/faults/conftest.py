"""The installation that faults meet, made once."""

from pathlib import Path

import pytest

from baludav.tree.records import saves
from tests.faults.operations import prepare_more


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    prepare_more(folder)
    return folder


@pytest.fixture(autouse=True)
def all_are_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the tests take, what was deleted in the installation was deleted a moment ago."""
    monkeypatch.setattr(saves, "WINDOW_NS", 10**15)
