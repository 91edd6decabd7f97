"""One server for the tests of a process, and a fresh collection for each test."""

import itertools
import os
import re
import signal
from collections.abc import Generator, Iterator

import pytest
import requests
from hypothesis import HealthCheck, settings

from tests.serving import Server, serving

# The same examples in each run, and no failure because the machine is slow.
settings.register_profile(
    "baludav", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("baludav")

# Run in the background or by nohup, a process ignores these, and so would the servers and commands it starts.
# Ctrl-C still ends what was started here: it raises KeyboardInterrupt, as in the foreground.
for _signal, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, _usual)

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """A command that is tried in this process makes what it creates private; the next test is not to inherit that."""
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the users admin, alice and bob; each process of a parallel run has its own."""
    with serving(tmp_path_factory.mktemp("server"), "alice", "bob") as server:
        yield server


@pytest.fixture
def folder(server: Server, request: pytest.FixtureRequest) -> str:
    """The URL, without a slash at its end, of a fresh collection of alice's."""
    name = re.sub(r"\W+", "-", request.node.name)[:60]
    url = f"{server.dav('alice')}{name}-{next(_numbers)}"
    answer = requests.request("MKCOL", url, auth=server.auth("alice"), timeout=30)
    assert answer.status_code == 201, answer.text
    return url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What fails shows what the servers said."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {server.url}", server.log_end()) for server in Server.running]
    return report
