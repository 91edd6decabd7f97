"""A client of RFC 6578: what it believes is in a collection."""

import re

from tests.http.client import User

GONE = 404


class Mirror:
    """What a client that knows only the answers of REPORT believes is below a collection: paths and ETags."""

    def __init__(self, user: User, path: str = "", level: str = "infinite", limit: int = 0) -> None:
        self.user = user
        self.path = path
        self.level = level
        self.limit = limit
        self.token = ""
        self.tree: dict[str, str] = {}
        self.reports = 0

    def sync(self) -> "dict[str, str]":
        """Ask until there is no more; what this brought: status or ETag by path."""
        brought = {}
        while True:
            limit = f"<limit><nresults>{self.limit}</nresults></limit>" if self.limit else ""
            body = (
                f'<sync-collection xmlns="DAV:"><sync-token>{self.token}</sync-token><sync-level>{self.level}'
                f"</sync-level>{limit}<prop><getetag/></prop></sync-collection>"
            )
            answer = self.user("REPORT", self.path, body.encode(), Depth="0")
            assert answer.status_code == 207, answer.text
            self.reports += 1
            token: str = re.search(r"<D:sync-token>(.*?)</D:sync-token>", answer.text)[1]  # type: ignore[index]
            assert not self.token or _number(token) >= _number(self.token), "a token goes back"
            self.token = token
            found = self.user.multistatus(answer)
            more = found.pop(self.path or "/", None)
            if self.limit:
                assert len(found) <= self.limit
            for path, one in found.items():
                if one.status == GONE:
                    self.tree = {p: t for p, t in self.tree.items() if p != path and not p.startswith(path + "/")}
                    brought[path] = "gone"
                else:
                    self.tree[path] = brought[path] = one.text("{DAV:}getetag") or ""
            if more is None:
                return brought
            assert more.status == 507

    def truth(self) -> dict[str, str]:
        depth = "infinity" if self.level == "infinite" else "1"
        found = self.user.propfind(self.path, depth=depth)
        return {p: f.text("{DAV:}getetag") or "" for p, f in found.items() if p != (self.path or "/")}

    def files(self) -> dict[str, str]:
        """Without the collections, whose ETags change with what is below them."""
        return {p: t for p, t in self.tree.items() if "-" not in t}


def _number(token: str) -> int:
    """Of the last change: it comes after the epoch and what the user can see."""
    return int(token.split(".")[2])
