"""A proxy that compresses changes the ETag on its way to the client, which sends back what it was told."""

from collections.abc import Iterator

import pytest

from tests.habits.wire import Client, left
from tests.http.client import User, etag

OLD, NEW = b"old text " * 999, b"new text " * 999

# As nginx, Apache's mod_deflate and mod_brotli, IIS and other proxies write them.
ALTERED = ["W/{etag}", '{bare}-gzip"', 'W/{bare}-gzip"', '{bare};gzip"', '{bare}--gzip"', '{bare}-br"']


@pytest.fixture
def editor(alice: User) -> Iterator[Client]:
    client = Client(alice, User_Agent="an editor behind a proxy")
    yield client
    client.close()


@pytest.mark.parametrize("altered", ALTERED)
def test_a_save_after_a_compressed_download(editor: Client, alice: User, altered: str) -> None:
    """If-Match and `If` hold as if nothing had been altered; once the bytes are others, they do not."""
    alice.put("/notes.txt", OLD)
    told = altered.format(etag=etag(OLD), bare=etag(OLD)[:-1])
    editor("GET", "/notes.txt", 304, If_None_Match=told)
    editor("PUT", "/notes.txt", 204, NEW, If_Match=told)
    editor("PUT", "/notes.txt", 412, b"lost update", If_Match=told)
    editor("PUT", "/notes.txt", 412, b"lost update", If=f"([{told}])")
    assert left(alice) == {"notes.txt": NEW}
    editor("DELETE", "/notes.txt", 412, If_Match=told)
    editor("DELETE", "/notes.txt", 204, If_Match=altered.format(etag=etag(NEW), bare=etag(NEW)[:-1]))
