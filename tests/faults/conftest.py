"""The installation that faults meet, made once."""

from pathlib import Path

import pytest

from tests.faults.operations import prepare_more


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    prepare_more(folder)
    return folder
