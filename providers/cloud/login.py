"""How a sync client gets a password of its own: its user signs in on a page of this server, and grants it access.

In the second version of this login the client asks for an address, has its user open it in any browser, and collects
the password by asking again and again. In the first, which phones use, it shows the page itself and is led to an
address of its own (`nc://login/…`) that holds the password. Either way it becomes a device of the user.
"""

import hmac
import re
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from baludav.accounts.accounts import Principal
from baludav.accounts.address import client_address
from baludav.errors import Forbidden, LimitReached, NotFound, NotSignedIn, TooManyRequests
from baludav.limits.reached import note
from providers.cloud import page
from providers.cloud.call import Call, json_answer, text_answer
from providers.request import Answer, Headers

_BASE = "/index.php/login"
_HTML = "text/html; charset=utf-8"
_TOKEN = re.compile(r"[\w-]{43}", re.ASCII)
_LONGEST_NAME = 100  # characters
_MOBILE = re.compile(r"\b(Android|iOS|iPhone|iPad)\b", re.IGNORECASE)
_DESKTOP = re.compile(r"\b(Desktop|mirall|Windows|Macintosh|Linux)\b", re.IGNORECASE)


def second(call: Call) -> Answer:
    """Answer a request below `/index.php/login/v2`."""
    match call.path:
        case ():
            call.require_method("POST")
            return _begin(call)
        case ("poll",):
            call.require_method("POST")
            return _poll(call)
        case ("flow", token):
            call.require_method("GET", "HEAD", "POST")
            return _grant(call, token)
    raise NotFound()


def first(call: Call) -> Answer:
    """Answer a request on `/index.php/login/flow`."""
    if call.path:
        raise NotFound()
    call.require_method("GET", "HEAD", "POST")
    guards = page.guards("nc:")
    client = _client(call)
    if call.method != "POST":
        # Whoever is led here by a link is not in the app that could collect the password.
        if call.environ.get("HTTP_OCS_APIREQUEST") != "true":
            text = "This page is for the Nextcloud app, which opens it by itself when you add an account."
            return _shown(call, page.notice("Open this in the app", text), guards, 403)
        return _form(call, client, guards)
    outcome = _signed_in(call, client, guards)
    if isinstance(outcome, Answer):
        return outcome
    password = _device(call, outcome, client)
    parts = {"server": call.origin, "user": quote(outcome.name, safe=""), "password": quote(password, safe="")}
    target = "nc://login/" + "&".join(f"{name}:{value}" for name, value in parts.items())
    return Answer(303, [("Location", target), ("Cache-Control", "no-store"), ("Content-Length", "0"), *guards])


def _begin(call: Call) -> Answer:
    asked = call.house.logins.begin(_client(call), _address(call))
    base = f"{call.origin}{_BASE}/v2"
    poll = {"token": asked.program, "endpoint": f"{base}/poll"}
    return json_answer(call, {"poll": poll, "login": f"{base}/flow/{asked.page}"})


def _poll(call: Call) -> Answer:
    granted = call.house.logins.collect(call.form().get("token", ""))
    principal = None if granted is None else call.house.accounts.principal(granted.user_id)
    if granted is None or principal is None:
        return json_answer(call, [], 404)
    password = _device(call, principal, granted.client)
    return json_answer(call, {"server": call.origin, "loginName": principal.name, "appPassword": password})


def _grant(call: Call, token: str) -> Answer:
    guards = page.guards()
    try:
        client = call.house.logins.client(token)
        if call.method != "POST":
            return _form(call, client, guards)
        outcome = _signed_in(call, client, guards)
        if isinstance(outcome, Answer):
            return outcome
        call.house.logins.grant(token, outcome)
    except NotFound as failure:
        return _shown(call, page.notice("Nothing waits for access here", f"{failure}."), guards, 404)
    return _shown(call, page.notice("Done", f"{client} has access now. You can close this page."), guards)


def _signed_in(call: Call, client: str, guards: Headers) -> Principal | Answer:
    """Who sent the form, or what they see instead."""
    sent, cookie = call.form(), _cookie(call)
    try:
        # Another site can have a browser send this form, but knows neither the cookie nor what is in the page.
        if cookie is None or not hmac.compare_digest(sent.get("token", "").encode(), cookie.encode()):
            raise Forbidden("This form is out of date, or cookies are off; try again")
        principal = call.house.sign_in.check(sent.get("user", ""), sent.get("password", ""), _address(call))
        if principal.device_id is not None:
            raise Forbidden("That is the password of a device; sign in with your own")
        devices = call.house.devices
        if len(devices.of(principal.id)) >= devices.most:
            told = f"You have {devices.most} devices; end the access of one that you do not use any more"
            raise LimitReached(told).at("devices", principal.name)
    except NotSignedIn:
        problem = "Wrong user name or password"
        return _form(call, client, guards, user=sent.get("user", ""), problem=problem, status=403)
    except TooManyRequests as failure:
        problem = f"Too many failed sign-ins; try again in {failure.retry_after} seconds"
        return _form(call, client, [*guards, *failure.headers], problem=problem, status=429)
    except (Forbidden, LimitReached) as failure:
        note(call.environ, failure)
        return _form(call, client, guards, problem=str(failure), status=failure.status)
    return principal


def _form(
    call: Call, client: str, guards: Headers, *, user: str | None = None, problem: str = "", status: int = 200
) -> Answer:
    token = _cookie(call) or secrets.token_urlsafe(32)
    user = call.query.get("user", "") if user is None else user
    host = call.origin.partition("://")[2]
    body = page.form(page.Form(client, host, token, user[:255], problem))
    cookie = f"{_cookie_name(call)}={token}; Path=/; HttpOnly; SameSite=Strict{'; Secure' * _is_secure(call)}"
    return _shown(call, body, [*guards, ("Set-Cookie", cookie)], status)


def _shown(call: Call, body: bytes, headers: Headers, status: int = 200) -> Answer:
    return text_answer(call, body, _HTML, status, headers)


def _device(call: Call, principal: Principal, client: str) -> str:
    """Make the program a device of the user; the password that it gets."""
    kind = "mobile" if _MOBILE.search(client) else "desktop" if _DESKTOP.search(client) else "other"
    token = call.house.tree.of(principal).token()
    return call.house.devices.add(principal.id, client, kind, str(token))[1]


def _client(call: Call) -> str:
    """What the program calls itself, as the name of a device: printable, and without slashes."""
    agent = call.environ.get("HTTP_USER_AGENT", "").encode("latin-1", "replace").decode("utf-8", "replace")
    agent = agent.removeprefix("Mozilla/5.0")
    shown = "".join(letter if letter.isprintable() and letter not in "/\\" else " " for letter in agent)
    return " ".join(shown.split())[:_LONGEST_NAME].strip() or "A program without a name"


def _address(call: Call) -> str:
    return client_address(call.environ, call.house.config.settings.trusted_proxies)


def _cookie(call: Call) -> str | None:
    """The secret of the form that the browser has been given."""
    try:
        found = SimpleCookie(call.environ.get("HTTP_COOKIE", "")).get(_cookie_name(call))
    except CookieError:
        return None
    return found.value if found is not None and _TOKEN.fullmatch(found.value) else None


def _cookie_name(call: Call) -> str:
    # With this prefix, nobody but this very host can have set it (RFC 6265bis §4.1.3); it needs https.
    return "__Host-baludav-login" if _is_secure(call) else "baludav-login"


def _is_secure(call: Call) -> bool:
    return call.origin.startswith("https:")
