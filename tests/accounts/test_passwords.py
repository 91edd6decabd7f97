"""Password hashes, and the passwords baludav makes itself."""

import pytest
from argon2 import PasswordHasher

from baludav.accounts import passwords


def test_a_hash_knows_its_password_and_no_other() -> None:
    stored = passwords.hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert passwords.verify("correct horse", stored)
    assert not passwords.verify("correct horses", stored)
    assert stored != passwords.hash_password("correct horse")


@pytest.mark.parametrize("stored", [None, "", "plain", "$argon2id$v=19$broken"])
def test_without_a_hash_nothing_is_right(stored: str | None) -> None:
    assert not passwords.verify("anything", stored)


def test_spellings_of_one_password_are_equal() -> None:
    """macOS may send "e" and an accent, Windows one character."""
    assert passwords.verify("cafe\u0301", passwords.hash_password("café"))


def test_old_parameters_are_noticed() -> None:
    assert not passwords.needs_rehash(passwords.hash_password("x"))
    assert passwords.needs_rehash(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("x"))


def test_an_app_password_may_be_typed_in_any_way() -> None:
    secret = passwords.generate_app_password()
    known = passwords.app_password_hash(secret)
    assert known is not None
    assert len(known) == 64
    for typed in (secret.upper(), secret.replace("-", ""), secret.replace("-", " "), f" {secret} "):
        assert passwords.app_password_hash(typed) == known


@pytest.mark.parametrize("text", ["", "secret", "a" * 31, "a" * 33, "1" * 32, "ä" * 32, "abcd-efgh-ijkm-npqr-stuv"])
def test_other_texts_are_no_app_passwords(text: str) -> None:
    assert passwords.app_password_hash(text) is None


def test_generated_passwords_differ_and_can_be_read() -> None:
    made = {passwords.generate() for _ in range(100)}
    assert len(made) == 100
    assert not set("".join(made)) & set("l1o0")
