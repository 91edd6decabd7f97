"""The three-way decision: what has to be done so that a device and the server have the same, and no edit is lost.

A device lists every file it has, and every file that it once had in common with the server and has no more, so that
a path which is not listed was never known to it. Each path is first decided by itself: equal on both sides is done,
changed on one side since both had the same is taken over, changed on both is a conflict. Then it is seen to that the
outcome can be: a file and a collection cannot share a name, and names that some systems do not tell apart must not
meet there.

Change tokens, and for how long the server remembers deletions, play no part in it: what is here as it was in common,
and not there, was deleted there; what was never in common is new.
"""

from collections.abc import Iterable, Iterator, Mapping
from unicodedata import normalize

from baludav.tree.records.conflicts import Kind
from sync_ext.actions import Action, Clash, DeleteHere, DeleteThere, Download, Here, There, Upload, Wait, Why
from sync_ext.spelling import above, composed, falling_together, folded, is_below

Actions = dict[str, Action]


def decide(here: Iterable[Here], there: Iterable[There]) -> list[Action]:
    """What has to be done, in the order of the paths; nothing for what is equal on both sides.

    A path may come twice: a deletion on one side that makes room there (so deletions come first), and a conflict
    that names what the device has beside its own action.

    Args:
        here: no path twice, and none below another that has bytes.
    """
    sides = _Sides(here, there)
    actions: Actions = {}
    for path in sides.paths():
        action = _verdict(path, sides)
        if action is not None:
            actions[path] = action
    cleared = _separate(actions, sides)
    clashes = _tell_apart(actions, sides)
    return sorted([*actions.values(), *cleared, *clashes], key=lambda action: (action.path, type(action).__name__))


def is_mass_deletion(here: Iterable[Here], there: Iterable[There], actions: Iterable[Action]) -> bool:
    """Whether one side is suddenly empty, or would lose more than half of what the device has (or had in common).

    One file alone is no mass, and what comes back under another name is not lost: that was a move.
    """
    here, there, actions = list(here), list(there), list(actions)
    listed = {file.path: file for file in here}
    had = sum(file.base is not None for file in here)
    has = sum(file.sha256 is not None for file in here)
    files = [resource for resource in there if not resource.is_collection]
    if had > 1 and bool(has) != bool(files):
        return True
    arriving_here = {action.resource.sha256 for action in actions if isinstance(action, Download)}
    arriving_there = {listed[action.path].sha256 for action in actions if isinstance(action, Upload)}
    deleted = {composed(action.path) for action in actions if isinstance(action, DeleteThere)}
    lost_here = sum(isinstance(action, DeleteHere) and action.sha256 not in arriving_here for action in actions)
    lost_there = sum(
        file.sha256 not in arriving_there
        for file in files
        if deleted and (composed(file.path) in deleted or is_below(file.path, deleted))
    )
    return _is_most(lost_here, has) or _is_most(lost_there, had)


def _is_most(some: int, everything: int) -> bool:
    return some > 1 and 2 * some > everything


class _Sides:
    """What both sides have, by path as the device spells it."""

    def __init__(self, here: Iterable[Here], there: Iterable[There]) -> None:
        self.here = {file.path: file for file in here}
        self.there = _respelled(self.here, {resource.path: resource for resource in there})

    def paths(self) -> Iterator[str]:
        yield from self.here
        yield from (path for path in self.there if path not in self.here)

    def kept_here(self, actions: Mapping[str, Action]) -> set[str]:
        """Files that the device has and will keep."""
        files = (path for path, file in self.here.items() if file.sha256 is not None)
        return {path for path in files if not isinstance(actions.get(path), DeleteHere)}

    def kept_there(self, actions: Mapping[str, Action]) -> set[str]:
        """Files that the server has and will keep."""
        files = (path for path, resource in self.there.items() if not resource.is_collection)
        return {path for path in files if not isinstance(actions.get(path), DeleteThere)}


def _respelled(here: Mapping[str, Here], there: dict[str, There]) -> dict[str, There]:
    """Name what the server has as the device does: macOS decomposes letters, and the server answers to both forms."""
    strange = sorted(path for path in here if not path.isascii() and path not in there)
    if not strange:
        return there
    forms: dict[str, list[str]] = {}
    for path in sorted(there):
        if not path.isascii() and path not in here:
            forms.setdefault(normalize("NFC", path), []).append(path)
    names = {forms[form].pop(0): path for path in strange if forms.get(form := normalize("NFC", path))}
    return {names.get(path, path): resource for path, resource in there.items()}


def _verdict(path: str, sides: _Sides) -> Action | None:
    """The decision for one path by itself."""
    file, resource = sides.here.get(path), sides.there.get(path)
    here, base = (None, None) if file is None else (file.sha256, file.base)
    if resource is not None and resource.is_collection:
        resource = None
    if resource is not None and resource.sha256 is None:
        return Download(path, resource) if here is None and base is None else Wait(path, Why.NOT_HASHED)
    there = None if resource is None else resource.sha256
    if here == there:
        return None
    if here == base and resource is not None:
        return Download(path, resource)
    if here == base and here is not None:
        return DeleteHere(path, here)
    if there == base:
        return Upload(path, there) if there is None or here is not None else DeleteThere(path, there)
    if here is None:
        kind = Kind.DELETED_HERE
    elif there is None:
        kind = Kind.DELETED_THERE
    else:
        kind = Kind.BOTH_CREATED if base is None else Kind.BOTH_EDITED
    return Clash(path, kind, base, here, there)


def _separate(actions: Actions, sides: _Sides) -> list[DeleteThere]:
    """Settle where one side has a file and the other a collection of the same name.

    If what the collection holds goes away anyway, the file takes its place. Else it is one conflict, that of the
    file; what would be below it on the other side waits.

    Returns:
        collections of the server that must go first.
    """
    files_here, files_there = sides.kept_here(actions), sides.kept_there(actions)
    lasting = {
        composed(path) for path, resource in sides.there.items() if resource.is_collection and resource.etag is None
    }
    needed_here, needed_there = above(map(composed, files_here)), above(map(composed, files_there)) | lasting
    blocking_here = {path for path in files_here if composed(path) in needed_there}
    blocking_there = {path for path in files_there if composed(path) in needed_here}
    replaced: list[DeleteThere] = []
    for path, action in list(actions.items()):
        file, resource = sides.here.get(path), sides.there.get(path)
        is_here, is_there = path in files_here, path in files_there
        takes_room = is_here and resource is not None and resource.is_collection
        if path in blocking_here or path in blocking_there or (takes_room and not isinstance(action, Upload)):
            base, here = (None, None) if file is None else (file.base, file.sha256)
            there = None if resource is None else resource.sha256
            actions[path] = Clash(path, Kind.FILE_AND_COLLECTION, base, here, there)
        elif takes_room and resource is not None and resource.etag is not None:
            replaced.append(DeleteThere(path, resource.etag, is_collection=True))
        elif (is_there and is_below(path, blocking_here)) or (is_here and is_below(path, blocking_there)):
            actions[path] = Wait(path, Why.BLOCKED)
    gone = {composed(deletion.path) for deletion in replaced}
    for path in [path for path, action in actions.items() if isinstance(action, DeleteThere) and is_below(path, gone)]:
        del actions[path]  # it goes with its collection
    return replaced


def _tell_apart(actions: Actions, sides: _Sides) -> list[Clash]:
    """Let nothing new come to a side where some systems would not tell it from something else that is there.

    It is one conflict for each name, be it of a file or of a collection; what else is concerned waits.

    Returns:
        conflicts of names that are decided otherwise, or are collections.
    """
    files_here, files_there = sides.kept_here(actions), sides.kept_there(actions)
    changing = {path for path, action in actions.items() if isinstance(action, Upload | Download | Clash)}
    uploads, downloads = sorted(changing & files_here - files_there), sorted(changing & files_there - files_here)
    beside: list[Clash] = []
    known: set[str] = set()

    def clash(ours: str, theirs: str) -> Clash:
        file, resource = sides.here.get(ours), sides.there.get(theirs)
        base, here = (None, None) if file is None else (file.base, file.sha256)
        known.add(folded(ours))
        return Clash(ours, Kind.NAME_COLLISION, base, here, None if resource is None else resource.sha256, theirs)

    for path, ours, theirs in falling_together(uploads, files_there):
        is_first = folded(ours) not in known
        actions[path] = clash(ours, theirs) if is_first and ours == path else Wait(path, Why.BLOCKED)
        if is_first and ours != path:
            beside.append(clash(ours, theirs))
    clashing = {composed(path) for path, action in actions.items() if isinstance(action, Clash | Wait)}
    for path, theirs, ours in falling_together(downloads, files_here):
        actions[path] = Wait(path, Why.BLOCKED)
        if folded(ours) not in known and ours not in clashing and not is_below(ours, clashing):
            beside.append(clash(ours, theirs))
    return beside
