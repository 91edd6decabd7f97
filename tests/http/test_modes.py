"""What the server creates is for nobody else's eyes, unless its folder says otherwise."""

import os
import stat
from pathlib import Path

import requests

from tests.http.client import User
from tests.serving import Server

SECONDS = 60


def _use(user: User, top: str) -> None:
    """Leave behind one of everything: files, folders, copies, versions, trash, unfinished uploads."""
    assert user("MKCOL", f"{top}/d").status_code == 201
    assert user.put(f"{top}/d/small", b"x").status_code == 201
    assert user.put(f"{top}/d/small", b"y").status_code == 204
    assert user.put(f"{top}/large", b"x" * 400_000).status_code == 201
    assert user("COPY", f"{top}/d", Destination=f"{top}/copied").status_code == 201
    assert user("COPY", f"{top}/large", Destination=f"{top}/d/large").status_code == 201
    assert user("DELETE", f"{top}/copied").status_code == 204
    assert user("MKCOL", f"{top}/copied").status_code == 201


def _modes(folder: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}


def test_files_and_folders(tmp_path: Path) -> None:
    """Files 0600 and folders 0700 in the data folder, whatever the umask; in a share as the share has it, group too."""
    share = tmp_path / "share"
    share.mkdir()
    share.chmod(0o2770)
    group = next((one for one in os.getgroups() if one != os.getgid()), os.getgid())
    os.chown(share, -1, group)
    under = ("sh", "-c", 'umask 0 && exec "$@"', "sh")
    shares = {"pub": {"folder": str(share), "write": ["anna"]}}
    with Server(tmp_path / "data", under=under, shares=shares) as server:
        server.add_user("anna")
        anna = User(server, "anna")
        for top in ("", "/pub"):
            _use(anna, top)
        tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": "filename eA=="}
        begun = requests.post(f"{server.url}/uploads/", headers=tus, auth=server.auth("anna"), timeout=SECONDS)
        assert begun.status_code == 201
        for path, mode in _modes(server.data).items():
            assert mode == (0o700 if path.is_dir() else 0o600), f"{path}: {mode:o}"
        served = [share / name for name in ("d", "d/small", "d/large", "large", "copied")]
        modes = _modes(share)
        for path in served:
            assert modes[path] & 0o777 == (0o770 if path.is_dir() else 0o660), f"{path}: {modes[path]:o}"
            assert path.stat().st_gid == group
        hidden = {path: mode for path, mode in modes.items() if ".baludav" in path.parts and path.is_dir()}
        assert hidden
        assert all(mode & 0o007 == 0 for mode in hidden.values()), hidden
