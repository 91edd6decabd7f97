"""The Open Collaboration Services that sync clients ask before they sync: capabilities, and who signed in.

Answers are wrapped in an envelope, as XML or, when the query says so, as JSON. Version 1 says 100 for success and
always answers 200; version 2 uses the numbers of HTTP.
"""

from typing import Any

from baludav.accounts.accounts import Principal
from baludav.config import Settings
from baludav.errors import NotFound
from providers import xml
from providers.cloud.call import Call, json_answer, text_answer
from providers.cloud.status import PRODUCT, STATUS, VERSION
from providers.request import Answer

_POLL_MILLISECONDS = 15_000  # a poll of the root's ETag costs next to nothing here


def ocs(call: Call) -> Answer:
    """Answer a request below `/ocs`."""
    version, *rest = call.path or ("",)
    is_second = version == "v2.php"
    if version not in ("v1.php", "v2.php"):
        raise NotFound()
    principal = call.principal
    data: dict[str, Any] | None
    match call.method, *rest:
        case "GET", "cloud", "capabilities":
            data = _capabilities(call.house.config.settings)
        case "GET", "cloud", "user":
            data = _user(call, principal)
        case "GET", "cloud", "users", name if name == principal.name:
            data = _user(call, principal)
        case "DELETE", "core", "apppassword" if principal.device_id is not None:
            data = None
            _remove_device(call, principal, principal.device_id)
        case _:
            return _answer(call, None, 404 if is_second else 998, "There is no such service", 404 if is_second else 200)
    return _answer(call, data, 200 if is_second else 100)


def _answer(call: Call, data: Any, code: int, message: str = "OK", status: int = 200) -> Answer:
    meta = {"status": "ok" if code in (100, 200) else "failure", "statuscode": code, "message": message}
    envelope = {"ocs": {"meta": meta, "data": [] if data is None else data}}
    if call.query.get("format") == "json" or "json" in call.environ.get("HTTP_ACCEPT", ""):
        return json_answer(call, envelope, status)
    body = f'<?xml version="1.0"?>\n{_element("ocs", envelope["ocs"])}\n'
    return text_answer(call, body.encode(), "text/xml; charset=utf-8", status)


def _element(name: str, value: Any) -> str:
    """A value of the envelope as XML, the way that PHP's arrays come out."""
    if isinstance(value, dict):
        inside = "".join(_element(key, one) for key, one in value.items())
    elif isinstance(value, list):
        inside = "".join(_element("element", one) for one in value)
    elif isinstance(value, bool):
        inside = "1" if value else ""
    else:
        inside = "" if value is None else xml.text(str(value))
    return f"<{name}>{inside}</{name}>" if inside else f"<{name}/>"


def _capabilities(settings: Settings) -> dict[str, Any]:
    major, minor, micro, _ = VERSION
    return {
        "version": {
            "major": major,
            "minor": minor,
            "micro": micro,
            "string": STATUS["versionstring"],
            "edition": "",
            "extendedSupport": False,
        },
        "capabilities": {
            "core": {
                "pollinterval": _POLL_MILLISECONDS,
                "webdav-root": "remote.php/webdav",
                "status": {**STATUS, "product": PRODUCT, "productversion": STATUS["versionstring"]},
            },
            "dav": {
                # Without it, large files are sent in a way that is refused here.
                "chunking": "1.0",
                # In order, chunks are hashed as they come, and the last step takes no time.
                "chunkingParallelUploadDisabled": True,
                **({"bulkupload": "1.0"} if settings.bulk_upload else {}),
                "httpErrorCodesThatResetFailingChunkedUploads": [400, 404],
            },
            "checksums": {"supportedTypes": ["SHA256", "SHA1", "MD5"], "preferredUploadType": "SHA256"},
            "files": {
                "bigfilechunking": True,
                "versioning": settings.history_versions > 0,
                "version_labeling": False,
                "version_deletion": False,
                "undelete": True,
                "delete_from_trash": True,
            },
            "uploadConflictFiles": True,
            "files_sharing": {"api_enabled": False, "public": {"enabled": False}, "resharing": False},
        },
    }


def _remove_device(call: Call, principal: Principal, device_id: int) -> None:
    """A client whose account is removed gives back the password that it got when it was set up."""
    call.house.devices.remove(principal.id, call.house.devices.public_ids(principal.id)[device_id])


def _user(call: Call, principal: Principal) -> dict[str, Any]:
    user = call.house.tree.of(principal, with_homes=False)
    used, available = user.quota(user.look(())) or (0, 0)
    total = used + available
    return {
        "id": principal.name,
        "enabled": True,
        "display-name": principal.name,
        "displayname": principal.name,
        "email": None,
        "groups": sorted(principal.groups),
        "language": "en",
        "quota": {
            "free": available,
            "used": used,
            "total": total,
            "relative": round(100 * used / total, 2) if total else 0,
            "quota": total,
        },
    }
