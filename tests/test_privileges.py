"""Started as root: it binds, becomes the account of the configuration, and is never root again."""

import grp
import os
import pwd
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from baludav.cli import privileges
from baludav.config import ConfigError, load
from baludav.server.tls import self_signed
from tests.http.client import User
from tests.serving import TOP, Server, free_port, wait_for

ACCOUNT = "nobody"


def _opened() -> tuple[str, ...]:
    """A command to run others under, so that they find the interpreter where it is, but not closed to all but root."""
    wanted = {Path(sys.base_prefix).resolve(), TOP}
    closed = next((path for one in wanted for path in reversed(one.parents) if not path.stat().st_mode & 0o001), None)
    if closed is None:
        return ()
    inside = [str(path) for path in wanted if closed in path.parents]
    script = "d=$(mktemp -d) && " + "".join(
        f'mkdir "$d/{number}" && mount --bind "{path}" "$d/{number}" && ' for number, path in enumerate(inside)
    )
    script += f'mount -t tmpfs -o mode=755 tmpfs "{closed}" && ' + "".join(
        f'mkdir -p "{path}" && mount --bind "$d/{number}" "{path}" && umount "$d/{number}" && rmdir "$d/{number}" && '
        for number, path in enumerate(inside)
    )
    return "unshare", "--mount", "sh", "-c", f'{script} rmdir "$d" && exec "$@"', "sh"


def _cannot() -> str:
    """Why this cannot be tried here; empty if it can."""
    if os.geteuid() != 0:
        return "only root can become another account"
    imported = [*UNDER, "setpriv", f"--reuid={ACCOUNT}", "--clear-groups", sys.executable, "-c", "import baludav.app"]
    ran = subprocess.run(imported, cwd=TOP, capture_output=True, text=True, timeout=60, check=False)
    return f"{ACCOUNT} cannot run this program here: {ran.stderr[-300:]}" if ran.returncode else ""


UNDER = _opened()
WHY = _cannot()
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every account can pass through, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="baludav-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def _server(folder: Path, run_as: str = ACCOUNT) -> Server:
    return Server(folder / "data", environment={"BALUDAV_RUN_AS": run_as}, under=UNDER)


def _command(server: Server, *arguments: str, input: str = "", user: str = "root") -> subprocess.CompletedProcess[str]:
    """A command beside the server, by another account if asked."""
    become = [] if user == "root" else ["setpriv", f"--reuid={user}", "--clear-groups"]
    return subprocess.run(
        [*UNDER, *become, sys.executable, "-m", "baludav", *arguments], cwd=TOP, env=server.environment, input=input,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def _status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def _refusal(server: Server) -> str:
    """What a server says that does not start."""
    with pytest.raises(AssertionError, match="ended with"):
        server.start()
    said = server.log.read_text()
    assert "Traceback" not in said
    return said


def test_no_process_is_root_any_more(place: Path) -> None:
    """All four ids of user and group, the other groups, and no capability; and no program gives it back."""
    entry = pwd.getpwnam(ACCOUNT)
    gid = grp.getgrnam("daemon").gr_gid
    with _server(place, f"{ACCOUNT}:daemon") as server:
        pids = server.pids()
        assert len(pids) == 3
        for pid in pids:
            status = _status(pid)
            assert status["Uid"] == [str(entry.pw_uid)] * 4
            assert status["Gid"] == [str(gid)] * 4
            assert set(map(int, status["Groups"])) == set(os.getgrouplist(ACCOUNT, gid))
            assert status["NoNewPrivs"] == ["1"]
            assert {int(status[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
        assert f"now {ACCOUNT} for good" in server.log.read_text()
        assert "runs as root" not in server.log.read_text()


def test_it_works_as_that_account(place: Path) -> None:
    """A port of root's, writes, a reload, a worker that is replaced; what is created is the account's alone."""
    with _server(place) as server:
        server.passwords["anna"] = "the-password-of-anna"
        added = _command(server, "user", "add", "anna", "--password-stdin", input="the-password-of-anna\n")
        assert added.returncode == 0, added.stderr  # by root, who becomes the account for it
        anna = User(server, "anna")
        assert anna.put("/f", b"bytes").status_code == 201
        assert anna("MKCOL", "/d").status_code == 201
        assert server.process is not None
        before = set(server.pids())
        os.kill(server.process.pid, signal.SIGHUP)
        wait_for(lambda: len(set(server.pids()) - before) == 2 and len(server.pids()) == 3, 30, "new workers serve")
        assert User(server, "anna").put("/after", b"bytes").status_code == 201
        killed = server.pids()[1]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: killed not in server.pids() and len(server.pids()) == 3, 30, "it was replaced")
        assert User(server, "anna").get("/f").content == b"bytes"
        uid = pwd.getpwnam(ACCOUNT).pw_uid
        for pid in server.pids():
            assert _status(pid)["Uid"] == [str(uid)] * 4
        for path in (server.data, *server.data.rglob("*")):
            found = path.lstat()
            assert found.st_uid == uid, path
            assert not found.st_mode & 0o077, path


def test_a_key_that_only_root_can_read(place: Path) -> None:
    """It is read before, so a reload needs it no more."""
    certificate, key = self_signed(place / "tls", "127.0.0.1")
    assert key.stat().st_uid == 0
    assert not key.stat().st_mode & 0o077
    file = place / "wsgidav.yaml"
    file.write_text(f"ssl_certificate: {certificate}\nssl_private_key: {key}\nbaludav: {{run_as: {ACCOUNT}}}\n")
    file.chmod(0o644)
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BALUDAV_")},
        "BALUDAV_DATA": str(place / "data"), "BALUDAV_PORT": str(port), "BALUDAV_WORKERS": "1",
    }  # fmt: skip
    log = place / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*UNDER, sys.executable, "-m", "baludav", "--config", str(file), "serve"], cwd=TOP, env=environment,
            stdout=out, stderr=out,
        )  # fmt: skip
    trusting = ssl.create_default_context(cafile=certificate)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/healthz", timeout=10, context=trusting) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(is_up, 30, "it answers over TLS")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "new workers serve" in log.read_text(), 30, "it was reloaded")
        wait_for(is_up, 30, "it still answers")
        file.chmod(0o600)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the old ones go on" in log.read_text(), 30, "a reload that fails changes nothing")
        wait_for(is_up, 30, "it still answers")
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def test_a_folder_that_is_not_its_own(place: Path) -> None:
    """What root left there is named, with the command that changes it; nothing is changed without being asked."""
    Server(place / "data").baludav("init")
    said = _refusal(_server(place))
    group = grp.getgrgid(pwd.getpwnam(ACCOUNT).pw_gid).gr_name
    assert f"chown -R {ACCOUNT}:{group} {place / 'data'}" in said
    assert {path.stat().st_uid for path in place.rglob("*")} == {0}
    subprocess.run(["chown", "-R", f"{ACCOUNT}:{group}", str(place / "data")], check=True)
    (place / "data" / "lost+found").mkdir()
    assert _command(_server(place), "init").returncode == 0


def test_a_folder_that_it_cannot_reach(place: Path) -> None:
    place.chmod(0o700)
    assert f"{ACCOUNT} cannot use the data folder" in _refusal(_server(place))


@pytest.mark.parametrize(
    ("run_as", "said"),
    [
        ("nobody-at-all", "no user 'nobody-at-all'"),
        (f"{ACCOUNT}:nothing-at-all", "no group 'nothing-at-all'"),
        ("root", "other than root"),
        ("0", "other than root"),
        (f"{ACCOUNT}:root", "other than root"),
    ],
)
def test_an_account_that_makes_no_sense(run_as: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        privileges.wanted(load(None, {"BALUDAV_RUN_AS": run_as}))


def test_only_root_can_become_another(place: Path) -> None:
    """Another account that tries is told so, and its files do not get into what belongs to the right one."""
    (place / "data").mkdir()
    os.chown(place / "data", pwd.getpwnam(ACCOUNT).pw_uid, -1)
    ran = _command(_server(place, "daemon"), "init", user=ACCOUNT)
    assert ran.returncode == 1
    assert "only root can become another" in ran.stderr
    assert not list((place / "data").iterdir())


def test_root_is_told_once_that_it_is_root(place: Path) -> None:
    """Without the key, it goes on as root, and says so at the start."""
    server = Server(place / "data")
    with server:
        assert _status(server.pids()[1])["Uid"] == ["0"] * 4
    assert server.log.read_text().count("This runs as root") == 1
