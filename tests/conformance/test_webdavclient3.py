"""webdavclient3, the library that Python programs use."""

from pathlib import Path
from urllib.parse import urlsplit

from webdav3.client import Client

from tests.serving import Server


def test_a_program(server: Server, folder: str, tmp_path: Path) -> None:
    """Folders go up and down with equal bytes; copy, move, properties, free space and deletion work."""
    name, password = server.auth("alice")
    top = urlsplit(folder).path.rstrip("/")
    client = Client({"webdav_hostname": server.url, "webdav_login": name, "webdav_password": password,
                     "webdav_root": top})  # fmt: skip
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "a b.txt").write_bytes(b"one")
    (source / "inner" / "ü.bin").write_bytes(bytes(range(256)) * 300)

    client.mkdir("up")
    client.upload_sync("up", str(source))
    assert client.check("up/inner/ü.bin")
    assert "a b.txt" in client.list("up")
    client.copy("up/a b.txt", "copied.txt")
    client.move("copied.txt", "moved.txt", overwrite=True)
    assert not client.check("copied.txt")
    assert client.info("moved.txt")["size"] == "3"
    assert client.is_dir("up")
    client.set_property("moved.txt", {"namespace": "urn:test", "name": "colour", "value": "green"})
    assert client.get_property("moved.txt", {"namespace": "urn:test", "name": "colour"}) == "green"
    assert int(client.free()) > 0

    down = tmp_path / "down"
    client.download_sync("up", str(down))
    assert (down / "a b.txt").read_bytes() == b"one"
    assert (down / "inner" / "ü.bin").read_bytes() == (source / "inner" / "ü.bin").read_bytes()
    client.clean("up")
    assert not client.check("up")
