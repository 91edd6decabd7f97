"""Methods that proxies and firewalls do not know, and so refuse."""

from baludav.doctor.finding import Ill
from baludav.doctor.multistatus import DAV, asking
from baludav.doctor.visit import Visit

_REFUSED = frozenset({403, 405, 406, 501})
_PROPPATCH = (
    b'<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x:seen xmlns:x="urn:baludav:doctor">1'
    b"</x:seen></D:prop></D:set></D:propertyupdate>"
)
_REPORT = (
    b'<?xml version="1.0"?><D:sync-collection xmlns:D="DAV:"><D:sync-token/><D:sync-level>1</D:sync-level>'
    b"<D:prop><D:getetag/></D:prop></D:sync-collection>"
)


def methods(visit: Visit) -> str:
    """Every method that clients need gets through."""
    statuses = dict(_tried(visit))
    blocked = {method: status for method, status in statuses.items() if status in _REFUSED}
    if blocked:
        said = ", ".join(f"{method} ({status})" for method, status in blocked.items())
        raise Ill(
            f"refused: {said}",
            *visit.proxy.lines(
                "take out `limit_except` and every `if ($request_method ...)`",
                "take out `<Limit>`, `<LimitExcept>`, `AllowMethods`; ModSecurity: name them in tx.allowed_methods",
                "take out the matcher `method`",
            ),
            "another firewall on the way: let it pass " + ", ".join(blocked),
        )
    return "all get through"


def _tried(visit: Visit) -> list[tuple[str, int]]:
    """Each method with the status of its answer."""
    folder = visit.folder
    found = [
        ("PUT", visit.put("method.txt").status),
        ("GET", visit("GET", "method.txt").status),
        ("HEAD", visit("HEAD", "method.txt").status),
        ("PROPFIND", visit("PROPFIND", "method.txt", asking(f"{DAV}getetag"), Depth="0").status),
        ("PROPPATCH", visit("PROPPATCH", "method.txt", _PROPPATCH).status),
        ("COPY", visit("COPY", "method.txt", Destination=folder.url("method 2.txt")).status),
        ("MOVE", visit("MOVE", "method 2.txt", Destination=folder.url("method 3.txt")).status),
    ]
    if "2" in visit.dav or visit.is_baludav:
        answer, token = visit.lock("method.txt", Depth="0")
        found += [("LOCK", answer.status), ("UNLOCK", visit.unlock("method.txt", token or "urn:none").status)]
    if visit.is_baludav:
        partly = {"Content_Type": "application/x-sabredav-partialupdate", "X_Update_Range": "append"}
        found.append(("REPORT", visit("REPORT", "", _REPORT, Depth="0").status))
        found.append(("PATCH", visit("PATCH", "method.txt", b"more", **partly).status))
    found.append(("DELETE", visit("DELETE", "method.txt").status))
    return found
