"""What every test stands on: loopback only, no settings of the developer's shell, repeatable properties."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
import structlog
from hypothesis import HealthCheck, settings
from support.databases import POSTGRES, SQLITE, Databases, migrated
from support.services import postgres_server, wanted

KEPT = frozenset({"MIDTRANS_SAMPLES"})
"""Variables that look like settings and speak to the tests alone."""

for name in [name for name in os.environ if name.startswith(("MIDTRANS_", "SERVICE_")) and name not in KEPT]:
    del os.environ[name]  # at import, so that no fixture, module or child process ever sees them

# Deadlines measure the machine, not the code. In CI a property sees the same examples in every run, so that
# red means this change; elsewhere it goes on exploring.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_runtest_setup() -> None:
    """Refuse every connection that leaves this machine."""
    pytest_socket.socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _logging_ends_with_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no logger remember how an earlier test configured logging: it would write past what captures it."""
    configure = structlog.configure

    def uncached(**options: Any) -> None:
        configure(**{**options, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", uncached)
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what stands on a store on each kind of it, except what looks at the file (fixture ``database``)."""
    if "store_kind" in metafunc.fixturenames:
        of_file = "database" in metafunc.fixturenames or metafunc.definition.get_closest_marker("on_file")
        integrated = "integration" in Path(metafunc.definition.path).parts
        marks = [pytest.mark.postgres, *([pytest.mark.slow] if integrated else [])]  # for `make check`
        kinds = [SQLITE] if of_file else [SQLITE, pytest.param(POSTGRES, marks=marks)]
        metafunc.parametrize("store_kind", kinds)


@pytest.fixture(scope="session")
def _databases() -> Iterator[Databases | None]:
    with postgres_server() as server:
        if server is None:
            yield None
            return
        databases = Databases(server)
        yield databases
        databases.close()


@pytest.fixture
def databases(_databases: Databases | None) -> Databases:
    """Return the databases of a server of PostgreSQL."""
    return _databases or wanted("no PostgreSQL: set TEST_DATABASE_URL, or install its server")


@pytest.fixture
def stored_at(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of a migrated, empty database; the test runs on each kind of store."""
    if store_kind == SQLITE:
        yield f"sqlite:///{migrated(tmp_path / 'midtrans.db')}"
        return
    databases: Databases = request.getfixturevalue("databases")
    with databases.fresh() as url:
        yield url


@pytest.fixture
def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    return _free_port()


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Return a function that finds several free ports, all different."""

    def find(count: int) -> list[int]:
        found: set[int] = set()
        while len(found) < count:
            found.add(_free_port())
        return sorted(found)

    return find


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
