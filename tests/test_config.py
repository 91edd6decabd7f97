"""The configuration file: what is read, what overrides it, and that each mistake is named with its place."""

import os
import re
import shutil
from pathlib import Path

import msgspec
import pytest
import yaml

from baludav.config import _WSGIDAV_KEYS, ConfigError, Limits, Settings, build, load, parse_size

FILE = Path(__file__).resolve().parent.parent / "wsgidav.yaml"
TEXT = FILE.read_text(encoding="utf-8")
KEYS = [field.name for field in msgspec.structs.fields(Settings)]
LIMITS = [field.name for field in msgspec.structs.fields(Limits)]


# The file that comes with the project


def test_every_key_is_in_the_file() -> None:
    raw = yaml.safe_load(TEXT)
    assert list(raw["baludav"]) == KEYS
    assert list(raw["baludav"]["limits"]) == LIMITS
    assert set(raw) - {"baludav"} <= _WSGIDAV_KEYS


def test_every_key_is_explained() -> None:
    """A comment stands before each key, on the same level."""
    for indent, keys in (("", set(yaml.safe_load(TEXT)) - {"baludav"}), ("  ", set(KEYS)), ("    ", set(LIMITS))):
        for key in keys:
            assert re.search(rf"^{indent}# .+\n{indent}{key}:", TEXT, re.MULTILINE), key


def test_the_file_says_the_defaults() -> None:
    assert load(FILE, {}).settings == Settings()
    assert load(FILE, {}).settings == build({}, {}).settings
    assert (load(FILE, {}).host, load(FILE, {}).port) == (build({}, {}).host, build({}, {}).port)


def test_what_is_commented_out_can_be_used(tmp_path: Path) -> None:
    text = re.sub(r"^  shares: \{\}\n", "  shares:\n", TEXT, flags=re.MULTILINE)
    text = re.sub(r"^(  )#   (  )?(?=photos:|folder:|read:|write:)", r"\1  \2", text, flags=re.MULTILINE)
    text = re.sub(r"^# (?=ssl_)", "", text, flags=re.MULTILINE)
    file = tmp_path / "wsgidav.yaml"
    file.write_text(text)
    config = load(file, {})
    share = config.settings.shares["photos"]
    assert (share.folder, share.read, share.write) == ("/srv/photos", ("@family",), ("anna",))
    assert config.certificate == "/etc/ssl/certs/nas.pem"
    assert config.private_key == "/etc/ssl/private/nas.key"
    assert config.is_encrypted


# Where values come from


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(environ={})
    assert (config.host, config.port, config.file) == ("127.0.0.1", 8080, None)
    assert config.folder == tmp_path / "data"
    assert config.workers == len(os.sched_getaffinity(0))
    assert not config.is_encrypted


def test_the_file_in_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(FILE, tmp_path)
    monkeypatch.chdir(tmp_path)
    config = load(environ={})
    assert config.file == Path("wsgidav.yaml")
    assert config.wsgidav["middleware_stack"][0] == "providers.front.Front"
    assert "baludav" not in config.wsgidav


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("BALUDAV_DURABILITY", "fast", "durability", "fast"),
        ("BALUDAV_WORKERS", "3", "workers", 3),
        ("BALUDAV_ALLOW_PLAIN_HTTP", "true", "allow_plain_http", True),
        ("BALUDAV_TRUSTED_PROXIES", '["10.0.0.0/8"]', "trusted_proxies", ("10.0.0.0/8",)),
        ("BALUDAV_DEFAULT_QUOTA", "10GB", "default_quota", "10GB"),
        ("BALUDAV_TLS", "self-signed", "tls", "self-signed"),
        ("BALUDAV_LOG_LEVEL", "debug", "log_level", "debug"),
    ],
)
def test_the_environment_overrides_the_file(name: str, value: str, key: str, expected: object) -> None:
    assert getattr(load(FILE, {name: value}).settings, key) == expected


def test_limits_from_the_environment() -> None:
    """They take the place of the section; a mistake is traced to the variable and the key."""
    given = {"BALUDAV_LIMITS": '{"upload": "2MB", "name_bytes": 100}'}
    assert load(FILE, given).settings.limits == Limits(upload=2_000_000, name_bytes=100)
    for value, told in (('{"locks": 0}', "locks: 0 is too "), ('{"lcks": 1}', "lcks: unknown"), ("1", "must hold")):
        with pytest.raises(ConfigError, match=rf"^BALUDAV_LIMITS: {told}"):
            load(FILE, {"BALUDAV_LIMITS": value})


def test_every_key_has_its_variable() -> None:
    """A wrong value is traced to the variable, so it was read from there."""
    for key in KEYS:
        if Settings.__annotations__[key] is str:
            continue  # anything is a text
        with pytest.raises(ConfigError, match=rf"^BALUDAV_{key.upper()}: "):
            load(FILE, {f"BALUDAV_{key.upper()}": "\N{SNOWMAN}"})


def test_host_and_port_from_the_environment() -> None:
    config = load(FILE, {"BALUDAV_HOST": "::1", "BALUDAV_PORT": "9000"})
    assert (config.host, config.port) == ("::1", 9000)
    with pytest.raises(ConfigError, match="BALUDAV_PORT: 'x' is no port"):
        load(FILE, {"BALUDAV_PORT": "x"})


def test_paths_are_meant_from_where_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc" / "wsgidav.yaml"
    file.write_text("ssl_certificate: a.pem\nssl_private_key: /b.pem\nbaludav: {data: here}\n")
    monkeypatch.chdir(tmp_path)
    config = load(Path("etc/wsgidav.yaml"), {})
    assert config.folder == tmp_path / "etc" / "here"
    assert config.certificate == str(tmp_path / "etc" / "a.pem")
    assert config.private_key == "/b.pem"
    assert load(file, {"BALUDAV_DATA": "there"}).folder == tmp_path / "there"


# Mistakes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot: 1", r":1: prot: unknown key"),
        ("port: 8080\nbaludav:\n  dta: x", r":3: baludav.dta: unknown key; known are data, "),
        ("port: 70000", r":1: port: 70000 is no port"),
        ("port: http", r":1: port: 'http' is no port"),
        ("host: [1]", r":1: host: "),
        ("baludav: 3", r":1: baludav: must hold keys"),
        ("baludav:\n  durability: maybe", r":2: baludav.durability: "),
        ("baludav:\n  workers: -1", r":2: baludav.workers: "),
        ("baludav:\n  workers: many", r":2: baludav.workers: "),
        ("baludav:\n  graceful_seconds: 0", r":2: baludav.graceful_seconds: "),
        ("baludav:\n  limits: 3", r":2: baludav.limits: must hold keys"),
        ("baludav:\n  limits:\n    lcks: 3", r":3: baludav.limits.lcks: unknown key; known are request_line, "),
        ("baludav:\n  limits:\n    locks: 0", r":3: baludav.limits.locks: 0 is too small; 1 is the least$"),
        ("baludav:\n  limits:\n    locks: many", r":3: baludav.limits.locks: 'many' is no number$"),
        ("baludav:\n  limits: {name_bytes: 256}", r":2: baludav.limits.name_bytes: 256 is too large; 255 is the most$"),
        ("baludav:\n  limits: {headers: 1KiB}", r":2: baludav.limits.headers: '1KiB' is too small; 4096 is the least$"),
        ("baludav:\n  limits: {upload: 5 apples}", r":2: baludav.limits.upload: '5 apples' is no size; write for"),
        ("baludav:\n  shares:\n    photos: {path: /x}", r":2: baludav.shares: .*unknown field `path`"),
        ("baludav:\n  shares:\n    a/b: {folder: /x}", r"'a/b' cannot be the name"),
        ("baludav:\n  shares:\n    homes: {folder: /x}", r"'homes' is also the name of a share"),
        (
            "baludav:\n  offload: baludav",
            r":2: baludav.offload: 'baludav' is neither a path such as /baludav nor x-sendfile",
        ),
        ("baludav:\n  offload: /a/../b", r":2: baludav.offload: "),
        ("baludav:\n  offload: /", r":2: baludav.offload: "),
        ("ssl_certificate: a.pem", r":1: ssl_certificate: needs ssl_private_key"),
        ("a: [", r" is not YAML"),
        ("- a", r":1: must hold keys and values"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "wsgidav.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told) as error:
        load(file, {})
    assert "wsgidav.yaml" in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("none", None), ("None", None), ("0", 0), ("1000", 1000), ("7B", 7), ("10KB", 10_000), ("10K", 10_000),
     ("10GB", 10**10), ("10 gb", 10**10), ("512MiB", 512 << 20), ("1TiB", 1 << 40), ("1.5GB", 1_500_000_000),
     ("1.5GiB", 3 << 29)],
)  # fmt: skip
def test_sizes(text: str, expected: int | None) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["GB", "10XB", "-1", "1e9", "10GB10", "1,5GB", "٣x", "9" * 30])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigError, match="10GB"):
        parse_size(text)
