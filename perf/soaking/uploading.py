"""Clients that upload in parts: as Nextcloud's do, and by tus."""

import base64
from itertools import pairwise

from perf.soaking.keeping import NAMES, Keeper
from perf.soaking.line import Answer
from perf.soaking.scene import Cut, Scene, Wrong

_SIZES = (1, 30_000, 200_000, 800_000)
_BYTES = "application/offset+octet-stream"


class _Uploader(Keeper):
    sizes = _SIZES

    def turn(self) -> None:
        if self.held and self.chance.random() < 0.2:
            name = self.chance.choice(sorted(self.held))
            self.attempt(self.with_one(name, None), "DELETE", self.target(name), 204)
        else:
            self._upload()

    def _upload(self) -> None:
        raise NotImplementedError

    def _cuts(self, size: int) -> list[tuple[int, int]]:
        """Where the parts begin and end."""
        inner = sorted(self.chance.sample(range(1, size), min(size - 1, self.chance.randrange(4))))
        return list(pairwise([0, *inner, size]))

    def _breaks(self) -> bool:
        return self.chance.random() < 0.15


class Chunked(_Uploader):
    """Uploads in chunks that are put together by a MOVE."""

    kind = "chunked"

    def __init__(self, scene: Scene, user: str, number: int) -> None:
        super().__init__(scene, user, number)
        self.prefix = f"/remote.php/dav/files/{user}"
        self._uploads = 0

    def _upload(self) -> None:
        name, body = self.chance.choice(NAMES), self.new_body()
        whole = bytes(body)
        self._uploads += 1
        upload = f"/remote.php/dav/uploads/{self.user}/{self.folder}-{self._uploads}"
        self.line.surely("MKCOL", upload, 201, 405)
        for number, (start, end) in enumerate(self._cuts(len(whole)), 1):
            chunk, target = whole[start:end], f"{upload}/{number:05}"
            if self._breaks():
                self.line.break_off("PUT", target, chunk, self.chance.randrange(len(chunk)), reset=self._breaks())
            self.line.surely("PUT", target, 201, 204, body=chunk)
        if self._breaks():
            self.scene.tally.broken("MOVE")
            self.line.surely("DELETE", upload, 204, 404)
            return
        old, after = self.held.get(name), self.with_one(name, body)
        fields = {"Destination": self.target(name), "OC_Total_Length": str(len(whole))}
        while not self.attempt(after, "MOVE", f"{upload}/.file", 204 if old else 201, body=b"", **fields):
            if self.held == after:
                return


class Tus(_Uploader):
    """Uploads that go on where they were broken off."""

    kind = "tus"

    def _upload(self) -> None:
        name, body = self.chance.choice(NAMES), self.new_body()
        whole = bytes(body)
        path = base64.b64encode(f"/{self.folder}/{name}".encode()).decode()
        fields = {"Upload_Length": str(len(whole)), "Upload_Metadata": f"path {path}"}
        url = self._say(True, "POST", "/uploads/", 201, body=b"", **fields).headers["Location"]
        after = self.with_one(name, body)
        for start, end in self._cuts(len(whole)):
            try:
                is_there = self._send(url, whole, start, end)
            except Cut:
                is_there = self._go_on(url, whole, start, end, may_be_gone=True)
            if not is_there:
                self.settle(self.held, after)
                return
            if end < len(whole) and self.chance.random() < 0.05:
                self.scene.tally.broken("PATCH")
                self._say(True, "DELETE", url, 204, 404)
                self.settle(self.held)
                return
        self.settle(after)

    def _send(self, url: str, whole: bytes, start: int, end: int) -> bool:
        if self._breaks():
            fields = {"Tus_Resumable": "1.0.0", "Content_Type": _BYTES, "Upload_Offset": str(start)}
            sent = self.chance.randrange(end - start)
            self.line.break_off("PATCH", url, whole[start:end], sent, reset=self._breaks(), **fields)
            return self._go_on(url, whole, start, end)
        answer = self._patch(url, whole, start, end, 204)
        if answer.headers["Upload-Offset"] != str(end):
            raise Wrong(f"PATCH {url}: offset {answer.headers['Upload-Offset']} instead of {end}")
        return True

    def _go_on(self, url: str, whole: bytes, start: int, end: int, *, may_be_gone: bool = False) -> bool:
        """Ask what is there, as often as needed: the server may still be busy with what was broken off.

        Args:
            may_be_gone: a worker was killed at the last step, of which the server need not know that it was done.
        Returns:
            False if the upload is gone.
        """
        gone = (404,) if may_be_gone else ()
        while True:
            answer = self._say(True, "HEAD", url, 200, *gone)
            if answer.status == 404:
                return False
            offset = int(answer.headers["Upload-Offset"])
            if not start <= offset <= end:
                raise Wrong(f"HEAD {url}: offset {offset}, and {start} to {end} were sent")
            if offset == end:
                return True
            try:
                status = self._patch(url, whole, offset, end, 204, 409, 423, *gone).status
            except Cut:
                gone = (404,)
                continue
            if status in (204, 404):
                return status == 204

    def _patch(self, url: str, whole: bytes, start: int, end: int, *statuses: int) -> Answer:
        fields = {"Content_Type": _BYTES, "Upload_Offset": str(start)}
        return self._say(False, "PATCH", url, *statuses, body=whole[start:end], **fields)

    def _say(self, surely: bool, method: str, url: str, *statuses: int, body: bytes = b"", **fields: str) -> Answer:
        ask = self.line.surely if surely else self.line.ask
        return ask(method, url, *statuses, body=body, Tus_Resumable="1.0.0", **fields)
