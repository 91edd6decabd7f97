"""What may stand in a log: nothing that could pass for another line, and nothing secret."""

import re

# What opens a door by itself, wherever it is used: the page on which a user grants a program access, a password before
# the host of a whole URI, and what programs carelessly put into queries.
_SECRETS = re.compile(
    r"(?<=/login/v2/flow/)[^/?]+"
    r"|(?<=://)[^/?@]*(?=@)"
    r"|(?<=[?&;])((?:[\w.-]*(?:token|password|passwd|secret|signature)|auth|key|pass|pwd|sig)=)[^&;]+",
    re.IGNORECASE,
)
_MASK = "***"
_LONGEST = 500  # characters of a target


def one_line(text: str) -> str:
    """The text with everything escaped that could move the cursor or pass for another line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def masked(target: str) -> str:
    """The target of a request, without the secrets that are in some, and not endless."""
    if "?" in target or "://" in target or "/login/" in target:
        target = _SECRETS.sub(lambda found: f"{found[1] or ''}{_MASK}", target)
    return target[:_LONGEST]
