"""What every check has at hand: the client, the folder, and what is known of the server."""

from dataclasses import dataclass

from baludav.doctor.advice import Proxy
from baludav.doctor.folder import Folder
from baludav.doctor.multistatus import asking, properties, responses
from baludav.doctor.wire import Answer, Client

_LOCKINFO = (
    b'<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner><D:href>baludav doctor</D:href></D:owner></D:lockinfo>"
)


@dataclass(frozen=True)
class Visit:
    """One examination under way.

    Attributes:
        options: the answer to OPTIONS at the address.
        is_baludav: the server behind it all is one of ours, of which more can be expected.
        patience: seconds that a slow answer is waited for; 0: it is not tried.
    """

    client: Client
    folder: Folder
    proxy: Proxy
    options: Answer
    is_baludav: bool
    patience: int

    @property
    def dav(self) -> set[str]:
        """Compliance classes and extensions that the server announces."""
        return {token.strip() for token in self.options.field("DAV").split(",") if token.strip()}

    def __call__(self, method: str, name: str, body: bytes | None = None, /, **fields: str) -> Answer:
        """A request for a name in the folder."""
        return self.client(method, self.folder.target(name), body, **fields)

    def put(self, name: str, body: bytes = b"bytes", /, **fields: str) -> Answer:
        return self("PUT", name, body, **fields)

    def ask(self, name: str, *props: str) -> dict[str, str]:
        """Properties of a name in the folder that were found, as text."""
        answer = self("PROPFIND", name, asking(*props), Depth="0")
        found = [properties(response) for response in responses(answer)]
        return {tag: "".join(element.itertext()) for tag, element in found[0].items()} if found else {}

    def lock(self, name: str, /, **fields: str) -> tuple[Answer, str]:
        """The answer to LOCK and the token, empty if there is none."""
        answer = self("LOCK", name, _LOCKINFO, Timeout="Second-600", **fields)
        return answer, answer.field("Lock-Token").strip("<>")

    def unlock(self, name: str, token: str) -> Answer:
        return self("UNLOCK", name, Lock_Token=f"<{token}>")
