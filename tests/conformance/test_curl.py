"""curl does what people script with it: uploads of every kind, resumed downloads, conditions, renames."""

import hashlib
import subprocess
from pathlib import Path

from tests.serving import Server


def curl(server: Server, *arguments: str, given: bytes = b"") -> tuple[int, bytes]:
    """Status and body of one request as alice."""
    name, password = server.auth("alice")
    ran = subprocess.run(
        ["curl", "--silent", "--show-error", "--user", f"{name}:{password}", "--max-time", "60",
         "--write-out", "\\n%{http_code}", *arguments],
        input=given, capture_output=True, timeout=90, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr.decode()
    body, _, status = ran.stdout.rpartition(b"\n")
    return int(status), body


def test_uploads_with_expect_and_in_chunks(server: Server, folder: str, tmp_path: Path) -> None:
    """A large file waits for 100 Continue, a stream of unknown length comes in chunks; both arrive whole."""
    data = bytes(range(256)) * 12_000
    file = tmp_path / "large"
    file.write_bytes(data)
    assert curl(server, "--upload-file", str(file), "-H", "Expect: 100-continue", f"{folder}/large")[0] == 201
    assert curl(server, "--upload-file", "-", f"{folder}/stream", given=data)[0] == 201
    for name in ("large", "stream"):
        assert curl(server, f"{folder}/{name}") == (200, data)


def test_http2_is_not_forced(server: Server, folder: str, tmp_path: Path) -> None:
    """curl that offers HTTP/2 gets HTTP/1.1, with and without a body."""
    file = tmp_path / "file"
    file.write_bytes(b"body" * 50_000)
    assert curl(server, "--http2", "--upload-file", str(file), f"{folder}/file")[0] == 201
    assert curl(server, "--http2", f"{folder}/file") == (200, file.read_bytes())


def test_downloads_resume_and_take_parts(server: Server, folder: str, tmp_path: Path) -> None:
    """A download that broke off goes on where it stopped; a range gives just that range."""
    data = hashlib.sha256(b"seed").digest() * 10_000
    assert curl(server, "--upload-file", "-", f"{folder}/file", given=data)[0] == 201
    part = tmp_path / "part"
    part.write_bytes(data[:1234])
    assert curl(server, "-C", "-", "--output", str(part), f"{folder}/file")[0] == 206
    assert part.read_bytes() == data
    assert curl(server, "--range", "100-199", f"{folder}/file") == (206, data[100:200])


def test_conditions_protect_a_file(server: Server, folder: str) -> None:
    """A PUT with an old entity-tag is refused and changes nothing; one with the present tag goes through."""
    old = hashlib.sha256(b"one").hexdigest()
    assert curl(server, "--upload-file", "-", f"{folder}/file", given=b"one")[0] == 201
    assert curl(server, "--upload-file", "-", "-H", f'If-Match: "{old}"', f"{folder}/file", given=b"two")[0] == 204
    assert curl(server, "--upload-file", "-", "-H", f'If-Match: "{old}"', f"{folder}/file", given=b"three")[0] == 412
    assert curl(server, f"{folder}/file") == (200, b"two")


def test_copies_moves_and_deletes(server: Server, folder: str) -> None:
    """COPY, MOVE and DELETE by hand."""
    assert curl(server, "--upload-file", "-", f"{folder}/a", given=b"bytes")[0] == 201
    assert curl(server, "-X", "COPY", "-H", f"Destination: {folder}/b%20c", f"{folder}/a")[0] == 201
    assert curl(server, "-X", "MOVE", "-H", f"Destination: {folder}/d", f"{folder}/a")[0] == 201
    assert curl(server, f"{folder}/a")[0] == 404
    assert curl(server, f"{folder}/b%20c") == curl(server, f"{folder}/d") == (200, b"bytes")
    assert curl(server, "-X", "DELETE", f"{folder}/d")[0] == 204
