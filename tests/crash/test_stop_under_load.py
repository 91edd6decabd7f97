"""SIGTERM and the death of one worker while clients write: only what is open at that moment can go unanswered."""

import os
import random
import signal
import threading
from pathlib import Path

import pytest
import requests

from tests.crash.test_kill_under_load import CLIENTS, NAMES, Client, compare, one_request, work
from tests.serving import Server, wait_for


@pytest.fixture
def loaded(tmp_path: Path) -> tuple[Server, list[Client]]:
    return Server(tmp_path / "data", workers=2), [Client(number, random.Random(number)) for number in range(CLIENTS)]


def _begin(server: Server, clients: list[Client]) -> str:
    server.add_user("alice", "alice's password")
    top = server.dav("alice").rstrip("/")
    for client in clients:
        made = requests.request("MKCOL", f"{top}/{client.number}", auth=server.auth("alice"), timeout=60)
        assert made.status_code == 201
    return top


def _all_well(server: Server) -> None:
    server.restart()
    assert list((server.home("alice") / ".baludav/tmp").iterdir()) == []
    server.baludav("index", "check")


def test_a_stop_answers_what_it_has_begun(loaded: tuple[Server, list[Client]]) -> None:
    """What was acknowledged is there, and what was not answered was not done."""
    server, clients = loaded
    with server:
        top = _begin(server, clients)
        for _ in range(2):
            stop, begun = threading.Event(), threading.Barrier(len(clients))
            seen = {client.number: client.acknowledged for client in clients}
            threads = [
                threading.Thread(target=work, args=(c, f"{top}/{c.number}", server.auth("alice"), stop, begun))
                for c in clients
            ]
            for thread in threads:
                thread.start()
            wait_for(lambda: all(c.acknowledged > seen[c.number] + 2 for c in clients), 60, "all clients write")  # noqa: B023
            server.stop()  # the load goes on meanwhile
            stop.set()
            for thread in threads:
                thread.join(60)
            server.start()
            for client in clients:
                client.pending.clear()
                compare(client, f"{top}/{client.number}", server)
        _all_well(server)


def test_a_worker_that_dies_takes_only_its_own_requests(loaded: tuple[Server, list[Client]]) -> None:
    """Each client meets one failure at most, and finds the old or the new; then another worker serves it."""
    server, clients = loaded
    with server:
        top = _begin(server, clients)
        stop = threading.Event()
        failures = [0] * len(clients)

        def write(client: Client) -> None:
            url = f"{top}/{client.number}"
            session = requests.Session()
            session.auth = server.auth("alice")
            while not stop.is_set():
                try:
                    one_request(client, session, url)
                except requests.RequestException:
                    failures[client.number] += 1
                    compare(client, url, server)
                client.pending.clear()
                client.acknowledged += 1
            session.close()

        threads = [threading.Thread(target=write, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: all(client.acknowledged > 3 for client in clients), 60, "all clients write")
            before = set(server.pids())
            victim = server.pids()[1]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: len(set(server.pids()) - before) == 1, 60, "it is replaced")
            seen = [client.acknowledged for client in clients]
            wait_for(
                lambda: all(client.acknowledged > seen[client.number] + 3 for client in clients),
                60,
                "all clients go on",
            )
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert max(failures) <= 1
        for client in clients:
            compare(client, f"{top}/{client.number}", server)
            assert set(client.bodies) <= set(map(str, range(NAMES)))
        _all_well(server)
