"""A sync client gets a password of its own: its user grants it access on a page, and it becomes a device."""

import base64
import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest
import requests

from baludav.config import Limits
from tests.http.browser import Browser, Page
from tests.http.client import basic
from tests.serving import Server

SECONDS = 60
DESKTOP = "mycomputer (Desktop Client - Linux)"
PHONE = "Mozilla/5.0 (Android) Nextcloud-android/3.30.1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own: failed sign-ins slow down those that follow."""
    environment = {"BALUDAV_TRUSTED_PROXIES": '["127.0.0.1"]'}
    with Server(tmp_path_factory.mktemp("login") / "data", environment=environment) as server:
        for name in ("alice", "bob", "carla"):
            server.add_user(name)
        yield server


def _begin(server: Server, agent: str = DESKTOP, **headers: str) -> tuple[str, dict[str, str]]:
    """What a client is told: the address of the page, and how it polls."""
    fields = {"User-Agent": agent, **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = requests.post(f"{server.url}/index.php/login/v2", headers=fields, timeout=SECONDS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.json()["login"], answer.json()["poll"]


def _poll(poll: dict[str, str]) -> requests.Response:
    return requests.post(poll["endpoint"], data={"token": poll["token"]}, timeout=SECONDS)


def _granted(server: Server, user: str, agent: str = DESKTOP) -> str:
    """The password that a client gets."""
    login, poll = _begin(server, agent)
    assert Browser(login).submit(*server.auth(user)).status_code == 200
    password = _poll(poll).json()["appPassword"]
    assert isinstance(password, str)
    return password


def _devices(server: Server, user: str) -> dict[str, dict[str, object]]:
    answer = requests.get(f"{server.url}/api/sync/devices", auth=server.auth(user), timeout=SECONDS)
    return {device["name"]: device for device in answer.json()["devices"]}


def test_a_desktop_client_gets_a_password(server: Server) -> None:
    """404 until the user has granted it; then, once, what it needs to sign in."""
    login, poll = _begin(server)
    assert login.startswith(server.url + "/")
    assert (_poll(poll).status_code, _poll(poll).json()) == (404, [])
    browser = Browser(login)
    assert browser.answer.status_code == 200
    assert _poll(poll).status_code == 404
    assert "has access now" in browser.submit(*server.auth("alice")).text
    given = _poll(poll)
    assert given.headers["Cache-Control"] == "no-store"
    assert set(given.json()) == {"server", "loginName", "appPassword"}
    assert (given.json()["server"], given.json()["loginName"]) == (server.url, "alice")
    assert _poll(poll).status_code == 404
    password = given.json()["appPassword"]
    assert password != server.auth("alice")[1]
    signed_in = requests.get(
        f"{server.url}/ocs/v2.php/cloud/user?format=json", auth=("alice", password), timeout=SECONDS
    )
    assert signed_in.json()["ocs"]["data"]["id"] == "alice"


def test_it_becomes_a_device(server: Server) -> None:
    """Named as the client calls itself; what it changes is its doing, and its access can be ended."""
    password = _granted(server, "bob", DESKTOP)
    device = _devices(server, "bob")[DESKTOP]
    assert device["device_type"] == "desktop"
    url = f"{server.url}/remote.php/dav/files/bob/by the client"
    assert requests.put(url, b"1", auth=("bob", password), timeout=SECONDS).status_code == 201
    first = requests.get(f"{server.url}/api/sync/state", auth=server.auth("bob"), timeout=SECONDS).json()
    assert requests.put(url, b"2", auth=("bob", password), timeout=SECONDS).status_code == 204
    (change,) = requests.get(
        f"{server.url}/api/sync/changes",
        params={"since": first["change_token"]},
        auth=server.auth("bob"),
        timeout=SECONDS,
    ).json()["changes"]
    assert (change["path"], change["device_id"]) == ("/by the client", device["device_id"])
    address = f"{server.url}/api/sync/devices/{device['device_id']}"
    assert requests.delete(address, auth=server.auth("bob"), timeout=SECONDS).status_code == 204
    assert requests.put(url, b"3", auth=("bob", password), timeout=SECONDS).status_code == 401


def test_a_client_gives_its_password_back(server: Server) -> None:
    """When its account is removed; the user's own password is none that could be given back."""
    password = _granted(server, "bob", "leaving (Desktop Client - Windows)")
    url = f"{server.url}/ocs/v2.php/core/apppassword?format=json"
    assert requests.delete(url, auth=server.auth("bob"), timeout=SECONDS).status_code == 404
    assert requests.delete(url, auth=("bob", password), timeout=SECONDS).json()["ocs"]["meta"]["statuscode"] == 200
    assert "leaving (Desktop Client - Windows)" not in _devices(server, "bob")
    assert requests.delete(url, auth=("bob", password), timeout=SECONDS).status_code == 401


@pytest.mark.parametrize(
    ("agent", "name", "kind"),
    [
        (PHONE, "(Android) Nextcloud-android 3.30.1", "mobile"),
        ("Mozilla/5.0 (iOS) Nextcloud-iOS/6.0", "(iOS) Nextcloud-iOS 6.0", "mobile"),
        ("Mozilla/5.0 (Linux) mirall/3.7.3", "(Linux) mirall 3.7.3", "desktop"),
        ("m\u00fcslis PC".encode().decode("latin-1"), "m\u00fcslis PC", "other"),
        ("a\tb\u202e\\c/../d", "a b c .. d", "other"),
        ("x" * 300, "x" * 100, "other"),
        ("", "A program without a name", "other"),
    ],
)
def test_what_a_device_is_called(server: Server, agent: str, name: str, kind: str) -> None:
    """Whatever the client sends, it is a name as those that devices give themselves."""
    agent = agent.encode("utf-8").decode("latin-1") if "\u202e" in agent else agent
    _granted(server, "carla", agent)
    assert _devices(server, "carla")[name]["device_type"] == kind


def test_one_of_many_polls_gets_it(server: Server) -> None:
    """At once, on all workers: the password is told once."""
    login, poll = _begin(server, "racer")
    Browser(login).submit(*server.auth("alice"))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _poll(poll), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 15
    assert sum(name == "racer" for name in _devices(server, "alice")) == 1


def test_the_page_says_what_is_granted_to_what(server: Server) -> None:
    login, _ = _begin(server)
    page = Browser(login + "?user=al%22ice").page
    assert f"{DESKTOP} asks for access to your files on {server.url.removeprefix('http://')}" in page.text
    assert "see, change and delete everything" in page.text
    assert page.fields.keys() == {"token", "user", "password"}
    assert page.fields["user"] == 'al"ice'


def test_the_page_is_plain_and_guarded(server: Server) -> None:
    """No script, nothing from elsewhere, in nobody's frame; what a client calls itself stays text."""
    login, _ = _begin(server, "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;")
    for answer in (Browser(login).answer, Browser(login).submit("alice", '"><script>')):
        page = Page(answer)
        assert not {"script", "img", "link", "iframe"} & page.elements
        assert "<script>alert(1)< script>" in page.text
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self';" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_style_is_what_the_policy_allows(server: Server) -> None:
    answer = Browser(_begin(server)[0]).answer
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]


def test_another_site_cannot_send_the_form(server: Server) -> None:
    """It has no cookie of the browser's, or does not know what the page says."""
    login, poll = _begin(server)
    browser = Browser(login)
    other = Browser(login)
    for sent in (
        browser.submit(*server.auth("alice"), token=""),
        browser.submit(*server.auth("alice"), token=other.page.fields["token"]),
        browser.submit(*server.auth("alice"), token="\u00e9" * 43),
        requests.post(
            login,
            data={**browser.page.fields, "user": "alice", "password": server.auth("alice")[1]},
            timeout=SECONDS,
        ),
    ):
        assert sent.status_code == 403
        assert "out of date" in sent.text
    assert _poll(poll).status_code == 404
    (cookie,) = browser.cookies
    assert (cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == ("/", True)
    assert "SameSite=Strict" in browser.answer.headers["Set-Cookie"]
    assert browser.submit(*server.auth("alice")).status_code == 200


def test_wrong_passwords(server: Server) -> None:
    """The form again, with the name that was typed; no hint at which of the two was wrong."""
    login, poll = _begin(server)
    browser = Browser(login, X_Forwarded_For="192.0.2.77")
    for user, password in (("alice", "wrong"), ("nobody", "wrong"), ("", ""), ("alice", "")):
        answer = browser.submit(user, password)
        assert answer.status_code == 403
        assert "Wrong user name or password" in answer.text
        assert "WWW-Authenticate" not in answer.headers
        assert Page(answer).fields["user"] == user
    assert _poll(poll).status_code == 404


def test_the_token_of_a_device_grants_nothing(server: Server) -> None:
    """A device that could let others in would outlive its own removal."""
    password = _granted(server, "alice")
    login, poll = _begin(server)
    answer = Browser(login).submit("alice", password)
    assert (answer.status_code, "password of a device" in answer.text) == (403, True)
    assert _poll(poll).status_code == 404


def test_who_has_too_many_devices(server: Server) -> None:
    """It is said on the page, while something can be done about it; nothing is granted."""
    server.add_user("collector")
    for number in range(Limits().devices):
        made = requests.post(
            f"{server.url}/api/sync/devices",
            json={"name": str(number), "device_type": "other"},
            auth=server.auth("collector"),
            timeout=SECONDS,
        )
        assert made.status_code == 201
    login, poll = _begin(server)
    browser = Browser(login)
    answer = browser.submit(*server.auth("collector"))
    assert (answer.status_code, f"You have {Limits().devices} devices" in answer.text) == (409, True)
    assert _poll(poll).status_code == 404
    address = f"{server.url}/api/sync/devices/{made.json()['device_id']}"
    assert requests.delete(address, auth=server.auth("collector"), timeout=SECONDS).status_code == 204
    assert browser.submit(*server.auth("collector")).status_code == 200
    assert _poll(poll).status_code == 200


def test_guessing_on_the_page_counts_like_everywhere(server: Server) -> None:
    login, _ = _begin(server)
    browser = Browser(login, X_Forwarded_For="192.0.2.1")
    statuses = [browser.submit("alice", f"guess {number}").status_code for number in range(12)]
    assert statuses[0] == 403
    assert statuses[-1] == 429
    slowed = browser.submit(*server.auth("alice"))
    assert slowed.status_code == 429
    assert int(slowed.headers["Retry-After"]) > 0
    elsewhere = requests.request(
        "PROPFIND",
        server.dav("alice"),
        headers={"Authorization": basic(*server.auth("alice")), "X-Forwarded-For": "192.0.2.1", "Depth": "0"},
        timeout=SECONDS,
    )
    assert elsewhere.status_code == 429
    assert Browser(login, X_Forwarded_For="192.0.2.2").submit(*server.auth("alice")).status_code == 200


def test_an_address_that_leads_nowhere(server: Server) -> None:
    """Unknown, used already, or of the other secret."""
    login, poll = _begin(server)
    Browser(login).submit(*server.auth("alice"))
    for address in (login, login[:-1], f"{login.rpartition('/')[0]}/{poll['token']}"):
        answer = requests.get(address, timeout=SECONDS)
        assert answer.status_code == 404
        assert "begin again in the program" in answer.text
    for path in ("/v2/flow", "/v2/other", "/v2/flow/a/b", "/flow/x", "/v3", ""):
        assert requests.get(f"{server.url}/index.php/login{path}", timeout=SECONDS).status_code in (401, 404)
    for path in ("/v2", "/v2/poll"):
        assert requests.get(f"{server.url}/index.php/login{path}", timeout=SECONDS).status_code == 405


def test_behind_a_proxy_that_ends_tls(server: Server) -> None:
    """The client refuses an address without TLS if it asked by one with it."""
    headers = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.9", "Host": "nas.example.org"}
    login, poll = _begin(server, **headers)
    assert login.startswith("https://nas.example.org/index.php/login/v2/flow/")
    assert poll["endpoint"] == "https://nas.example.org/index.php/login/v2/poll"
    near = login.replace("https://nas.example.org", server.url)
    opened = requests.get(near, headers={name.replace("_", "-"): headers[name] for name in headers}, timeout=SECONDS)
    assert re.match(
        "__Host-baludav-login=[^;]+; Path=/; HttpOnly; SameSite=Strict; Secure", opened.headers["Set-Cookie"]
    )
    cookie = opened.headers["Set-Cookie"].partition(";")[0]
    user, password = server.auth("alice")
    sent = requests.post(
        near,
        data={**Page(opened).fields, "user": user, "password": password},
        headers={**{name.replace("_", "-"): headers[name] for name in headers}, "Cookie": cookie},
        timeout=SECONDS,
    )
    assert sent.status_code == 200, sent.text
    given = requests.post(
        f"{server.url}/index.php/login/v2/poll",
        data={"token": poll["token"]},
        headers={name.replace("_", "-"): headers[name] for name in headers},
        timeout=SECONDS,
    )
    assert given.json()["server"] == "https://nas.example.org"


@pytest.mark.parametrize("host", ["a b", 'x"><script>', "a/b", "a&user:eve", "a:b", "[x"])
def test_a_host_that_is_none(server: Server, host: str) -> None:
    answer = requests.post(f"{server.url}/index.php/login/v2", headers={"Host": host}, timeout=SECONDS)
    assert answer.status_code == 400


def test_a_phone_is_led_back_to_its_app(server: Server) -> None:
    """It shows the page itself, and gets the password in an address that only it opens."""
    browser = Browser(f"{server.url}/index.php/login/flow", User_Agent=PHONE, OCS_APIREQUEST="true")
    assert "(Android) Nextcloud-android 3.30.1" in browser.page.text
    assert "form-action 'self' nc:;" in browser.answer.headers["Content-Security-Policy"]
    assert browser.submit("carla", "wrong").status_code == 403
    answer = browser.submit(*server.auth("carla"))
    assert answer.status_code == 303
    assert answer.headers["Cache-Control"] == "no-store"
    found = re.fullmatch("nc://login/server:(.*)&user:(.*)&password:(.*)", answer.headers["Location"])
    assert found is not None
    assert (found[1], unquote(found[2])) == (server.url, "carla")
    opened = requests.request(
        "PROPFIND",
        f"{server.url}/remote.php/dav/files/carla/",
        auth=("carla", unquote(found[3])),
        headers={"Depth": "0"},
        timeout=SECONDS,
    )
    assert opened.status_code == 207
    assert "Nextcloud-android" in "".join(_devices(server, "carla"))


def test_nobody_is_led_to_the_page_of_a_phone(server: Server) -> None:
    """By a link in a browser, say: only the app asks so, and another site cannot send the form."""
    address = f"{server.url}/index.php/login/flow"
    assert Browser(address).answer.status_code == 403
    user, password = server.auth("carla")
    sent = requests.post(address, data={"user": user, "password": password, "token": ""}, timeout=SECONDS)
    assert sent.status_code == 403
    assert "nc:" not in sent.headers.get("Location", "")


def test_a_client_sees_that_there_is_a_page_to_sign_in_at(server: Server) -> None:
    """The Nextcloud client falls back to a name and a password if a GET of `/` asks for them."""
    assert requests.get(f"{server.url}/", timeout=SECONDS).status_code == 200
    assert requests.request("PROPFIND", f"{server.url}/", timeout=SECONDS).status_code == 401
    challenge = requests.request("PROPFIND", f"{server.url}/remote.php/webdav/", timeout=SECONDS)
    assert challenge.headers["WWW-Authenticate"].startswith("Basic ")
