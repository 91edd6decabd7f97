"""kill -9 of the whole server while clients write: whatever was acknowledged is there after the next start."""

import hashlib
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.serving import Server

CLIENTS = 6
ROUNDS = 4
NAMES = 8


@dataclass
class Client:
    """One client's resources, as the server has acknowledged them; `pending` is the change it knows nothing about."""

    number: int
    random: random.Random
    bodies: dict[str, bytes] = field(default_factory=dict)
    pending: dict[str, bytes | None] = field(default_factory=dict)  # None: absent
    acknowledged: int = 0


def work(client: Client, url: str, auth: tuple[str, str], stop: threading.Event, begun: threading.Barrier) -> None:
    session = requests.Session()
    session.auth = auth
    begun.wait()
    try:
        while not stop.is_set():
            one_request(client, session, url)
            client.pending.clear()
            client.acknowledged += 1
    except requests.RequestException:
        pass  # the kill
    finally:
        session.close()


def one_request(client: Client, session: requests.Session, url: str) -> None:
    name, other = (str(client.random.randrange(NAMES)) for _ in range(2))
    action = client.random.choice(["put", "put", "put", "move", "copy", "delete"])
    old = client.bodies.get(name)
    if action == "put":
        body = client.random.randbytes(client.random.choice([0, 100, 5_000, 200_000]))
        client.pending = {name: body}
        answer = session.put(f"{url}/{name}", data=body, timeout=60)
        assert answer.status_code in (201, 204), answer.text
        client.bodies[name] = body
    elif old is not None and action == "delete":
        client.pending = {name: None}
        assert session.delete(f"{url}/{name}", timeout=60).status_code == 204
        del client.bodies[name]
    elif old is not None and name != other and action in ("move", "copy"):
        client.pending = {other: old}
        if action == "move":
            client.pending[name] = None
        headers = {"Destination": f"{url}/{other}"}
        answer = session.request(action.upper(), f"{url}/{name}", headers=headers, timeout=60)
        assert answer.status_code in (201, 204), answer.text
        client.bodies[other] = old
        if action == "move":
            del client.bodies[name]


def test_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    """After each kill: acknowledged bytes with their entity-tags, changes under way old or new, no debris."""
    with Server(tmp_path / "data", workers=2) as server:
        server.add_user("alice", "alice's password")
        clients = [Client(number, random.Random(number)) for number in range(CLIENTS)]
        top = server.dav("alice").rstrip("/")
        for client in clients:
            made = requests.request("MKCOL", f"{top}/{client.number}", auth=server.auth("alice"), timeout=60)
            assert made.status_code == 201
        chance = random.Random(7)
        for _ in range(ROUNDS):
            _round(server, clients, top, chance.uniform(0.3, 1.2))
            server.start()
            for client in clients:
                compare(client, f"{top}/{client.number}", server)
            assert list((server.home("alice") / ".baludav/tmp").iterdir()) == []
            server.baludav("index", "check")
        assert sum(client.acknowledged for client in clients) > 100


def _round(server: Server, clients: list[Client], top: str, seconds: float) -> None:
    stop = threading.Event()
    begun = threading.Barrier(len(clients) + 1)
    threads = [
        threading.Thread(target=work, args=(c, f"{top}/{c.number}", server.auth("alice"), stop, begun)) for c in clients
    ]
    for thread in threads:
        thread.start()
    begun.wait()
    stop.wait(seconds)  # the load goes on while the server dies
    server.kill()
    stop.set()
    for thread in threads:
        thread.join(60)


def compare(client: Client, url: str, server: Server) -> None:
    for name in map(str, range(NAMES)):
        answer = requests.get(f"{url}/{name}", auth=server.auth("alice"), timeout=60)
        body = answer.content if answer.status_code == 200 else None
        assert answer.status_code in (200, 404)
        allowed = [client.bodies.get(name)]
        if name in client.pending:
            allowed.append(client.pending[name])
        assert body in allowed
        if body is not None:
            assert answer.headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"'
            client.bodies[name] = body
        else:
            client.bodies.pop(name, None)
    client.pending.clear()
