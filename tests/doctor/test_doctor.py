"""`baludav doctor`: all well where all is well, each fault by its name, and nothing left behind."""

import os
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
from click.testing import CliRunner

from baludav.cli import main
from baludav.doctor.examination import CHECKS, OWN_CHECKS, Examination
from baludav.doctor.finding import Finding, Verdict
from baludav.doctor.wire import Address
from perf.peers import Apache
from tests.doctor.spoiling import Passing, Spoiler, WrongNginx, spoiled
from tests.http.client import User
from tests.proxy.front import Nginx
from tests.proxy.test_offload import places
from tests.serving import TOP, Server, free_port, wait_for

PASSWORD = "the-password-of-alice"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]'}
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "photos").mkdir()
    shares = {"photos": {"folder": str(folder / "photos"), "write": ["alice"]}}
    with Server(folder / "data", workers=1, environment=environment, shares=shares) as server:
        server.add_user("alice", PASSWORD)
        yield server


@pytest.fixture(autouse=True)
def nothing_left(backend: Server) -> Iterator[None]:
    """Whatever a test does: nothing is in the home afterwards, in the trash, or locked, that was not there before."""
    before = everything(backend)
    yield
    assert everything(backend) == before


def everything(backend: Server) -> dict[str, list[object]]:
    """What alice has."""
    alice, home = User(backend, "alice"), backend.home("alice")
    return {
        "files": sorted(path.name for path in home.iterdir() if path.name != ".baludav"),
        "trash": alice.session.get(f"{backend.url}/api/sync/trash", timeout=60).json()["entries"],
        "locks": alice.session.get(f"{backend.url}/api/sync/locks", timeout=60).json()["locks"],
        "uploads": sorted(path.name for path in (home / ".baludav" / "uploads").iterdir()),
    }


def examined(
    url: str,
    patience: int = 0,
    user: str = "alice",
    password: str = PASSWORD,
    trust: Path | None = None,
    only: Sequence[str] = (),
) -> dict[str, Finding]:
    context = ssl.create_default_context(cafile=trust)
    examination = Examination(Address.parse(url), user, password, context, patience, only)
    return {finding.about: finding for finding in examination.findings()}


def ill(found: dict[str, Finding]) -> set[str]:
    return {about for about, finding in found.items() if finding.verdict is Verdict.ILL}


# All is well


def test_baludav_itself(backend: Server) -> None:
    """Nothing fails, and nothing is to be noted."""
    found = examined(backend.dav("alice"), patience=1)
    assert {finding.verdict for finding in found.values()} == {Verdict.WELL}, found
    assert list(found) == ["Connection", *(about for about, _ in (*CHECKS, *OWN_CHECKS))]


def test_behind_nginx_as_the_readme_says(backend: Server) -> None:
    """With TLS, and a certificate that has to be trusted first."""
    with Nginx(backend.data.with_name("right"), f"127.0.0.1:{backend.port}", places(backend)) as nginx:
        url = f"https://localhost:{nginx.port}/dav/"
        found = examined(url, trust=nginx.certificate, patience=1)
        assert {finding.verdict for finding in found.values()} == {Verdict.WELL}, found
        (unknown,) = examined(url).values()
        assert unknown.verdict is Verdict.ILL
        assert "certificate" in unknown.said
        assert "--trust" in unknown.advice[0]


# nginx, set up wrongly

LOCKING = {"Locks", "Windows Explorer", "Microsoft Office", "macOS Finder", "davfs2"}
WRONG: list[tuple[str, dict[str, str], set[str], str, str]] = [
    ("compression", {"gzip off;": "gzip on; gzip_proxied any;"}, {"Entity-tags"}, "W/", "gzip off;"),
    ("size", {"client_max_body_size 0;": ""}, {"Upload size"}, "below 2 MB", "client_max_body_size 0;"),
    (
        "host",
        {"proxy_set_header Host $http_host;": ""},
        {"Moving", "Own address", "GNOME Files"},
        "does not know this address",
        "proxy_set_header Host $http_host;",
    ),
    (
        "methods",
        {"location / {": "if ($request_method ~ ^(LOCK|PATCH)$) { return 405; } location / {"},
        {"Methods", *LOCKING},
        "LOCK (405), PATCH (405)",
        "if ($request_method",
    ),
    (
        "options",
        {"location / {": "location / { if ($request_method = OPTIONS) { return 204; }"},
        {"Announcement"},
        "without the field DAV",
        "if ($request_method = OPTIONS)",
    ),
    (
        "part",
        {"location / {": "location /dav/ {"},
        {"Redirects", "Own address", "Answers at once", "Windows Explorer", "Nextcloud apps"},
        "/index.php/login/v2 is answered 404",
        "location / {",
    ),
    ("hidden", {"gzip off;": "proxy_hide_header OC-FileId;"}, {"Nextcloud apps"}, "OC-FileId", "OC-FileId"),
    ("hurry", {"gzip off;": "proxy_read_timeout 1s;"}, {"Slow answers"}, "broken off", "proxy_read_timeout 600s;"),
]


@pytest.mark.parametrize(("name", "spoiled", "failing", "said", "line"), WRONG, ids=[row[0] for row in WRONG])
def test_nginx_set_up_wrongly(
    backend: Server, tmp_path: Path, name: str, spoiled: dict[str, str], failing: set[str], said: str, line: str
) -> None:
    """What is wrong is named, with the line to write, and nothing else is."""
    with WrongNginx(tmp_path / name, backend.port, spoiled) as nginx:
        found = examined(f"http://127.0.0.1:{nginx.port}/dav/", patience=3 if name == "hurry" else 0)
    assert ill(found) == failing
    named = next(finding for about, finding in found.items() if about in failing and said in finding.said)
    assert any(advice.startswith("nginx: ") and line in advice for advice in named.advice), named
    if name == "part":  # the way to the trash is blocked as well
        trash = User(backend, "alice", mount="/remote.php/dav/trashbin/alice")
        assert len(trash.propfind("/trash", depth="1")) > 1
        assert trash("DELETE", "/trash").status_code == 204


def test_uploads_that_a_proxy_keeps_are_noted(backend: Server, tmp_path: Path) -> None:
    with WrongNginx(tmp_path / "kept", backend.port, {"proxy_request_buffering off;": ""}) as nginx:
        found = examined(f"http://127.0.0.1:{nginx.port}/dav/", only=["Upload buffering"])
    assert ill(found) == set()
    assert found["Upload buffering"].verdict is Verdict.LACKING
    assert "proxy_request_buffering off;" in found["Upload buffering"].advice[0]


# Other things on the way


class WrongClock(Spoiler):
    def told(self, passing: Passing) -> None:
        passing.replace("Date", formatdate(time() + 3600, usegmt=True))


class NoClock(Spoiler):
    def told(self, passing: Passing) -> None:
        passing.replace("Date", None)


class LosesChunks(Spoiler):
    def asked(self, passing: Passing) -> None:
        if "Transfer-Encoding" in passing.fields:
            passing.body = b""
            passing.drop("X-Expected-Entity-Length")


class RefusesExpect(Spoiler):
    refuses_expect = True


class OwnPage(Spoiler):
    def asked(self, passing: Passing) -> None:
        if "Authorization" not in passing.fields:
            passing.status = 302
            passing.answered = [("Location", "https://login.example.org/")]


class NoChallenge(Spoiler):
    def told(self, passing: Passing) -> None:
        passing.replace("WWW-Authenticate", None)


class WeakTags(Spoiler):
    def told(self, passing: Passing) -> None:
        found = dict(passing.answered).get("ETag")
        if found is not None:
            passing.replace("ETag", f"W/{found}")


class NoConditions(Spoiler):
    def asked(self, passing: Passing) -> None:
        passing.drop("If-Match")
        passing.drop("If-None-Match")


class DecodesNames(Spoiler):
    def asked(self, passing: Passing) -> None:
        passing.target = passing.target.replace("%23", "").replace("%25", "")


class NoRanges(Spoiler):
    def asked(self, passing: Passing) -> None:
        passing.drop("Range")


class Keeps(Spoiler):
    """The proxy of these tests sends nothing on before it has all."""


class Elsewhere(Spoiler):
    def told(self, passing: Passing) -> None:
        if passing.target == "/dav":
            passing.status = 301
            passing.replace("Location", "http://backend:8080/dav/")


SPOILERS: list[tuple[type[Spoiler], str, str]] = [
    (WrongClock, "Clock", "ahead of this machine's"),
    (NoClock, "Clock", "no `Date`"),
    (LosesChunks, "Uploads in chunks", "300000 bytes became 0"),
    (RefusesExpect, "Uploads that ask", "417"),
    (OwnPage, "Sign-in", "https://login.example.org/"),
    (NoChallenge, "Sign-in", "WWW-Authenticate is lost"),
    (WeakTags, "Fresh entity-tags", "weak"),
    (NoConditions, "Lost updates", "is ignored"),
    (DecodesNames, "Names", "100% #1 a+b.txt"),
    (NoRanges, "Parts of files", "answered 200"),
    (Keeps, "Answers at once", "keeps answers"),
    (Elsewhere, "Redirects", "http://backend:8080"),
]


@pytest.mark.parametrize(("spoiler", "about", "said"), SPOILERS, ids=[row[0].__name__ for row in SPOILERS])
def test_what_is_spoiled_is_named(backend: Server, spoiler: type[Spoiler], about: str, said: str) -> None:
    with spoiled(backend.port, spoiler()) as port:
        found = examined(f"http://127.0.0.1:{port}/dav/", only=[about])
    assert ill(found) == {about}, found
    assert said in found[about].said
    assert found[about].advice or spoiler is WeakTags


# Another server


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can reach."""
    with tempfile.TemporaryDirectory(prefix="baludav-doctor-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        yield folder


def test_apache(open_folder: Path) -> None:
    """mod_dav bears most clients; what it lacks is noted, and nothing is called a failure that is none."""
    server = Apache(open_folder / "served")  # which does not run as root
    server.lay()
    (server.root / "index.html").write_text("here")
    server.settle()
    server.start("index.html")
    try:
        found = examined(server.url, user=server.account.name, password=server.account.password)
        assert [path.name for path in server.root.iterdir()] == ["index.html"]
    finally:
        server.stop()
    assert ill(found) == {"Upload size"}, found  # a gigabyte, since 2.4.53
    noted = {about for about, finding in found.items() if finding.verdict is Verdict.LACKING}
    assert {"Fresh entity-tags", "Free space", "Nextcloud apps", "rclone"} <= noted
    assert not noted & {"Windows Explorer", "macOS Finder", "Locks", "Entity-tags", "Lost updates"}


# The command


def command(backend: Server, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "baludav", "doctor", backend.dav("alice"), "--user", "alice", *arguments],
        cwd=TOP, env={**os.environ, "BALUDAV_PASSWORD": PASSWORD}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def test_one_page_and_a_status(backend: Server) -> None:
    with command(backend, "--patience", "0") as ran:
        said, wrong = ran.communicate(timeout=120)
    assert (ran.returncode, wrong) == (0, "")
    assert said.endswith("All is well.\n")
    assert len(said.splitlines()) <= 50
    assert max(map(len, said.splitlines())) <= 120
    assert PASSWORD not in said


def test_a_wrong_password(backend: Server) -> None:
    found = examined(backend.dav("alice"), password="another")
    assert [(finding.about, finding.said) for finding in found.values()] == [
        ("Connection", "user name or password is wrong")
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_when_it_is_interrupted(backend: Server, number: signal.Signals) -> None:
    """In the middle of its work; `nothing_left` looks."""
    home = backend.home("alice")
    before = set(home.iterdir())
    with command(backend) as ran:
        wait_for(lambda: any(set(home.glob("baludav-doctor-*")) - before), 60, "it has begun")
        ran.send_signal(number)
        ran.communicate(timeout=60)
    assert ran.returncode == 130


class NoAnswerToLock(Spoiler):
    """The lock is there, and nobody knows its token."""

    def told(self, passing: Passing) -> None:
        if passing.method == "LOCK":
            raise ConnectionAbortedError


def test_nothing_is_left_when_the_answer_to_lock_is_lost(backend: Server) -> None:
    with spoiled(backend.port, NoAnswerToLock()) as port:
        found = examined(f"http://127.0.0.1:{port}/dav/", only=["Locks"])
    assert "without an answer" in found["Locks"].said
    assert ill(found) == {"Locks"}


def test_nothing_is_left_when_nobody_reads_on(backend: Server) -> None:
    """`baludav doctor ... | head`."""
    context = ssl.create_default_context()
    examination = Examination(Address.parse(backend.dav("alice")), "alice", PASSWORD, context, 0)
    with closing(examination.findings()) as findings:
        while next(findings).about != "Locks":
            pass


@pytest.mark.parametrize("url", ["ftp://nas/dav/", "nas:8080", "http://alice@nas/dav/", "http:///dav/"])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|user"):
        Address.parse(url)


def test_the_password_is_asked_for_and_not_shown(backend: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a prompt, or from a line of standard input; a wrong one is a failure."""
    monkeypatch.delenv("BALUDAV_PASSWORD", raising=False)
    words = ["doctor", backend.dav("alice"), "--user", "alice", "--patience", "0"]
    for options, said, status in (([], "All is well.", 0), (["--password-stdin"], "is wrong", 1)):
        password = PASSWORD if status == 0 else "wrong"
        result = CliRunner().invoke(main, [*words, *options], input=f"{password}\n")
        assert (result.exit_code, said in result.stdout) == (status, True), result.output
        assert password not in result.output.replace("password is wrong", "")


def test_what_it_cannot_begin_with(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    for words in (["ftp://nas/"], ["https://nas/", "--trust", str(tmp_path / "none.pem")]):
        result = CliRunner().invoke(main, ["doctor", *words, "--user", "alice"], env={"BALUDAV_PASSWORD": "x"})
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1


def test_nobody_is_there() -> None:
    """A host that is not, and a port at which nothing listens."""
    for url, said in (
        ("http://nobody.invalid/dav/", "there is no host nobody.invalid"),
        (f"http://127.0.0.1:{free_port()}/dav/", "nothing listens"),
    ):
        (finding,) = examined(url).values()
        assert finding.verdict is Verdict.ILL
        assert said in finding.said
