"""A sync client that follows the changes, and decides by itself; what it runs into, the server records as conflicts."""

from typing import Any

from tests.sync.folder import Blocked, Folder, composed
from tests.sync.reference import Device, Refused, Remote, sha256, tag

PAGE = 20


class Follower(Device):
    """Knows of the server what it has read of its state and changes, and looks at its folder."""

    def sync(self) -> bool:
        begun = self.steps
        is_new = self.pull()
        if self.tell_apart():
            self.pull()
        is_done = self.take_over()
        is_done &= self.hand_over()
        is_done &= not self.resolve_all()
        if is_done:
            self.line.api("POST", f"/devices/{self.id}/ack", json={"change_token": self.memory.token})
        return is_new or self.steps > begun or not is_done

    # ---- what the server has ----

    def pull(self) -> bool:
        """Read what is new; False if nothing is."""
        if not self.memory.token:
            self._read_state()
            return True
        is_new, has_more = False, True
        while has_more:
            try:
                page = self._changes(self.memory.token)
            except Refused as refused:
                assert refused.status == 410, refused
                self._read_state()
                return True
            for change in page["changes"]:
                _take_over(self.memory.server, change)
            is_new |= bool(page["changes"])
            self.memory.token, has_more = page["change_token"], page["has_more"]
        return is_new

    def _read_state(self) -> None:
        server: dict[str, Remote] = {}
        token, cursor = "", {}
        while True:
            page = self.line.api("GET", "/state", params={"limit": PAGE, **cursor})
            token = token or page["change_token"]
            for found in page["files"]:
                server[found["path"]] = Remote(found["sha256"], is_collection=False)
            for found in page["collections"]:
                server[found["path"]] = Remote(None, is_collection=True)
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        has_more = True
        while has_more:
            page = self._changes(token)
            for change in page["changes"]:
                _take_over(server, change)
            token, has_more = page["change_token"], page["has_more"]
        self.memory.server, self.memory.token = server, token

    def _changes(self, token: str) -> Any:
        return self.line.api("GET", "/changes", params={"since": token, "limit": PAGE})

    def named_there(self, path: str) -> str:
        """How the server spells a path of this device: it takes composed and decomposed letters for the same."""
        if path in self.memory.server or path.isascii():
            return path
        alike = (there for there in sorted(self.memory.server) if composed(there) == composed(path))
        return next((there for there in alike if not self._is_here(there)), path)

    def named_here(self, there: str) -> str:
        """How this device spells a path of the server."""
        if there.isascii() or self._is_here(there):
            return there
        alike = (here for here in self._everything() if composed(here) == composed(there))
        found = next((here for here in alike if self.named_there(here) == there), None)
        if found is None:
            parent, name = there.rsplit("/", 1)
            found = f"{self.named_here(parent) if parent else ''}/{name}"
        return found

    def _is_here(self, path: str) -> bool:
        return path in self.memory.base or path in self._everything()

    def _everything(self) -> list[str]:
        return sorted({*self.folder.files(), *self.folder.folders(), *self.memory.base})

    # ---- names that cannot be on both sides ----

    def tell_apart(self) -> bool:
        """Rename what this device, or the server, cannot tell from something else, or what hinders it."""
        begun = self.steps
        if self.folder.folds:
            self._tell_apart_there()
        else:
            self._tell_apart_here()
        for path in sorted(self.folder.folders()):
            there = self.memory.server.get(self.named_there(path))
            if there is not None and not there.is_collection and self._is_kept(path):
                self.attempt(self.move_here, path, self.conflict_copy(path))
        return self.steps > begun

    def _is_kept(self, folder: str) -> bool:
        """Whether something in a folder is not on the server, nor was deleted there."""
        files = {path: body for path, body in self.folder.files().items() if path.startswith(f"{folder}/")}
        return any(self.memory.base.get(path) != sha256(body) for path, body in files.items())

    def _tell_apart_there(self) -> None:
        known = Folder(folds=True)
        for path in sorted(self.memory.server):
            if any(known.spelled(above) != above for above in Folder.above(path)):
                continue  # it goes with the collection above it
            if known.exists(path):
                self.attempt(self._rename_there, path)
            else:
                known.make(path)

    def _rename_there(self, path: str) -> None:
        found = self.memory.server[path]
        if_match = tag(found.sha256) if found.sha256 else None
        self.line.dav("MOVE", path, If_Match=if_match, Destination=self.conflict_copy(path), Overwrite="F")
        self.steps += 1

    def _tell_apart_here(self) -> None:
        """Two spellings here that are one to the server."""
        for path in self._everything():
            if composed(path) != path and self.folder.exists(path) and self.folder.exists(composed(path)):
                both = {self.named_there(path), self.named_there(composed(path))}
                if not both <= self.memory.server.keys():
                    self.attempt(self.move_here, path, composed(self.conflict_copy(path)))

    # ---- what others did ----

    def take_over(self) -> bool:
        """Do here what was done on the server; False if not everything could be."""
        is_done = True
        for path, body in sorted(self.folder.files().items(), reverse=True):
            there = self.memory.server.get(self.named_there(path))
            if self.memory.base.get(path) == sha256(body) and (there is None or there.is_collection):
                is_done &= self.attempt(self.delete_here, path, sha256(body))
        self._take_over_folders()
        for there, found in sorted(self.memory.server.items()):
            here = self.named_here(there)
            if found.is_collection:
                if here not in self.memory.folders:
                    is_done &= self.attempt(self._make_here, here)
                continue
            body, base = self.folder.read(here), self.memory.base.get(here)
            seen = None if body is None else sha256(body)
            if found.sha256 is None:
                is_done = False  # the server does not know its bytes yet
            elif seen == found.sha256 and self.folder.spelled(here) == here:
                self.memory.base[here] = seen
            elif seen == base and found.sha256 != base:
                is_done &= self.attempt(self._bring, here, there, found.sha256, seen)
        return is_done

    def _take_over_folders(self) -> None:
        for path in sorted(self.memory.folders, reverse=True):
            there = self.memory.server.get(self.named_there(path))
            if there is None or not there.is_collection:
                self.memory.folders.discard(path)
                if self.folder.spelled(path) == path:
                    self.steps += self.folder.remove_if_empty(path)
        for path in sorted(self.folder.folders(), reverse=True):
            there = self.memory.server.get(self.named_there(path))
            if there is not None and not there.is_collection:
                self.steps += self.folder.remove_if_empty(path)

    def _make_here(self, path: str) -> None:
        if self.folder.spelled(path) != path:
            raise Blocked(path)
        self.folder.make(path)
        self.memory.folders.add(path)
        self.steps += 1

    def _bring(self, here: str, there: str, digest: str, seen: str | None) -> None:
        """Download a file, unless its bytes are at hand: it was moved."""
        for body in self.folder.files().values():
            if sha256(body) == digest:
                self._place(here, body, seen)
                return
        self.download(here, seen, there)

    # ---- what was done here ----

    def hand_over(self) -> bool:
        """Do on the server what was done here; False if not everything could be."""
        is_done = True
        self._move_there()
        base = self.memory.base
        for path in sorted(base.keys() - self.folder.files().keys()):
            there = self.memory.server.get(self.named_there(path))
            if there is None or there.is_collection:
                del base[path]
            else:
                is_done &= self.attempt(self._delete_there, path, tag(base[path]))
        is_done &= self._hand_over_folders()
        for path, body in sorted(self.folder.files().items()):
            there = self.memory.server.get(self.named_there(path))
            if there is not None and not there.is_collection and there.sha256 == sha256(body):
                base[path] = sha256(body)
            elif base.get(path) != sha256(body):
                is_done &= self.attempt(self._upload_changed, path)
        return is_done

    def _delete_there(self, path: str, if_match: str) -> None:
        there = self.named_there(path)
        self.line.dav("DELETE", there, If_Match=if_match)
        self.steps += 1
        self.memory.server.pop(there, None)
        self.memory.base.pop(path, None)

    def _upload_changed(self, path: str) -> None:
        base = self.memory.base.get(path)
        self.upload(path, None if base is None else tag(base))

    def _move_there(self) -> None:
        """What went at one path and came at another was moved."""
        files, base, server = self.folder.files(), self.memory.base, self.memory.server
        came = {sha256(body): path for path, body in files.items() if path not in base}
        for path, digest in sorted(base.items()):
            to = came.get(digest)
            there = self.named_there(path)
            if path not in files and to and server.get(there) == Remote(digest, False) and to not in server:
                if self.attempt(self._move_one, there, to, digest):
                    del base[path]
                    base[to] = digest
                del came[digest]

    def _move_one(self, path: str, to: str, digest: str) -> None:
        for collection in Folder.above(to):
            if collection not in self.memory.server:
                self.make_collection(collection)
        self.line.dav("MOVE", path, If_Match=tag(digest), Destination=to, Overwrite="F")
        self.steps += 1
        del self.memory.server[path]

    def _hand_over_folders(self) -> bool:
        is_done = True
        for path in sorted(self.folder.folders() - self.memory.folders):
            there = self.memory.server.get(self.named_there(path))
            if there is None:
                is_done &= self.attempt(self.make_collection, path)
            if there is None or there.is_collection:
                self.memory.folders.add(path)
        for path in sorted(self.memory.folders - self.folder.folders(), reverse=True):
            there = self.memory.server.get(self.named_there(path))
            if there is not None and there.is_collection:
                is_done &= self.attempt(self._delete_if_empty, self.named_there(path))
            self.memory.folders.discard(path)
        return is_done

    def _delete_if_empty(self, path: str) -> None:
        """DELETE a collection with nothing in it, on the condition that this is still so."""
        if any(there.startswith(f"{path}/") for there in self.memory.server):
            return
        found = self.line.collection(path)
        if not found.members:
            self.line.dav("DELETE", path, If_Match=found.etag)
            self.steps += 1
            self.memory.server.pop(path, None)


def _take_over(server: dict[str, Remote], change: Any) -> None:
    """One change; what was deleted, or is a file now, has nothing below it."""
    path = change["path"]
    if change["action"] == "deleted" or not change["is_collection"]:
        for gone in [p for p in server if p == path or p.startswith(f"{path}/")]:
            del server[gone]
    if change["action"] != "deleted":
        server[path] = Remote(change["sha256"], change["is_collection"])
