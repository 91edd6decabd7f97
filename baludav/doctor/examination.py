"""One examination: all checks in turn, in a folder that is gone afterwards."""

import ssl
from collections.abc import Callable, Generator, Iterator, Sequence

from baludav.doctor import clients, files, methods, reaching, uploads
from baludav.doctor.advice import Proxy
from baludav.doctor.finding import Finding, Ill, Verdict
from baludav.doctor.folder import Folder
from baludav.doctor.visit import Visit
from baludav.doctor.wire import Address, Answer, Broken, Client

Check = tuple[str, Callable[[Visit], str]]

CHECKS: tuple[Check, ...] = (
    ("Encryption", reaching.encryption),
    ("Sign-in", reaching.sign_in),
    ("Clock", reaching.clock),
    ("Announcement", reaching.announcement),
    ("Redirects", reaching.redirects),
    ("Methods", methods.methods),
    ("Entity-tags", files.entity_tags),
    ("Fresh entity-tags", files.fresh_tags),
    ("Lost updates", files.lost_updates),
    ("Parts of files", files.ranges),
    ("Names", files.names),
    ("Moving", files.moving),
    ("Properties", files.attributes),
    ("Locks", files.locks),
    ("Free space", files.free_space),
    ("Uploads in chunks", uploads.chunks),
    ("Uploads that ask", uploads.expect),
    ("Upload size", uploads.size),
    *clients.CLIENTS,
)
# What only a baludav can be asked for.
OWN_CHECKS: tuple[Check, ...] = (
    ("Own address", reaching.own_address),
    ("Upload buffering", uploads.straight),
    ("Answers at once", uploads.at_once),
    ("Slow answers", uploads.patience),
)


class Examination:
    """What is found at one address.

    Args:
        trust: what to believe of certificates.
        patience: seconds that a slow answer is waited for; 0: it is not tried.
        only: checks by name; empty for all.
    """

    def __init__(
        self, address: Address, user: str, password: str, trust: ssl.SSLContext, patience: int, only: Sequence[str] = ()
    ) -> None:
        self._client = Client(address, user, password, trust)
        self._patience = patience
        self._only = only

    def findings(self) -> Generator[Finding, None, None]:
        """Each finding as soon as it is there; if this one is closed, the folder is removed."""
        first, options = self._reach()
        yield first
        if options is None:
            return
        proxy = Proxy(options.field("Server"), options.field("Via"))
        folder = Folder(self._client)
        try:
            with folder:
                yield from self._examined(folder, proxy, options)
        except Broken as error:
            yield Finding("Folder", Verdict.ILL, str(error))
        finally:
            self._client.close()
        if folder.is_left:
            yield Finding("Cleaning up", Verdict.ILL, f"{folder.name} could not be removed", ("delete it yourself",))

    def _reach(self) -> tuple[Finding, Answer | None]:
        """Whether the server answers and takes the password; what it says to OPTIONS if it does."""
        address = self._client.address
        try:
            options = self._client("OPTIONS", address.path)
            signed_in = self._client("PROPFIND", address.path, Depth="0")
        except Broken as error:
            trust = ("give its file by --trust, if it is your own",) if "certificate" in str(error) else ()
            return Finding("Connection", Verdict.ILL, str(error), trust), None
        if signed_in.status == 401:
            return Finding("Connection", Verdict.ILL, "user name or password is wrong"), None
        if signed_in.status == 429:
            return Finding(
                "Connection", Verdict.ILL, "the server takes no more sign-ins for a while; try again later"
            ), None
        if signed_in.status == 404:
            return Finding("Connection", Verdict.ILL, f"there is nothing at {address}", ("baludav's is /dav/",)), None
        answers = options.field("Server") or "a server that does not say its name"
        return Finding("Connection", Verdict.WELL, f"{answers} answers"), options

    def _examined(self, folder: Folder, proxy: Proxy, options: Answer) -> Iterator[Finding]:
        assert folder.made is not None
        if folder.made.status != 201:
            said = f"no folder to work in can be made here: MKCOL is answered {folder.made.status}"
            yield Finding(
                "Methods", Verdict.ILL, said, proxy.lines("take out `limit_except`", "take out `<LimitExcept>`")
            )
            return
        visit = Visit(self._client, folder, proxy, options, self._is_baludav(), self._patience)
        for about, check in (*CHECKS, *(OWN_CHECKS if visit.is_baludav else ())):
            if not self._only or about in self._only:
                yield _finding(about, check, visit)

    def _is_baludav(self) -> bool:
        challenge = self._client.stranger("PROPFIND", self._client.address.path, Depth="0")
        if 'realm="baludav"' in challenge.field("WWW-Authenticate"):
            return True
        return b'"productname": "baludav"' in self._client.stranger("GET", "/status.php").body


def _finding(about: str, check: Callable[[Visit], str], visit: Visit) -> Finding:
    try:
        return Finding(about, Verdict.WELL, check(visit))
    except Ill as ill:
        return Finding(about, ill.verdict, ill.said, ill.advice)
    except Broken as error:
        return Finding(about, Verdict.ILL, str(error))
