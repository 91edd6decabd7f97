"""What the tests of this room begin with."""

from pathlib import Path

import pytest

from tests.crash.installation import prepare, prepare_noted


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with the content of BEFORE, to be copied."""
    folder = tmp_path_factory.mktemp("pristine")
    prepare(folder)
    return folder


@pytest.fixture(scope="session")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with dead properties, versions and an empty file."""
    folder = tmp_path_factory.mktemp("noted")
    prepare_noted(folder)
    return folder
