"""The command `baludav`: what each one does, and that what goes wrong is one line that says what to do."""

import json
import os
import pty
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from baludav import cli
from baludav.accounts.accounts import Accounts
from baludav.app import open_house
from baludav.cli.serving import is_loopback, url
from baludav.config import load
from baludav.errors import NotSignedIn

Run = Callable[..., Result]
HERE = "192.0.2.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens on it here


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on a data folder of its own; the words are split at blanks."""
    monkeypatch.setenv("BALUDAV_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("BALUDAV_DURABILITY", "fast")
    monkeypatch.chdir(tmp_path)

    def run(words: str, status: int = 0, input: str | None = None) -> Result:
        result = CliRunner().invoke(cli.main, words.split(), input=input)
        assert result.exit_code == status, (result.output, result.exception)
        if status not in (0, 1):
            assert result.stderr.count("\n") == 1, result.stderr
        return result

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "data" / "files"


def lines(result: Result) -> list[list[str]]:
    return [line.split("\t") for line in result.stdout.splitlines()]


def commands(group: click.Group, path: str = "") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        found.append((f"{path} {name}".strip(), command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}")
    return found


# Help


@pytest.mark.parametrize(("path", "command"), commands(cli.main), ids=[path for path, _ in commands(cli.main)])
def test_every_command_and_option_is_explained(run: Run, path: str, command: click.Command) -> None:
    assert command.help
    assert run(f"{path} --help").stdout.startswith(f"Usage: baludav {path}")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.opts}"


def test_help_is_quick() -> None:
    """It loads none of the heavy libraries."""
    code = (
        "import sys; from click.testing import CliRunner; from baludav.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print(sorted({'sqlalchemy', 'wsgidav', 'cheroot', 'argon2', 'rich', 'lxml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_group_alone_shows_its_help() -> None:
    for words in ([], ["user"], ["index"], ["user", "app-password"]):
        result = CliRunner().invoke(cli.main, words)
        assert result.exit_code == 2
        assert "Commands:" in result.output


# First start


def test_init_makes_an_admin_once(run: Run, tmp_path: Path) -> None:
    first = run("init").stdout
    password = next(line.split()[1] for line in first.splitlines() if line.startswith("Password:"))
    assert "http://127.0.0.1:8080/dav/" in first
    assert "Password" not in run("init").stdout
    accounts = lines(run("user list"))
    assert [row[:3] for row in accounts[1:]] == [["admin", "admin", "enabled"]]
    assert (tmp_path / "data" / "files" / "admin").is_dir()
    house = open_house(load())
    assert house.sign_in.check("admin", password, HERE).is_admin
    house.close()


def test_a_given_password_is_not_printed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BALUDAV_ADMIN_PASSWORD", "correct horse")
    result = run("init")
    assert "Password" not in result.output
    assert "correct horse" not in result.output


def test_what_is_made_is_nobody_elses(run: Run, tmp_path: Path) -> None:
    run("init")
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path.name}: {mode:o}"


# Users


def test_a_password_from_standard_input(run: Run) -> None:
    result = run("user add anna --password-stdin --quota 10GB --group family --group work", input="pässword é\nx\n")
    assert "pässword" not in result.output
    assert lines(run("user list"))[1][:5] == ["anna", "user", "enabled", "10GB", "family, work"]
    house = open_house(load())
    assert house.sign_in.check("anna", "pässword é", HERE).name == "anna"
    house.close()


def test_without_a_terminal_a_password_is_made(run: Run) -> None:
    password = run("user add anna").stdout.split("Password: ")[1].split()[0]
    changed = run("user passwd anna").stdout.split("Password: ")[1].split()[0]
    house = open_house(load())
    with pytest.raises(NotSignedIn):
        house.sign_in.check("anna", password, HERE)
    assert house.sign_in.check("anna", changed, HERE).name == "anna"
    house.close()


def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    environ = {**os.environ, "BALUDAV_DATA": str(tmp_path / "data"), "BALUDAV_DURABILITY": "fast"}
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(sys.executable, [sys.executable, "-m", "baludav", "user", "add", "anna"], environ)  # noqa: S606 - in the new terminal
    seen = b""
    answers = [(b"Password: ", b"secret\n"), (b"confirmation: ", b"secret\n")]
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the terminal is gone with its process
            break
        if answers and seen.endswith(answers[0][0]):
            os.write(terminal, answers.pop(0)[1])
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, seen
    assert b"Added anna" in seen
    assert b"secret" not in seen


def test_a_change_counts_for_the_running_server_from_the_next_request_on(run: Run) -> None:
    run("user add anna --password-stdin", input="secret\n")
    server = open_house(load())
    assert server.sign_in.check("anna", "secret", HERE).groups == frozenset()
    run("user groups anna family")
    assert server.sign_in.check("anna", "secret", HERE).groups == {"family"}
    run("user quota anna 5MiB")
    assert server.sign_in.check("anna", "secret", HERE).quota == 5 << 20
    phone = run("user app-password add anna phone").stdout.strip()
    assert server.sign_in.check("anna", phone, HERE).name == "anna"
    run("user app-password revoke anna phone")
    with pytest.raises(NotSignedIn):
        server.sign_in.check("anna", phone, HERE)
    run("user disable anna")
    with pytest.raises(NotSignedIn):
        server.sign_in.check("anna", "secret", HERE)
    run("user enable anna")
    assert server.sign_in.check("anna", "secret", HERE).name == "anna"
    run("user delete anna")
    with pytest.raises(NotSignedIn):
        server.sign_in.check("anna", "secret", HERE)
    server.close()


def test_quota_and_groups_are_shown_as_they_are_set(run: Run) -> None:
    run("user add anna")
    assert run("user quota anna").stdout == "anna: default\n"
    for size in ("10GB", "512MiB", "7B", "0B", "1500MB"):
        assert run(f"user quota anna {size}").stdout == f"anna: {size}\n"
    assert run("user quota anna none").stdout == "anna: default\n"
    assert run("user groups anna").stdout == "anna: no groups\n"
    assert run("user groups anna work family").stdout == "anna: family, work\n"
    assert run("user groups anna").stdout == "anna: family, work\n"
    assert run("user groups anna --none").stdout == "anna: no groups\n"


def test_deleting_a_user_leaves_the_files(run: Run, files: Path) -> None:
    run("user add anna")
    (files / "anna" / "letter").write_text("dear")
    assert str(files / "anna") in run("user delete anna").stdout
    assert (files / "anna" / "letter").read_text() == "dear"
    # Whoever gets the name gets the files, so that is said.
    assert "was there before" in run("user add anna").stderr
    assert run("user add ben").stderr == ""


def test_deleting_the_files_has_to_be_confirmed(run: Run, files: Path) -> None:
    run("user add anna")
    (files / "anna" / "letter").write_text("dear")
    assert "--yes" in run("user delete anna --files", status=2).stderr
    assert (files / "anna" / "letter").exists()
    run("user delete anna --files --yes")
    assert not (files / "anna").exists()
    assert lines(run("user list"))[1:] == []
    assert [row[3] for row in lines(run("audit --user anna"))[1:]] == ["user-added", "user-deleted", "home-deleted"]


def test_app_passwords(run: Run) -> None:
    run("user add anna")
    secret = run("user app-password add anna phone").stdout.strip()
    assert len(secret) == 39
    listed = run("user app-password list anna").stdout
    assert "phone" in listed
    assert secret not in listed
    run("user app-password revoke anna phone")
    assert "phone" not in run("user app-password list anna").stdout


def test_devices(run: Run) -> None:
    """Listed with app passwords, and ended by what they are listed as; what is not there is one line and no success."""
    run("user add anna")
    run("user add ben")
    run("user app-password add anna phone")
    server = open_house(load())
    device, token = server.devices.add(server.accounts.get("anna").id, "lap\ttop", "desktop", "token")
    listed = lines(run("device list anna"))
    assert listed[0] == ["device", "type", "name", "since", "last use"]
    assert [row[:3] for row in listed[1:]] == [
        [device.public_id, "desktop", r"lap\ttop"], ["phone", "app password", "phone"],
    ]  # fmt: skip
    assert listed[2][4] == "-"
    assert lines(run("device list ben"))[1:] == []
    assert server.sign_in.check("anna", token, HERE).device_id == device.id
    assert device.public_id in run(f"device end ben {device.public_id}", status=1).stderr
    ended = run(f"device end anna nothing {device.public_id} phone", status=1)
    assert ended.stdout == f"Ended {device.public_id}\nEnded phone\n"
    assert "device list anna" in ended.stderr
    with pytest.raises(NotSignedIn):
        server.sign_in.check("anna", token, HERE)
    assert lines(run("device list anna"))[1:] == []
    assert "nobody" in run("device list nobody", status=1).stderr
    server.close()


# The index


def test_what_to_type_where(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each system's words for this server, and what stands in its way."""
    here = run("connect-info --user alice").stdout
    assert "davfs http://127.0.0.1:8080/dav/ " in here
    assert "Only this machine can reach" in here
    assert "BasicAuthLevel" in here
    monkeypatch.setenv("BALUDAV_HOST", EVERYWHERE)
    monkeypatch.setenv("BALUDAV_TLS", "self-signed")
    own = run("connect-info").stdout
    assert f"davs://USER@{socket.gethostname()}:8080/dav/\n" in own
    assert "data/tls/cert.pem" in own
    assert "BasicAuthLevel" not in own
    behind = run("connect-info --user alice --url https://files.example.org/").stdout
    assert "webdavs://alice@files.example.org/dav/\n" in behind
    assert "cert.pem" not in behind
    run("connect-info --url ftp://files.example.org", status=2)


def test_index_check_and_rebuild(run: Run, files: Path) -> None:
    run("init")
    assert "agrees" in run("index check").stdout
    (files / "admin" / "letter").write_text("dear")
    result = run("index check", status=1)
    assert "home admin: letter: " in result.stdout
    assert "index rebuild" in result.stderr
    assert "1 file " in run("index rebuild").stdout
    assert [row[3] for row in lines(run("audit --kind index-rebuilt"))[1:]] == ["index-rebuilt"]
    assert "agrees" in run("index check").stdout


def test_index_check_deep(run: Run, files: Path) -> None:
    run("init")
    assert "every byte" in run("index check --deep").stdout
    (files / "admin" / "a\u202eb").write_text("dear")
    result = run("index check --deep", status=1)
    assert result.stdout == (
        "home admin: a\\u202eb: on the disk, but not in the index; `baludav index rebuild` takes it in\n"
    )
    assert result.stderr == "baludav: 1 finding; nothing was changed\n"


def test_a_name_on_the_disk_cannot_rewrite_the_screen(run: Run, files: Path) -> None:
    run("init")
    (files / "admin" / "a\u202eb").write_text("dear")
    result = run("index check", status=1)
    assert result.stdout == "home admin: a\\u202eb: on the disk, but not in the index\n"


# What goes wrong


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ("serv", 2, "serv"),
        ("user add", 2, "NAME"),
        ("user add anna --quota 10XB", 2, "10GB"),
        ("user add a/b", 1, "letters"),
        ("user add anna --group @x", 1, "group name"),
        ("user quota nobody 1GB", 1, "There is no user 'nobody'"),
        ("user passwd nobody", 1, "user list"),
        ("user groups nobody --none x", 2, "either"),
        ("user app-password revoke nobody phone", 1, "nobody"),
        ("serve --port 99999", 2, "--port"),
        ("serve --tls yes", 2, "self-signed"),
        ("serve --host 0.0.0.0", 1, "--tls self-signed"),
        ("serve --host 192.0.2.1", 1, "allow_plain_http"),
        ("serve --host ::", 1, "ssl_certificate"),
        ("--config nowhere.yaml init", 1, "--config"),
        ("--config nowhere.yaml config check", 1, "nowhere.yaml"),
    ],
)
def test_errors_are_one_line(run: Run, words: str, status: int, told: str) -> None:
    result = run(words, status=status)
    assert told in result.stderr
    assert result.stderr.startswith("baludav: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_an_empty_password_is_refused(run: Run) -> None:
    for text in ("", "\n"):
        assert "first line" in run("user add anna --password-stdin", status=2, input=text).stderr
    assert lines(run("user list"))[1:] == []


def test_a_user_without_a_home_is_not_left_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    from baludav.tree.tree import Tree

    def broken(self: Tree, name: str) -> None:
        raise PermissionError(13, "Permission denied", "files/anna")

    monkeypatch.setattr(Tree, "create_home", broken)
    assert "files/anna: permission denied" in run("user add anna", status=1).stderr
    assert [row[0] for row in lines(run("user list"))[1:]] == ["admin"]


def test_a_data_folder_that_cannot_be_used(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BALUDAV_DATA", str(tmp_path / "file"))
    result = run("init", status=1)
    assert "BALUDAV_DATA" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_port_in_use(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(f"serve --port {taken.getsockname()[1]}", status=1)
    assert "another program uses this port" in result.stderr
    assert "Password:" in result.stdout  # of the first start; it could not be learned any more


def test_a_mistake_of_ours_is_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Accounts) -> None:
        raise ValueError("never expected")

    monkeypatch.setattr(Accounts, "list", broken)
    assert isinstance(CliRunner().invoke(cli.main, ["user", "list"]).exception, ValueError)


# The configuration


def test_config_check(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wsgidav.yaml").write_text(
        "port: 8081\nbaludav:\n  shares:\n    photos: {folder: nowhere, read: ['@family']}\n"
    )
    result = run("config check")
    assert "nothing is wrong" in result.stdout
    assert "http://127.0.0.1:8081/dav/" in result.stdout
    assert "share photos" in result.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot: 1", "wsgidav.yaml:1: prot"),
        ("baludav:\n  wrokers: 1", "wsgidav.yaml:2: baludav.wrokers"),
        ("baludav:\n  log_level: loud", "wsgidav.yaml:2: baludav.log_level"),
        ("baludav:\n  trusted_proxies: [nginx]", "trusted_proxies: 'nginx'"),
        ("baludav:\n  offload: /baludav", "offload: name the proxy"),
        ("host: 0.0.0.0", "allow_plain_http"),
        ("ssl_certificate: a\nssl_private_key: b", "/a: No such file"),
        (": {", "is not YAML"),
    ],
)
def test_config_check_names_the_place(run: Run, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "wsgidav.yaml").write_text(text)
    assert told in run("config check", status=1).stderr


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), (EVERYWHERE, False),
     ("::", False), ("", False), ("192.168.1.2", False), ("nas.local", False), ("localhost.evil.org", False)],
)  # fmt: skip
def test_which_addresses_are_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "http://127.0.0.1:8080/dav/"),
        ({"BALUDAV_PORT": "80"}, "http://127.0.0.1/dav/"),
        ({"BALUDAV_HOST": "::1", "BALUDAV_PORT": "443", "BALUDAV_TLS": "self-signed"}, "https://[::1]/dav/"),
        ({"BALUDAV_HOST": EVERYWHERE}, "http://localhost:8080/dav/"),
    ],
)
def test_the_address_as_a_person_would_type_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert url(load(environ=environ)) == expected


# The audit trail


def test_audit(run: Run) -> None:
    run("user add anna --password-stdin --group family", input="secret\n")
    run("user add ben --password-stdin", input="secret\n")
    run("user disable ben")
    head, *rows = lines(run("audit --user ben"))
    assert head[3:5] == ["what", "user"]
    assert [row[3] for row in rows] == ["user-added", "user-disabled"]
    assert rows[1][-1].startswith("baludav user disable (")
    assert [row[4] for row in lines(run("audit --kind user-added"))[1:]] == ["anna", "ben"]
    assert [row[3] for row in lines(run("audit --since 1h --kind user-disabled"))[1:]] == ["user-disabled"]
    assert lines(run("audit --since 2999-01-01"))[1:] == []
    assert lines(run("audit --address 0.0.0.0/0"))[1:] == []


def test_audit_for_programs(run: Run) -> None:
    run("user add anna --password-stdin --group family", input="secret\n")
    (event,) = map(json.loads, run("audit --json").stdout.splitlines())
    assert list(event) == [
        "kind", "user", "device", "address", "client", "path", "detail", "times", "first_at", "last_at"
    ]  # fmt: skip
    assert (event["kind"], event["user"], event["detail"]) == ("user-added", "anna", "groups family")
    assert event["first_at"] == event["last_at"]
    assert datetime.fromisoformat(event["last_at"]).tzinfo is not None


def test_audit_of_a_restored_index(run: Run) -> None:
    run("init")
    run("index restored")
    (event,) = map(json.loads, run("audit --json --kind index-restored").stdout.splitlines())
    assert event["client"].startswith("baludav index restored (")


@pytest.mark.parametrize("words", ["--kind nonsense", "--since yesterday", "--address here"])
def test_audit_asked_wrongly(run: Run, words: str) -> None:
    assert words.split()[1] in run(f"audit {words}", status=2).stderr
