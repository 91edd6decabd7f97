"""The account that runs the server: root binds the port and reads the key, then becomes it, and cannot turn back."""

import ctypes
import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from baludav.config import Config, ConfigError

_PR_SET_NO_NEW_PRIVS = 38  # prctl(2): no program that this one starts gets more rights than it has
_OF_THE_DISK = "lost+found"  # at the top of a disk that is mounted as the data folder; it stays root's
_PROGRAM = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Account:
    """An account of the system.

    Attributes:
        gid: of the group that owns what is created.
        groups: all that it is in.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def owner(self) -> str:
        """As `chown` takes it."""
        try:
            return f"{self.name}:{grp.getgrgid(self.gid).gr_name}"
        except KeyError:
            return f"{self.name}:{self.gid}"


def wanted(config: Config) -> Account | None:
    """The account that this process has yet to become; None if it stays who it is.

    Raises:
        ConfigError: there is no such account, it is root, or only root could become it.
    """
    if not config.settings.run_as:
        return None
    account = _account(config.settings.run_as)
    if os.geteuid() == account.uid:
        return None
    if os.geteuid() != 0:
        raise ConfigError(f"baludav.run_as: start this as {account.name} or as root; only root can become another")
    return account


def become(account: Account, config: Config) -> None:
    """Give up being root for good, for an account that can do its work.

    The data folder is made for it if there is none.

    Raises:
        ConfigError: it could not reach or write what it needs; the message says what to do.
    """
    _require_own(config.folder, account)
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for path, mode, what in (
        (config.folder, os.R_OK | os.W_OK | os.X_OK, "use the data folder"),
        (_PROGRAM, os.R_OK | os.X_OK, "read this program"),
        (config.file, os.R_OK, "read the configuration, as a reload will"),
    ):
        if path is not None and not os.access(path, mode):
            raise ConfigError(f"{account.name} cannot {what}: {path}, or a folder above it, is closed to it")


def _account(text: str) -> Account:
    """The account that `user` or `user:group` means, each a name or a number."""
    user, _, group = text.partition(":")
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"baludav.run_as: there is no user {user!r} on this machine") from None
    try:
        gid = entry.pw_gid if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"baludav.run_as: there is no group {group!r} on this machine") from None
    if entry.pw_uid == 0 or gid == 0:
        raise ConfigError("baludav.run_as: name an account other than root, and a group other than its")
    return Account(entry.pw_name, entry.pw_uid, gid, tuple(os.getgrouplist(entry.pw_name, gid)))


def _require_own(folder: Path, account: Account) -> None:
    """The data folder belongs to the account, and so does what lies in it.

    Raises:
        ConfigError: it belongs to another; the message has the command that changes it.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o700 if path == folder else 0o755)  # whatever the umask is: the account must pass
    if missing:
        os.chown(folder, account.uid, account.gid)
    for path in (folder, *sorted(folder.iterdir())):
        if path.lstat().st_uid != account.uid and path.name != _OF_THE_DISK:
            raise ConfigError(f"{path} is not {account.name}'s; change it with: chown -R {account.owner} {folder}")
