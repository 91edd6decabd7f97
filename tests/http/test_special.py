"""What those who run the server ask: is it alive, is it ready, what has it done?"""

import concurrent.futures
import re
from pathlib import Path

import requests

from tests.http.client import User
from tests.serving import Server, wait_for

TOKEN = "the-token-of-the-metrics"


def _figures(server: Server, **headers: str) -> dict[str, float]:
    answer = requests.get(f"{server.url}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_figures_of_all_workers_and_of_those_that_ended(tmp_path: Path) -> None:
    """Each request is counted once, whichever worker answers and whichever is asked, also after a restart."""
    with Server(tmp_path / "data", workers=2) as server:
        server.add_user("anna")
        for number in range(10):
            anna = User(server, "anna")  # a connection of its own, so that both workers get some
            anna.put(f"/f{number}", b"bytes")
            assert anna.get(f"/f{number}").status_code == 200
            assert anna.get("/missing").status_code == 404
        last = 'baludav_requests_total{method="GET",status="404"}'
        wait_for(lambda: _figures(server).get(last) == 10, 30, "the last answer is counted")
        seen = [_figures(server) for _ in range(6)]
        for figures in seen:
            assert figures['baludav_requests_total{method="PUT",status="201"}'] == 10
            assert figures['baludav_requests_total{method="GET",status="404"}'] == 10
            assert figures['baludav_request_seconds_count{method="PUT"}'] == 10
            assert figures['baludav_request_seconds_bucket{le="+Inf",method="PUT"}'] == 10
        assert figures["baludav_commit_works_total"] >= 10
        server.restart()
        after = _figures(server)
        assert after['baludav_requests_total{method="PUT",status="201"}'] == 10
        files = server.data / "metrics"
        wait_for(lambda: len(list(files.iterdir())) == 3, 10, "one for each worker, and the past")


def test_figures_of_what_goes_on(tmp_path: Path) -> None:
    """Bytes, waiting, the index, the scan, and failures."""
    with Server(tmp_path / "data", workers=2) as server:
        server.add_user("anna")
        anna = User(server, "anna")
        wait_for(lambda: _figures(server)["baludav_compared_roots"] == 2, 30, "both homes were compared")
        before = _figures(server)
        assert anna.put("/f", b"x" * 100_000).status_code == 201
        for _ in range(3):
            assert anna.get("/f").content == b"x" * 100_000
        sent, waited = "baludav_sent_bytes_total", before.get("baludav_sent_bytes_total", 0.0) + 300_000
        wait_for(lambda: _figures(server)[sent] > waited, 30, "the last answer is counted")
        wait_for(lambda: _figures(server)["baludav_open_connections"] >= 1, 30, "the worker has looked")
        after = _figures(server)
        grown = {name: after[name] - before.get(name, 0.0) for name in after}
        assert 100_000 < grown["baludav_received_bytes_total"] < 110_000
        assert 300_000 < grown["baludav_sent_bytes_total"] < 330_000
        for name in ("queue", "commit"):
            assert grown[f"baludav_{name}_seconds_count"] >= 1
            assert grown[f"baludav_{name}_seconds_count"] == grown[f'baludav_{name}_seconds_bucket{{le="+Inf"}}']
            assert grown[f"baludav_{name}_seconds_sum"] > 0
        size = (server.data / "index.db").stat().st_size
        assert size <= after["baludav_index_bytes"] <= size + (64 << 20)
        assert grown["baludav_errors_total"] == 0
        (server.home("anna") / "outside").write_bytes(b"made beside the server")
        wait_for(
            lambda: _figures(server)["baludav_stale_rows_total"] > after["baludav_stale_rows_total"],
            30,
            "it is noticed",
        )
        wait_for(lambda: _figures(server)["baludav_pending_scans"] == 0, 30, "nothing is left to be compared")


def test_writers_share_commits(tmp_path: Path) -> None:
    """Sixteen clients at once need fewer transactions than writes, and each write is in one."""
    with Server(tmp_path / "data", workers=1) as server:
        server.add_user("anna")

        def write(client: int) -> None:
            anna = User(server, "anna")
            for number in range(20):
                assert anna.put(f"/f{client}-{number}", b"x" * 100).status_code == 201

        before = _figures(server)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(write, range(16)))
        after = _figures(server)
    commits, works = (after[name] - before[name] for name in ("baludav_commits_total", "baludav_commit_works_total"))
    assert works >= 320
    assert commits < works


def test_who_may_see_the_figures(tmp_path: Path) -> None:
    """This machine, or who has the token; not who comes through a proxy on it."""
    with Server(tmp_path / "data", environment={"BALUDAV_METRICS_TOKEN": TOKEN}) as server:
        url = f"{server.url}/metrics"
        for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            assert requests.get(url, headers={name: "192.0.2.1"}, timeout=30).status_code == 404
            wrong = {name: "192.0.2.1", "Authorization": f"Bearer {TOKEN}x"}
            assert requests.get(url, headers=wrong, timeout=30).status_code == 404
        assert _figures(server, **{"X-Forwarded-For": "192.0.2.1", "Authorization": f"Bearer {TOKEN}"})


def test_ready(tmp_path: Path) -> None:
    """503 while a home cannot be written to; the names of users are told to this machine only."""
    with Server(tmp_path / "data") as server:
        url = f"{server.url}/readyz"
        compared = "ready\nscan: 1 of 1 homes and shares compared with the index since the start, 0 pending\n"
        wait_for(
            lambda: requests.get(url, timeout=30).text == compared, 30, "the scan is over, whichever worker is asked"
        )
        elsewhere = requests.get(url, headers={"X-Forwarded-For": "192.0.2.1"}, timeout=30)
        assert (elsewhere.status_code, elsewhere.text) == (200, "ready\n")
        home = server.home("admin")
        home.rename(home.with_name("away"))

        def is_unready() -> bool:
            return requests.get(url, timeout=30).status_code == 503

        wait_for(lambda: all(is_unready() for _ in range(8)), 10, "every worker notices that the home is missing")
        assert re.match(r"home admin: .*not mounted", requests.get(url, timeout=30).text)
        outside = requests.get(url, headers={"X-Forwarded-For": "192.0.2.1"}, timeout=30)
        assert (outside.status_code, outside.text) == (503, "not ready\n")
        assert requests.get(f"{server.url}/healthz", timeout=30).text == "ok\n"
        home.with_name("away").rename(home)
        wait_for(lambda: not is_unready(), 10, "the home is back")


def test_where_the_tree_is(server: Server) -> None:
    """Told to who knows only the name of the server, in whatever way it is asked; the method stays."""
    for method in ("GET", "HEAD", "PROPFIND", "OPTIONS"):
        answer = requests.request(method, f"{server.url}/.well-known/webdav", allow_redirects=False, timeout=30)
        assert (answer.status_code, answer.headers["Location"]) == (308, "/dav/")
    alice = User(server, "alice")
    found = alice.session.request("PROPFIND", f"{server.url}/.well-known/webdav", headers={"Depth": "0"}, timeout=30)
    assert (found.status_code, found.url) == (207, f"{server.url}/dav/")
