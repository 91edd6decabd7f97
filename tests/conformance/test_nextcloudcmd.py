"""nextcloudcmd keeps two devices in step through the server, and loses nothing."""

from collections.abc import Iterator

import pytest

from tests.conformance import syncing
from tests.conformance.syncing import Device, rest, write
from tests.http.client import User
from tests.serving import Server


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that takes many small files in one request."""
    environment = {"BALUDAV_BULK_UPLOAD": "true"}
    with Server(tmp_path_factory.mktemp("bulk") / "data", environment=environment) as server:
        yield server


class TestNextcloud(syncing.Syncing):
    program = "nextcloudcmd"
    refuses = " "


class TestManyAtATime(syncing.Pair):
    """Small files in one request, where the configuration allows that."""

    program = "nextcloudcmd"

    @pytest.fixture
    def server(self, allowing: Server) -> Server:
        return allowing

    def test_new_ones_and_edited_ones(self, devices: tuple[Device, Device]) -> None:
        """In requests of a hundred each."""
        first, second = devices
        write(first, {f"{number % 7}/ä {number}": b"%d" % number for number in range(500)})
        seen = first.requests_of(first.sync)
        assert seen.count("POST /remote.php/dav/bulk 200") == 5, seen
        assert " PUT " not in seen, seen
        rest(first, second)
        write(second, {f"{number % 7}/ä {number}": b"%d edited" % number for number in range(0, 500, 10)})
        seen = second.requests_of(second.sync)
        assert "POST /remote.php/dav/bulk 200" in seen, seen
        assert " PUT " not in seen, seen
        rest(first, second)
        assert first.path("5/ä 250").read_bytes() == b"250 edited"

    def test_one_of_many_that_fails(self, devices: tuple[Device, Device]) -> None:
        """What stands in the way of one file keeps none of the others."""
        first, second = devices
        files = {f"{number}": b"%d" % number for number in range(20)}
        write(first, files)
        rest(first, second)
        user = User(first.server, first.user)
        token = user.lock("/7")
        write(first, {name: body + b" edited" for name, body in files.items()})
        first.sync(works=False)
        home = first.server.home(first.user)
        assert {name: (home / name).read_bytes() for name in files} == {
            name: body if name == "7" else body + b" edited" for name, body in files.items()
        }
        user("UNLOCK", "/7", Lock_Token=f"<{token}>")
        for journal in first.folder.glob(".sync_*"):  # else what failed would be tried again only after a while
            journal.unlink()
        first.sync()
        rest(first, second)
        assert first.path("7").read_bytes() == b"7"
        (copy,) = [name for name in second.contents() if "conflicted copy" in name]
        assert second.path(copy).read_bytes() == b"7 edited"
