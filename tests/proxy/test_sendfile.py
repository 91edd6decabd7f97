"""Large files sent by Apache with mod_xsendfile, and by lighttpd: the client cannot tell."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.client import User, etag
from tests.proxy.front import Behind, Front, readme, replaced
from tests.proxy.test_offload import ASKED, LARGE, LONG_AGO, NAMES, plain, stated
from tests.serving import Server, free_port, wait_for

_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http", "xsendfile")


@pytest.fixture(scope="module")
def backend() -> Iterator[Server]:
    """A server whose files the users of both proxies can read."""
    # Not below pytest's own folder, which nobody else can enter.
    folder = Path(tempfile.mkdtemp(prefix="baludav-sendfile-"))
    try:
        folder.chmod(0o755)
        (folder / "data").mkdir(mode=0o755)
        environment = {"BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]', "BALUDAV_OFFLOAD": "x-sendfile"}
        with Server(folder / "data", environment=environment) as server:
            server.add_user("alice")
            for path in (folder / "data" / "files", server.home("alice")):
                path.chmod(0o755)
            yield server
    finally:
        shutil.rmtree(folder)


def apache(backend: Server, folder: Path, port: int) -> list[str]:
    """The command that runs Apache in front of a server."""
    modules = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in _MODULES]
    config = folder / "apache.conf"
    config.write_text(
        "\n".join(
            [
                *modules,
                *(["User www-data", "Group www-data"] if os.geteuid() == 0 else []),
                f"""
                ServerRoot {folder}
                ServerName localhost
                PidFile {folder}/pid
                ErrorLog {folder}/error.log
                Listen 127.0.0.1:{port}
                AllowEncodedSlashes NoDecode
                ProxyPass / http://127.0.0.1:{backend.port}/ nocanon
                ProxyPreserveHost On
                """,
                replaced(readme("apache", "XSendFile"), {"/srv/baludav/data/files": f"{backend.data}/files"}),
            ]
        )
    )
    return ["apache2", "-f", str(config), "-DFOREGROUND"]


def lighttpd(backend: Server, folder: Path, port: int) -> list[str]:
    """The command that runs lighttpd in front of a server."""
    config = folder / "lighttpd.conf"
    proxy = replaced(
        readme("lighttpd", "x-sendfile"),
        {"/srv/baludav/data/files": f"{backend.data}/files", "8080": str(backend.port)},
    )
    config.write_text(
        f"""
        server.modules = ("mod_proxy")
        server.document-root = "{folder}"
        server.bind = "127.0.0.1"
        server.port = {port}
        server.errorlog = "{folder}/error.log"
        {'server.username = "www-data"' if os.geteuid() == 0 else ""}
        {proxy}
        """
    )
    return ["lighttpd", "-D", "-f", str(config)]


@pytest.fixture(scope="module", params=[apache, lighttpd])
def alice(backend: Server, request: pytest.FixtureRequest) -> Iterator[Behind]:
    """Alice behind one of them."""
    folder = backend.data.with_name(request.param.__name__)
    folder.mkdir()
    folder.chmod(0o777)
    port = free_port()
    with Front(request.param(backend, folder, port), port, folder / "output"):
        alice = Behind(backend, "alice", f"http://127.0.0.1:{port}", top=f"/{request.param.__name__}")
        assert alice("MKCOL", "").status_code == 201
        alice.put("/f.txt", LARGE, X_OC_Mtime=str(LONG_AGO))
        at_rest(backend, alice, "f.txt")
        yield alice


def at_rest(backend: Server, alice: Behind, name: str) -> None:
    """Wait until a file was not changed for so long that the proxy may send it."""
    direct = User(backend, "alice", alice.top)
    wait_for(
        lambda: "X-Sendfile" in direct.get(f"/{name}", X_Forwarded_For="192.0.2.1").headers, 20, "the file is at rest"
    )


def test_any_name_can_be_sent(alice: Behind, backend: Server) -> None:
    """Each name leads to its own file, whether or not the proxy can be told it."""
    for number, name in enumerate(NAMES):
        body = LARGE + str(number).encode()
        assert alice.put(f"/{name}", body, X_OC_Mtime=str(LONG_AGO)).status_code == 201, name
    at_rest(backend, alice, NAMES[-1])
    for number, name in enumerate(NAMES):
        got = alice.get(f"/{name}")
        assert (got.status_code, got.content) == (200, LARGE + str(number).encode()), name
        assert got.headers["ETag"] == etag(got.content)


@pytest.mark.parametrize("fields", [fields for fields, is_handed_over in ASKED if is_handed_over], ids=str)
def test_conditions_and_ranges(alice: Behind, backend: Server, fields: dict[str, str]) -> None:
    """The same status, fields and bytes as without the proxy."""
    headers = stated(fields)
    got, direct = (user.get("/f.txt", **headers) for user in (alice, User(backend, "alice", alice.top)))
    assert (got.status_code, plain(got)) == (direct.status_code, plain(direct))


def test_it_is_the_proxy_that_sends(alice: Behind, backend: Server) -> None:
    """What the proxy sees is the path on the disk; the client sees the bytes and not the path."""
    told = User(backend, "alice", alice.top).get("/f.txt", X_Forwarded_For="192.0.2.1")
    assert (told.headers["X-Sendfile"], told.content) == (f"{backend.home('alice')}{alice.top}/f.txt", b"")
    got = alice.get("/f.txt")
    assert got.content == LARGE
    assert str(backend.data) not in str(got.headers)
    backend.home("alice").chmod(0o700)
    try:
        refused = alice.get("/f.txt") if os.geteuid() == 0 else None
    finally:
        backend.home("alice").chmod(0o755)
    if refused is not None:  # it runs as another user
        assert refused.status_code in (403, 404), "so it was the proxy that opened the file"
        assert str(backend.data) not in refused.text + str(refused.headers)
