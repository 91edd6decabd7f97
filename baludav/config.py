"""Reads `wsgidav.yaml`, the one configuration file, and names what is wrong in it by its line.

The file holds WsgiDAV's own keys with their usual meaning and a `baludav:` section. The environment overrides
it: `BALUDAV_HOST` and `BALUDAV_PORT`, and `BALUDAV_<KEY>` for each key of the section.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

DEFAULT_FILE = Path("wsgidav.yaml")
X_SENDFILE = "x-sendfile"
ADMIN_PASSWORD = "BALUDAV_ADMIN_PASSWORD"  # noqa: S105 - the variable's name; read on the first start only

Seconds = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]

# What WsgiDAV 4.4 itself reads; a top-level key outside this list is a mistake worth naming.
_WSGIDAV_KEYS = frozenset(
    """server server_args host port mount_path provider_mapping fs_dav_provider honor_mtime_header
    add_header_MS_Author_Via default_charset hotfixes property_manager mutable_live_props lock_storage
    middleware_stack http_authenticator simple_dc verbose suppress_version_info logging dir_browser cors
    ssl_certificate ssl_private_key ssl_certificate_chain ssl_adapter nt_dc pam_dc""".split()
)
_OFFLOAD = re.compile(rf"|{X_SENDFILE}|(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+")
# As a browser writes it into `Origin` (RFC 6454 §6.2): lower case, without a path. Neither `*` nor `null`.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@,;*A-Z]+")
_UNITS = {"": 1, "B": 1, **{f"{p}{s}": 1000**n for n, p in enumerate("KMGT", 1) for s in ("", "B")},
          **{f"{p}iB": 1024**n for n, p in enumerate("KMGT", 1)}}  # fmt: skip


_STRUCTURED = (
    "checksums",
    "cors_origins",
    "limits",
    "refused_names",
    "shares",
    "trusted_proxies",
)  # keys whose value is a list or a mapping


class ConfigError(ValueError):
    """The configuration is wrong; the message names the place and what to do."""


class Share(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A folder offered to several users, as `baludav.shares.NAME`.

    `read` and `write` list user names and `@group`s; who may write may read.
    """

    folder: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How much one client, or all of them, may ask for: `baludav.limits`; each key is documented in `wsgidav.yaml`.

    Sizes are bytes here, whatever they were written as.
    """

    request_line: Annotated[int, msgspec.Meta(ge=1024, le=64 << 10)] = 16 << 10
    headers: Annotated[int, msgspec.Meta(ge=4096, le=1 << 20)] = 64 << 10
    xml_body: Annotated[int, msgspec.Meta(ge=4096, le=256 << 20)] = 1 << 20
    upload: Annotated[int, msgspec.Meta(ge=0)] | None = None
    path_depth: Annotated[int, msgspec.Meta(ge=1, le=200)] = 200
    name_bytes: Annotated[int, msgspec.Meta(ge=1, le=255)] = 255
    listing: Annotated[int, msgspec.Meta(ge=0)] = 20_000
    properties: Count = 200
    properties_total: Count = 5_000_000
    locks: Count = 1_000
    lock_seconds: Seconds = 86_400
    devices: Count = 100
    listeners: Count = 1_000
    listeners_total: Count = 2_000
    uploads: Count = 100
    unfinished_uploads: Count = 200
    requests_per_user: Annotated[int, msgspec.Meta(ge=0)] = 0
    requests_per_address: Annotated[int, msgspec.Meta(ge=0)] = 0
    keep_alive_seconds: Seconds = 75
    head_seconds: Seconds = 20
    body_seconds: Seconds = 60
    transfer_rate: Annotated[int, msgspec.Meta(ge=0)] = 100


_SIZES = frozenset(("request_line", "headers", "xml_body", "upload"))


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The `baludav:` section; each key is documented in `wsgidav.yaml`."""

    data: str = "./data"
    run_as: str = ""
    durability: Literal["safe", "fast"] = "safe"
    workers: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    shares: dict[str, Share] = {}
    homes: str = "homes"
    default_quota: str = ""
    tls: Literal["off", "self-signed"] = "off"
    hsts_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 0
    allow_plain_http: bool = False
    trusted_proxies: tuple[str, ...] = ()
    offload: str = ""
    mdns: bool = True
    cors_origins: tuple[str, ...] = ()
    refused_names: tuple[str, ...] = ()
    scan_minutes: Annotated[int, msgspec.Meta(ge=1)] = 15
    journal_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 90
    history_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 30
    history_versions: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 20
    history_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50
    audit_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)] = 180
    checksums: tuple[Literal["sha1", "md5"], ...] = ("sha1", "md5")
    bulk_upload: bool = False
    graceful_seconds: Seconds = 30
    hot_lane: bool = True
    metrics_token: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    limits: Limits = Limits()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One read of the configuration.

    Attributes:
        wsgidav: WsgiDAV's own keys, as its application takes them.
        folder: the data folder, absolute.
        file: where it was read from, None for the defaults.
    """

    host: str
    port: int
    settings: Settings
    wsgidav: dict[str, Any]
    folder: Path
    file: Path | None
    certificate: str | None = None
    private_key: str | None = None
    certificate_chain: str | None = None

    @property
    def workers(self) -> int:
        """Number of worker processes; the default is one for each core this process may use."""
        return self.settings.workers or len(os.sched_getaffinity(0))

    @property
    def is_encrypted(self) -> bool:
        return bool(self.certificate) or self.settings.tls == "self-signed"


def parse_size(text: str) -> int | None:
    """Bytes in `10GB`, `512MiB` or `1000`; None for an empty text or `none`, meaning no limit."""
    if text.strip().lower() in ("", "none"):
        return None
    match = re.fullmatch(r"\s*(\d{1,15})(?:\.(\d{1,3}))?\s*([A-Za-z]*)\s*", text)
    units = {unit.lower(): size for unit, size in _UNITS.items()}
    if not match or match[3].lower() not in units:
        raise ConfigError(f"{text!r} is no size; write for example 10GB or 512MiB")
    return (
        int(float(f"{match[1]}.{match[2] or 0}") * units[match[3].lower()])
        if match[2]
        else (int(match[1]) * units[match[3].lower()])
    )


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration file and what the environment overrides.

    Args:
        file: defaults to `wsgidav.yaml` in the current folder, and to the built-in values without one.

    Raises:
        ConfigError: names the file, the line and the key.
    """
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    raw, lines = _read(file) if file else ({}, {})
    return build(raw, environ, file=file, lines=lines)


def build(
    raw: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    *,
    file: Path | None = None,
    lines: Mapping[str, int] | None = None,
) -> Config:
    """Make a Config of keys already read, such as those of stock WsgiDAV's own configuration."""

    def place(key: str) -> str:
        line = (lines or {}).get(key)
        return f"{file or 'configuration'}:{line}: {key}" if line else f"{file or 'configuration'}: {key}"

    section = raw.get("baludav") or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{place('baludav')}: must hold keys and values")
    settings = _settings(section, environ, place)
    host = environ.get("BALUDAV_HOST") or raw.get("host") or "127.0.0.1"
    port = environ.get("BALUDAV_PORT") or raw.get("port") or 8080
    try:
        port = int(port)
        if not 0 <= port <= 65535:
            raise ValueError
    except (TypeError, ValueError):
        raise ConfigError(f"{_origin('BALUDAV_PORT', environ, place('port'))}: {port!r} is no port") from None
    if not isinstance(host, str):
        raise ConfigError(f"{place('host')}: {host!r} is no host name or address")
    base = file.resolve().parent if file else Path.cwd()
    # A path from the environment is meant from where the user stands, one in the file from where the file is.
    start = Path.cwd() if environ.get("BALUDAV_DATA") else base
    certificates = {
        name: str(base / raw[key]) if raw.get(key) else None
        for name, key in (
            ("certificate", "ssl_certificate"),
            ("private_key", "ssl_private_key"),
            ("certificate_chain", "ssl_certificate_chain"),
        )
    }
    if certificates["certificate"] and not certificates["private_key"]:
        raise ConfigError(f"{place('ssl_certificate')}: needs ssl_private_key beside it")
    return Config(
        host=host, port=port, settings=settings, wsgidav={k: v for k, v in raw.items() if k != "baludav"},
        folder=(start / Path(settings.data).expanduser()).resolve(), file=file, **certificates,
    )  # fmt: skip


def _settings(section: Mapping[str, Any], environ: Mapping[str, str], place: Callable[[str], str]) -> Settings:
    fields = {field.name: field for field in msgspec.structs.fields(Settings)}
    _require_known(section, fields, lambda key: place(f"baludav.{key}"))
    merged: dict[str, Any] = {key: value for key, value in section.items() if value is not None}
    for key in fields:
        name = f"BALUDAV_{key.upper()}"
        if environ.get(name):
            merged[key] = _from_environ(name, environ[name], is_text=key not in _STRUCTURED)

    def where(key: str) -> str:
        return _origin(f"BALUDAV_{key.upper()}", environ, place(f"baludav.{key}"))

    for key, value in merged.items():
        if key == "limits":
            merged[key] = _limits(value, where(key), lambda name: _origin("BALUDAV_LIMITS", environ, place(name)))
            continue
        try:
            msgspec.convert(value, fields[key].type, strict=False)
            if key == "default_quota":
                parse_size(str(value))
                merged[key] = str(value)
        except (msgspec.ValidationError, ConfigError) as error:
            raise ConfigError(f"{where(key)}: {error}") from error
    settings = msgspec.convert(merged, Settings, strict=False)
    _check(settings, where)
    return settings


def _limits(given: Any, whole: str, place: Callable[[str], str]) -> Limits:
    """The limits; the place of each that is wrong is named."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{whole}: must hold keys and values")
    fields = {field.name: field for field in msgspec.structs.fields(Limits)}

    def where(key: str) -> str:
        found = place(f"baludav.limits.{key}")
        return f"{found}: {key}" if found == "BALUDAV_LIMITS" else found

    _require_known(given, fields, where)
    found: dict[str, Any] = {}
    for key, value in given.items():
        try:
            if value is not None:
                number = parse_size(str(value)) if key in _SIZES else value
                found[key] = msgspec.convert(number, fields[key].type, strict=False)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{where(key)}: {_in_words(error, value)}") from error
        except ConfigError as error:
            raise ConfigError(f"{where(key)}: {error}") from error
    return Limits(**found)


def _in_words(error: msgspec.ValidationError, value: object) -> str:
    """What is wrong with a number, for who does not program."""
    text = str(error)
    bound = re.fullmatch(r"Expected `int(?: \| null)?` (>=|<=) (\d+)", text)
    if bound:
        what, end = ("small", "least") if bound[1] == ">=" else ("large", "most")
        return f"{value!r} is too {what}; {bound[2]} is the {end}"
    return f"{value!r} is no number" if text.startswith("Expected `int") else text


def _require_known(given: Mapping[str, Any], known: Mapping[str, Any], where: Callable[[str], str]) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(f"{where(key)}: unknown key; known are {', '.join(known)}")


def _check(settings: Settings, where: Callable[[str], str]) -> None:
    """What the types of the settings cannot say."""
    for name in (settings.homes, *settings.shares):
        if not name or "/" in name or name in (".", "..", ".baludav") or len(name.encode()) > 255:
            raise ConfigError(f"{where('shares')}: {name!r} cannot be the name of a collection")
    if settings.homes in settings.shares:
        raise ConfigError(f"{where('homes')}: {settings.homes!r} is also the name of a share")
    if not _OFFLOAD.fullmatch(settings.offload):
        raise ConfigError(f"{where('offload')}: {settings.offload!r} is neither a path such as /baludav nor x-sendfile")
    for origin in settings.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(f"{where('cors_origins')}: {origin!r} is no origin; write for example https://a.example")


def _from_environ(name: str, value: str, *, is_text: bool) -> Any:
    """Lists and mappings are given as JSON; everything else is the text itself."""
    if is_text:
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{name}: must be JSON ({error})") from error


def _origin(name: str, environ: Mapping[str, str], otherwise: str) -> str:
    return name if environ.get(name) else otherwise


def _read(file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The file's keys, and the line each stands on, by dotted key."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); name it with --config") from error
    try:
        raw = yaml.safe_load(text) or {}
        lines = _lines(yaml.compose(text, yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{file}{line}: is not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}:1: must hold keys and values")
    for key in raw:
        if key != "baludav" and key not in _WSGIDAV_KEYS:
            raise ConfigError(f"{file}:{lines[str(key)]}: {key}: unknown key")
    return raw, lines


def _lines(node: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    lines: dict[str, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            lines[name] = key.start_mark.line + 1
            lines |= _lines(value, f"{name}.")
    return lines
