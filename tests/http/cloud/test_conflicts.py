"""Conflict copies of sync clients: what they say is kept and said again, and the register knows of it."""

import pytest

from tests.http.client import User, etag
from tests.http.cloud.conftest import by_cloud
from tests.serving import Server

FIELDS = {
    "OC-ConflictBaseFileId": "00000012oc0123456789",
    "OC-ConflictBaseMtime": "1500000000",
    "OC-ConflictBaseEtag": etag(b"base").strip('"'),
}


def _headers(**more: str) -> dict[str, str]:
    return {"OC-Conflict": "1", **FIELDS, **more}


def test_the_fields_come_back(cloud: User, plain: User) -> None:
    """With the bytes, by the paths of the sync clients; a copy that is renamed keeps them, other files have none."""
    base = "döc & <more>.txt".encode().decode("latin-1")
    sent = _headers(**{"OC-ConflictInitialBasePath": base})
    assert (
        cloud.put("/copy", b"mine", **{name.replace("-", "_"): value for name, value in sent.items()}).status_code
        == 201
    )
    cloud("MOVE", "/copy", Destination="/moved")
    for method in ("GET", "HEAD"):
        got = cloud(method, "/moved")
        assert {name: got.headers.get(name) for name in sent} == sent
    assert "OC-Conflict" not in plain.get("/moved").headers
    cloud.put("/other", b"x")
    assert "OC-Conflict" not in cloud.get("/other").headers


@pytest.mark.parametrize("fields", [{}, {"OC-Conflict": "0", **FIELDS}, {"OC-Conflict": "1"}, FIELDS])
def test_what_is_no_conflict_copy(cloud: User, fields: dict[str, str]) -> None:
    cloud.put("/f", b"x", **{name.replace("-", "_"): value for name, value in fields.items()})
    assert not [name for name in cloud.get("/f").headers if name.startswith("OC-Conflict")]


@pytest.mark.parametrize("base", ["../../x", "a\xff\xfe", "", "/" * 50, ".baludav/root", "x" * 5000, "missing/f"])
def test_a_path_that_makes_no_sense_is_harmless(cloud: User, base: str) -> None:
    """The bytes are what counts; they are stored whatever is said of them."""
    fields = {name.replace("-", "_"): value for name, value in _headers().items()}
    assert cloud.put("/f", b"x", OC_ConflictInitialBasePath=base, **fields).status_code == 201
    assert cloud.get("/f").content == b"x"


def test_the_register_knows_of_it(server: Server) -> None:
    """A device that signed in with its token has the conflict in its list."""
    server.add_user("carla")
    made = User(server, "carla", "", "").session.post(
        f"{server.url}/api/sync/devices", json={"name": "laptop", "device_type": "desktop"}, timeout=30
    )
    token = next(value for key, value in made.json().items() if "token" in key and "change" not in key)
    carla = by_cloud(server, "carla")
    carla.session.auth = ("carla", token)
    carla.put("/doc", b"theirs")
    sent = _headers(**{"OC-ConflictInitialBasePath": "doc"})
    carla.put("/doc (conflicted copy)", b"mine", **{name.replace("-", "_"): value for name, value in sent.items()})
    found = carla.session.get(f"{server.url}/api/sync/conflicts", timeout=30).text
    assert '"path":"/doc"' in found
    assert FIELDS["OC-ConflictBaseEtag"] in found
