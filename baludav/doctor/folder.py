"""The folder that the doctor works in: made and removed by it, and nothing else is touched."""

import contextlib
import json
import secrets
import time
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from baludav.doctor.wire import Answer, Broken, Client

_TRASH = (
    b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:nc="http://nextcloud.org/ns"><d:prop>'
    b"<nc:trashbin-original-location/></d:prop></d:propfind>"
)
_LOCATION = "{http://nextcloud.org/ns}trashbin-original-location"


class Folder:
    """A collection with a name that nobody has: there inside `with`, and gone at its end, however that comes.

    Attributes:
        made: the answer to its MKCOL.
        is_left: it could not be removed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.name = f"baludav-doctor-{secrets.token_hex(8)}"
        self.top = client.address.path + self.name
        self.made: Answer | None = None
        self.is_left = False
        self._locks: dict[str, str] = {}
        self._may_be_there = False

    def __enter__(self) -> Self:
        self._may_be_there = True  # also if the answer is lost, or Ctrl-C comes now
        try:
            self.made = self._client("MKCOL", self.top + "/")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._may_be_there = self.made.status == 201
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self._may_be_there:
            return
        for token, target in list(self._locks.items()):
            with contextlib.suppress(Broken):
                self._client("UNLOCK", target, Lock_Token=f"<{token}>")
        self.is_left = not self._is_removed()
        with contextlib.suppress(Broken, ParseError, DefusedXmlException):
            self._empty_trash()

    def target(self, name: str) -> str:
        """What a request line says for a name in it that is not percent-encoded."""
        return f"{self.top}/{quote(name)}"

    def url(self, name: str) -> str:
        """The same with scheme and host, as most clients write it in Destination."""
        return self._client.address.origin + self.target(name)

    def locked(self, name: str, answer: Answer) -> str:
        """The token of a lock that was taken, which is given back at the end if nobody does before."""
        token = answer.field("Lock-Token").strip("<>")
        if token:
            self._locks[token] = self.target(name)
        return token

    def unlocked(self, token: str) -> None:
        self._locks.pop(token, None)

    def _is_removed(self) -> bool:
        for pause in (0, 1, 3):  # what was broken off may still be under way there
            time.sleep(pause)
            with contextlib.suppress(Broken):
                if self._client("DELETE", self.top + "/").status in (200, 204, 404):
                    return True
        return False

    def _empty_trash(self) -> None:
        """Remove from the trash what lay in here, where the server has the trash of Nextcloud's clients."""
        signed_in = self._client("GET", "/ocs/v1.php/cloud/user?format=json", OCS_APIREQUEST="true")
        user = _user_of(signed_in)
        if user is None:
            return
        trash = f"/remote.php/dav/trashbin/{quote(user, safe='')}/trash/"
        listed = self._client("PROPFIND", trash, _TRASH, Depth="1")
        if listed.status != 207:
            return
        for response in fromstring(listed.body).iterfind("{DAV:}response"):
            location = response.findtext(f".//{_LOCATION}", "").strip("/")
            href = response.findtext("{DAV:}href", "")
            if self.name in location.split("/") and unquote(href).startswith(unquote(trash)):
                self._client("DELETE", href)


def _user_of(answer: Answer) -> str | None:
    """The id of the user, as Nextcloud's clients learn it; None on another server."""
    try:
        return str(json.loads(answer.body)["ocs"]["data"]["id"]) if answer.status == 200 else None
    except (ValueError, KeyError, TypeError):
        return None
