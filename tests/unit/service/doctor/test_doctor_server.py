"""What doctor says of a PostgreSQL database, sound and not."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from support.databases import Databases

from service.doctor import Finding, Level, examine
from service.doctor.server import check_server
from service.settings import Configuration

pytestmark = pytest.mark.postgres


def clock() -> datetime:
    return datetime.now(UTC)


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def test_a_sound_server_passes_every_check(databases: Databases, tmp_path: Path, free_port: int) -> None:
    with databases.fresh() as url:
        found = by_check(
            list(
                examine(
                    Configuration(tmp_path, url, ()),
                    clock=clock,
                    service_url=f"http://127.0.0.1:{free_port}",
                    public_url=None,
                )
            )
        )
    checks = [name for name in found if name.startswith("database")]
    assert checks == [
        "database",
        "database schema",
        "database durability",
        "database connections",
        "database commit",
    ]
    assert {found[name].level for name in checks} <= {Level.OK, Level.WARNING}  # a busy machine is slow
    assert found["waiting receipts"].level is Level.OK


def test_a_server_that_is_not_there_is_named_without_its_password(free_port: int) -> None:
    (finding,) = check_server(f"postgresql+psycopg://u:secret@127.0.0.1:{free_port}/x", clock=clock)
    assert finding.level is Level.FAILED
    assert f"database 'x' at 127.0.0.1:{free_port}" in finding.says
    assert "secret" not in finding.says


def test_a_database_without_tables_is_to_be_migrated(databases: Databases) -> None:
    with databases.bare() as url:
        found = by_check(list(check_server(url, clock=clock)))
    assert found["database schema"].level is Level.FAILED
    assert "python -m service migrate" in found["database schema"].says


def test_a_read_only_database_commits_nothing(databases: Databases) -> None:
    with databases.fresh() as url:
        plain = url.replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as own:
            name = own.info.dbname
            own.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        found = by_check(list(check_server(url, clock=clock)))
        with psycopg.connect(plain, autocommit=True) as own:
            own.execute("SET default_transaction_read_only = off")
            own.execute(f'ALTER DATABASE "{name}" RESET ALL'.encode())
    assert found["database commit"].level is Level.FAILED
    assert "read-only" in found["database commit"].says
