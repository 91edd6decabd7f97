"""A fresh collection of alice's for every sequence."""

from tests.http.conftest import alice  # noqa: F401 - fixture
