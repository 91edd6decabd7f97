"""Hashes passwords, and makes those that people need not invent.

A password a person chose is hashed with argon2id (RFC 9106). An app password is 160 random bits, which nobody
guesses, so a plain SHA-256 of it can be looked up.
"""

import base64
import hashlib
import re
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_SECRET_BYTES = 20
_READABLE = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0, 1: they are read wrongly
_APP_PASSWORD = re.compile(r"[a-z2-7]{32}")

# OWASP's first choice for argon2id; 20 ms on the machine DESIGN.md was measured on.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# What the password of an unknown user is compared with, so that it takes as long as a known one's.
_nobody = _hasher.hash(secrets.token_urlsafe(16))


def hash_password(password: str) -> str:
    """An argon2id hash with its salt and parameters, as text."""
    return _hasher.hash(_spelled(password))


def verify(password: str, password_hash: str | None) -> bool:
    """True if the password is the hashed one; without a hash, False after the same time."""
    try:
        return _hasher.verify(password_hash or _nobody, _spelled(password)) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(password_hash: str) -> bool:
    """True if the hash was made with other parameters than are used today."""
    return _hasher.check_needs_rehash(password_hash)


def generate() -> str:
    """A random password of 100 bits, in five groups that can be read out."""
    letters = "".join(secrets.choice(_READABLE) for _ in range(20))
    return "-".join(letters[at : at + 4] for at in range(0, 20, 4))


def generate_app_password() -> str:
    """160 random bits, in eight groups of four letters and digits."""
    letters = base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, 32, 4))


def app_password_hash(password: str) -> str | None:
    """SHA-256 in hex under which an app password is stored; None if the text has not its shape.

    Groups may be typed with dashes, blanks or nothing between them, in either case.
    """
    letters = re.sub(r"[-\s]", "", password).lower()
    if not _APP_PASSWORD.fullmatch(letters):
        return None
    return hashlib.sha256(letters.encode()).hexdigest()


def _spelled(password: str) -> bytes:
    # macOS may send a decomposed "é" where Windows sends one character (RFC 8265 §4.2 asks for NFC).
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
