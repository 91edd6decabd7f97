"""The page where a user signs in and grants a program access: plain HTML, no script, nothing from elsewhere."""

import base64
import hashlib
import html
from typing import NamedTuple

from providers.request import Headers

_STYLE = """
:root { color-scheme: light dark; font: 1.05rem/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 28rem; padding: 1.5rem 1rem; }
h1 { font-size: 1.4rem; }
strong { overflow-wrap: anywhere; }
label { display: block; margin-top: 1rem; }
input, button { box-sizing: border-box; font: inherit; margin-top: .25rem; padding: .6rem; width: 100%; }
button { cursor: pointer; margin-top: 1.5rem; }
[role=alert] { border-left: .3rem solid #c00; padding-left: .7rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


class Form(NamedTuple):
    """What the form shows.

    Attributes:
        client: what the program calls itself.
        host: this server, as the user's browser knows it.
        token: that must come back with the form.
        user: what stands in the field for the name.
        problem: why the last try did not work.
    """

    client: str
    host: str
    token: str
    user: str = ""
    problem: str = ""


def guards(*schemes: str) -> Headers:
    """Header fields that keep the page from being framed, and from doing anything but sending its form here.

    Args:
        schemes: of other addresses to which the answer to the form may lead.
    """
    policy = [
        "default-src 'none'",
        f"style-src 'sha256-{_STYLE_HASH}'",
        " ".join(("form-action 'self'", *schemes)),
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    return [("Content-Security-Policy", "; ".join(policy)), ("X-Frame-Options", "DENY")]


def form(shown: Form) -> bytes:
    """The form."""
    client, host, token, user, problem = map(html.escape, shown)
    alert = f'<p role="alert">{problem}</p>\n' if problem else ""
    # Who has the name filled in needs only the password.
    on_name, on_password = ("", " autofocus") if user else (" autofocus", "")
    return _page(
        "Give this program access?",
        f"""<p><strong>{client}</strong> asks for access to your files on <strong>{host}</strong>.</p>
<p>It will be able to see, change and delete everything that you can see, change and delete here. It does not get
your password, but one of its own, and will be listed among your devices, where its access can be ended.</p>
<p>Go on only if you have just started this program yourself, on a device that you trust.</p>
{alert}<form method="post">
<input type="hidden" name="token" value="{token}">
<label for="user">User name</label>
<input id="user" name="user" value="{user}" autocomplete="username" autocapitalize="none" autocorrect="off"
 spellcheck="false" required{on_name}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{on_password}>
<button>Sign in and give access</button>
</form>
""",
    )


def notice(title: str, text: str) -> bytes:
    """A page that only says something."""
    return _page(title, f"<p>{html.escape(text)}</p>\n")


def _page(title: str, content: str) -> bytes:
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
{content}</main>
</body>
</html>
"""
    return page.encode()
