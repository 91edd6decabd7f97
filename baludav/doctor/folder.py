"""The folder that the doctor works in: made and removed by it, and nothing else is touched."""

import contextlib
import json
import secrets
import time
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from baludav.doctor.finding import Ill
from baludav.doctor.multistatus import DAV, asking, responses
from baludav.doctor.wire import Answer, Broken, Client

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
        self.is_left = not self._is_removed()
        with contextlib.suppress(Broken, Ill):
            self._empty_trash()

    def target(self, name: str) -> str:
        """What a request line says for a name in it that is not percent-encoded."""
        return f"{self.top}/{quote(name)}"

    def url(self, name: str) -> str:
        """The same with scheme and host, as most clients write it in Destination."""
        return self._client.address.origin + self.target(name)

    def _is_removed(self) -> bool:
        for pause in (0, 1, 3):  # what was broken off may still be under way there
            time.sleep(pause)
            with contextlib.suppress(Broken, Ill):
                status = self._client("DELETE", self.top + "/").status
                if status in (207, 423):
                    self._unlock()
                    status = self._client("DELETE", self.top + "/").status
                if status in (200, 204, 404):
                    return True
        return False

    def _unlock(self) -> None:
        """Give back every lock in here, also one whose token never arrived, since LOCK was broken off."""
        for response in responses(self._client("PROPFIND", self.top + "/", asking(f"{DAV}lockdiscovery"), Depth="1")):
            target = urlsplit(response.findtext(f"{DAV}href", "")).path
            for token in response.iterfind(f".//{DAV}locktoken/{DAV}href"):
                self._client("UNLOCK", target, Lock_Token=f"<{token.text}>")

    def _empty_trash(self) -> None:
        """Remove from the trash what lay in here, where the server has the trash of Nextcloud's clients."""
        signed_in = self._client("GET", "/ocs/v1.php/cloud/user?format=json", OCS_APIREQUEST="true")
        user = _user_of(signed_in)
        if user is None:
            return
        trash = f"/remote.php/dav/trashbin/{quote(user, safe='')}/trash/"
        listed = self._client("PROPFIND", trash, asking(_LOCATION), Depth="1")
        for response in responses(listed):
            location = response.findtext(f".//{_LOCATION}", "").strip("/")
            href = response.findtext(f"{DAV}href", "")
            if self.name in location.split("/") and unquote(href).startswith(unquote(trash)):
                self._client("DELETE", href)


def _user_of(answer: Answer) -> str | None:
    """The id of the user, as Nextcloud's clients learn it; None on another server."""
    try:
        return str(json.loads(answer.body)["ocs"]["data"]["id"]) if answer.status == 200 else None
    except (ValueError, KeyError, TypeError):
        return None
