"""What the tests of this room begin with."""

from pathlib import Path

import pytest

from tests.crash.installation import prepare


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with the content of BEFORE, to be copied."""
    folder = tmp_path_factory.mktemp("pristine")
    prepare(folder)
    return folder
