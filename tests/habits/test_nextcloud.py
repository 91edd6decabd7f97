"""The Nextcloud desktop client while an account is set up and removed, as its source has it.

What it does in between is run for real (`conformance/test_nextcloudcmd.py`); its wizard has no other form than windows.
"""

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.habits.wire import Client
from tests.http.browser import Browser
from tests.http.client import User, basic

AGENT = "Mozilla/5.0 (Linux) mirall/3.16 (Nextcloud, debian-6.1.0 ClientArchitecture: x86_64 OsArchitecture: x86_64)"
NAMED = "mycomputer (Desktop Client - Linux)"
ROOT = (
    b'<?xml version="1.0" ?><d:propfind xmlns:d="DAV:"><d:prop><d:getlastmodified/></d:prop></d:propfind>'
)  # fmt: skip


@pytest.fixture
def desktop(alice: User) -> Iterator[Client]:
    client = Client(alice, User_Agent=AGENT, Accept="*/*", OCS_APIREQUEST="true")
    del client.fields["Authorization"]
    yield client
    client.close()


def test_setting_up_and_removing_an_account(desktop: Client, alice: User) -> None:
    """It finds out what kind of server this is, how to sign in, and who did; at the end it gives its password back."""
    status = json.loads(desktop("GET", "//status.php", 200).body)
    assert status["installed"]
    assert int(status["version"].split(".")[0]) >= 16, "it takes login flow v2 from this version on"
    # 401 with Basic here makes it ask for a name and a password in a window of its own.
    desktop("GET", "//", 200)
    challenge = desktop("PROPFIND", "//remote.php/dav/files/", 401, b"", Depth="0")
    assert challenge.headers["WWW-Authenticate"].startswith("Basic ")
    desktop("GET", "//ocs/v2.php/cloud/capabilities", 401)

    asked = json.loads(desktop("POST", "//index.php/login/v2", 200, b"", User_Agent=NAMED).body)
    form = urlencode({"token": asked["poll"]["token"]}).encode()
    poll = asked["poll"]["endpoint"].removeprefix(alice.server.url)

    def ask(status: int) -> bytes:
        kind = "application/x-www-form-urlencoded"
        return desktop("POST", f"/{poll}", status, form, Content_Type=kind).body

    ask(404)
    assert Browser(f"{asked['login']}?user=alice").submit(*alice.server.auth("alice")).status_code == 200
    given = json.loads(ask(200))
    assert given["server"] == alice.server.url

    desktop.fields["Authorization"] = basic(given["loginName"], given["appPassword"])
    desktop("PROPFIND", "//remote.php/dav/files/alice/", 207, ROOT, Depth="0")
    user = json.loads(desktop("GET", "//ocs/v1.php/cloud/user", 200, Accept="application/json").body)
    assert user["ocs"]["data"]["id"] == "alice"
    desktop("DELETE", "//ocs/v2.php/core/apppassword", 200)
    desktop("PROPFIND", "//remote.php/dav/files/alice/", 401, ROOT, Depth="0")
