"""A sync client that lists what it has, and does what the server's plan says."""

from typing import Any

from tests.sync.reference import Device, sha256

LISTS = ["to_delete_local", "to_download", "to_delete_remote", "to_upload", "conflicts", "undecided"]


class Planner(Device):
    """Knows only what it has, and what it had in common with the server; collections are none of its concern."""

    def sync(self) -> bool:
        self.folder.remove_empty_folders()
        listed = self._listed()
        body: dict[str, Any] = {"device_id": self.id, "files": listed}
        if self.memory.token:
            body["change_token"] = self.memory.token
        plan = self.line.api("POST", "/changes", json=body)
        # `mass_deletion`: its user is asked, and says that it is all right.
        is_done = self._apply(plan)
        self._remember(listed, plan)
        self.memory.token = plan["change_token"]
        has_conflicts = self.resolve_all()
        if is_done and not has_conflicts and not plan["undecided"]:
            self.line.api("POST", f"/devices/{self.id}/ack", json={"change_token": plan["change_token"]})
        return any(plan[name] for name in LISTS)

    def _listed(self) -> list[dict[str, Any]]:
        files, base = self.folder.files(), self.memory.base
        return [
            {
                "path": path,
                "sha256": sha256(files[path]) if path in files else None,
                "base_sha256": base.get(path),
                "size": len(files[path]) if path in files else None,
            }
            for path in sorted(files.keys() | base.keys())
        ]

    def _apply(self, plan: Any) -> bool:
        is_done = True
        for item in plan["to_delete_local"]:
            is_done &= self.attempt(self.delete_here, item["path"], item["sha256"])
        self.folder.remove_empty_folders()
        for item in plan["to_download"]:
            is_done &= self.attempt(self.download, item["path"], self.memory.base.get(item["path"]))
        for item in plan["to_delete_remote"]:
            is_done &= self.attempt(self.delete, item["path"], item["if_match"])
        for item in plan["to_upload"]:
            is_done &= self.attempt(self.upload, item["path"], item["if_match"])
        return is_done

    def _remember(self, listed: list[dict[str, Any]], plan: Any) -> None:
        """Of what a plan does not speak, both sides have the same."""
        spoken_of = {item["path"] for name in LISTS for item in plan[name]}
        for file in listed:
            if file["path"] in spoken_of:
                continue
            if file["sha256"] is not None:
                self.memory.base[file["path"]] = file["sha256"]
            else:
                self.memory.base.pop(file["path"], None)
