"""The servers that are compared.

All serve the same files to the same user over Basic auth, keep connections alive without limit and write no log of
requests. Otherwise they run as they come. The peers compare the password itself or its SHA-1, the cheapest check
that each offers; baludav has its full accounts with argon2id.
"""

import base64
import hashlib
import importlib.metadata
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from perf.harness import REPOSITORY
from perf.peer import Peer


class Baludav(Peer):
    """baludav with its defaults."""

    name = "baludav"
    install = "make .venv/.installed"
    program = sys.executable
    prefix = "/dav/"
    durability = "safe"

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version("baludav")

    def lay(self) -> None:
        self.folder.mkdir(parents=True)
        self.command()
        self._run("init")
        self.root = self.folder / "data" / "files" / self.account.name

    def settle(self) -> None:
        self._run("index", "rebuild")

    def command(self) -> list[str]:
        settings: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port or 1,
            "baludav": {"data": "./data", "durability": self.durability, "log_level": "warning"},
        }
        if self.certificate:
            settings["ssl_certificate"] = str(self.certificate.chain)
            settings["ssl_private_key"] = str(self.certificate.key)
        (self.folder / "wsgidav.yaml").write_text(yaml.safe_dump(settings))
        return [*self._baludav(), "serve"]

    def environment(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("BALUDAV_")}
        return {**others, "BALUDAV_ADMIN_PASSWORD": self.account.password}

    def _baludav(self) -> list[str]:
        return [sys.executable, "-m", "baludav", "--config", str(self.folder / "wsgidav.yaml")]

    def _run(self, *command: str) -> None:
        subprocess.run([*self._baludav(), *command], env=self.environment(), check=True, stdout=subprocess.DEVNULL)


class BaludavFast(Baludav):
    """baludav that leaves syncing to the operating system, as all the peers do."""

    name = "baludav-fast"
    durability = "fast"
    only_writes = True  # reading is the same


class StockWsgidav(Peer):
    """WsgiDAV's own command: its file provider, on cheroot."""

    name = "wsgidav"
    install = "make .venv/.installed"
    program = str(Path(sys.executable).with_name("wsgidav"))

    @classmethod
    def version(cls) -> str:
        return f"{importlib.metadata.version('wsgidav')} on cheroot {importlib.metadata.version('cheroot')}"

    def command(self) -> list[str]:
        settings = {
            "host": "127.0.0.1",
            "port": self.port,
            "provider_mapping": {"/": str(self.root)},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "simple_dc": {"user_mapping": {"*": {self.account.name: {"password": self.account.password}}}},
            "verbose": 1,
        }
        (self.folder / "wsgidav.yaml").write_text(yaml.safe_dump(settings))
        return [self.program, "--config", str(self.folder / "wsgidav.yaml")]


class Apache(Peer):
    """Apache httpd with mod_dav, its event MPM, and the time limits that Debian sets."""

    name = "apache"
    install = "sudo apt install apache2"
    program = "apache2"
    modules = Path("/usr/lib/apache2/modules")

    @classmethod
    def version(cls) -> str:
        return _first(r"Apache/(\S+)", cls.said("-v"))

    def settle(self) -> None:
        if os.geteuid() == 0:  # it does not serve as root
            for path in (self.root, self.folder / "locks"):
                path.mkdir(exist_ok=True)
                _give(path, "www-data")

    def command(self) -> list[str]:
        (self.folder / "locks").mkdir(exist_ok=True)
        (self.folder / "users").write_text(_sha1_users(self))
        names = "mpm_event authn_core authn_file authz_core authz_user auth_basic dav dav_fs reqtimeout".split()
        names += ["ssl"] if self.certificate else []
        text = "\n".join(f"LoadModule {name}_module {self.modules}/mod_{name}.so" for name in names)
        text += f"""
            ServerRoot {self.folder}
            ServerName localhost
            PidFile {self.folder}/httpd.pid
            ErrorLog {self.folder}/error.log
            LogLevel crit
            Listen 127.0.0.1:{self.port}
            MaxKeepAliveRequests 0
            RequestReadTimeout header=20-40,minrate=500
            RequestReadTimeout body=10,minrate=500
            DavLockDB {self.folder}/locks/db
            DocumentRoot {self.root}
            <Directory {self.root}>
                Dav On
                AuthType Basic
                AuthName files
                AuthUserFile {self.folder}/users
                Require valid-user
            </Directory>
            """
        if os.geteuid() == 0:
            text += "User www-data\nGroup www-data\n"
        if self.certificate:
            text += f"SSLEngine on\nSSLCertificateFile {self.certificate.chain}\n"
            text += f"SSLCertificateKeyFile {self.certificate.key}\n"
        (self.folder / "httpd.conf").write_text(text)
        return [str(self.executable()), "-DFOREGROUND", "-f", str(self.folder / "httpd.conf")]


class Nginx(Peer):
    """nginx with its DAV module and dav-ext, one worker for each core."""

    name = "nginx"
    install = "sudo apt install nginx-extras"
    program = "nginx"
    module = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")

    @classmethod
    def is_installed(cls) -> bool:
        return super().is_installed() and cls.module.exists()

    @classmethod
    def version(cls) -> str:
        return _first(r"nginx/(\S+)", cls.said("-v"))

    def command(self) -> list[str]:
        (self.folder / "users").write_text(f"{self.account.name}:{{PLAIN}}{self.account.password}\n")
        temporary = "\n".join(
            f"{kind}_temp_path {self.folder}/temporary;"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"""
            load_module {self.module};
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off;
            worker_processes auto;
            pid {self.folder}/nginx.pid;
            error_log {self.folder}/error.log crit;
            events {{ worker_connections 1024; }}
            http {{
                {temporary}
                access_log off;
                sendfile on;
                keepalive_requests 1000000000;
                client_max_body_size 0;
                dav_ext_lock_zone zone=locks:10m;
                server {{
                    listen 127.0.0.1:{self.port};
                    root {self.root};
                    location / {{
                        dav_methods PUT DELETE MKCOL COPY MOVE;
                        dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK;
                        dav_ext_lock zone=locks;
                        auth_basic files;
                        auth_basic_user_file {self.folder}/users;
                    }}
                }}
            }}
            """
        )
        return [str(self.executable()), "-c", str(self.folder / "nginx.conf"), "-e", str(self.folder / "error.log")]


class Lighttpd(Peer):
    """lighttpd with mod_webdav, one process as it comes."""

    name = "lighttpd"
    install = "sudo apt install lighttpd lighttpd-mod-webdav"
    program = "lighttpd"
    module = Path("/usr/lib/lighttpd/mod_webdav.so")

    @classmethod
    def is_installed(cls) -> bool:
        return super().is_installed() and cls.module.exists()

    @classmethod
    def version(cls) -> str:
        return _first(r"lighttpd/(\S+)", cls.said("-v"))

    def command(self) -> list[str]:
        (self.folder / "temporary").mkdir(exist_ok=True)
        (self.folder / "users").write_text(f"{self.account.name}:{self.account.password}\n")
        (self.folder / "lighttpd.conf").write_text(
            f"""
            server.modules = ("mod_auth", "mod_authn_file", "mod_webdav")
            server.bind = "127.0.0.1"
            server.port = {self.port}
            server.document-root = "{self.root}"
            server.upload-dirs = ("{self.folder}/temporary")
            server.errorlog = "{self.folder}/error.log"
            server.max-keep-alive-requests = 65535
            mimetype.assign = ("" => "application/octet-stream")
            auth.backend = "plain"
            auth.backend.plain.userfile = "{self.folder}/users"
            auth.require = ("/" => ("method" => "basic", "realm" => "files", "require" => "valid-user"))
            webdav.activate = "enable"
            webdav.sqlite-db-name = "{self.folder}/webdav.db"
            """
        )
        return [str(self.executable()), "-D", "-f", str(self.folder / "lighttpd.conf")]


class Rclone(Peer):
    """rclone's `serve webdav`."""

    name = "rclone"
    install = "sudo apt install rclone"
    program = "rclone"

    @classmethod
    def version(cls) -> str:
        return _first(r"rclone v(\S+)", cls.said("version"))

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "RCLONE_CONFIG": str(self.folder / "rclone.conf")}

    def command(self) -> list[str]:
        (self.folder / "rclone.conf").touch()
        (self.folder / "users").write_text(_sha1_users(self))
        options = ["--addr", f"127.0.0.1:{self.port}", "--htpasswd", str(self.folder / "users")]
        return [str(self.executable()), "serve", "webdav", str(self.root), *options]


class Copyparty(Peer):
    """copyparty, told that WebDAV clients may overwrite."""

    name = "copyparty"
    install = "python3 -m venv .venv-copyparty && .venv-copyparty/bin/pip install copyparty"
    program = "copyparty"

    @classmethod
    def executable(cls) -> str | None:
        own = REPOSITORY / ".venv-copyparty" / "bin" / "copyparty"
        return str(own) if own.exists() else super().executable()

    @classmethod
    def version(cls) -> str:
        return _first(r"copyparty v(\S+)", cls.said("--version"))

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "XDG_CONFIG_HOME": str(self.folder)}

    def command(self) -> list[str]:
        name, password = self.account.name, self.account.password
        options = ["-q", "-i", "127.0.0.1", "-p", str(self.port), "-a", f"{name}:{password}", "--usernames"]
        options += ["-v", f"{self.root}::A,{name}", "--daw", "--hist", str(self.folder / "history")]
        return [str(self.executable()), *options]


PEERS: tuple[type[Peer], ...] = (
    Baludav, BaludavFast, StockWsgidav, Apache, Nginx, Lighttpd, Rclone, Copyparty,
)  # fmt: skip
TLS_PEERS: tuple[type[Peer], ...] = (Baludav, BaludavFast, Apache)


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else "unknown"


def _sha1_users(peer: Peer) -> str:
    """An htpasswd file with one user."""
    digest = hashlib.sha1(peer.account.password.encode(), usedforsecurity=False).digest()
    return f"{peer.account.name}:{{SHA}}{base64.b64encode(digest).decode()}\n"


def _give(folder: Path, user: str) -> None:
    """Make everything in a folder the user's."""
    entry = pwd.getpwnam(user)
    for path in [folder, *folder.rglob("*")]:
        shutil.chown(path, entry.pw_uid, entry.pw_gid)
