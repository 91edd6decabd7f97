"""cadaver, driven by a script as people type it."""

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tests.serving import Server


def test_a_session(server: Server, folder: str, tmp_path: Path) -> None:
    """Upload, copy, move, properties, lock and unlock, download and delete leave just what they should."""
    name, password = server.auth("alice")
    netrc = tmp_path / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login {name} password {password.replace(' ', '')}\n")
    netrc.chmod(0o600)
    (tmp_path / "up.bin").write_bytes(bytes(range(256)) * 1000)
    script = """\
        put up.bin
        mkcol sub
        copy up.bin sub/copied.bin
        move up.bin moved.bin
        propset moved.bin colour green
        propget moved.bin colour
        lock moved.bin
        unlock moved.bin
        get sub/copied.bin down.bin
        delete moved.bin
        ls
        quit
        """
    ran = subprocess.run(
        ["cadaver", f"{folder}/"], input="\n".join(map(str.strip, script.splitlines())) + "\n", cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert "failed" not in said.lower(), said
    assert "green" in said
    assert (tmp_path / "down.bin").read_bytes() == (tmp_path / "up.bin").read_bytes()
    on_disk = server.home("alice") / urlsplit(folder).path.removeprefix("/dav/").strip("/")
    left = {path.relative_to(on_disk).as_posix() for path in on_disk.rglob("*")}
    assert left == {"sub", "sub/copied.bin"}
