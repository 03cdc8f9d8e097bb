"""Connections: durable for the writer, harmless for readers, and only on a file."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from service.db.engine import database_of, reader_engine, writer_engine
from service.db.sqlite import database_file
from service.errors import SettingsInvalid

pytestmark = pytest.mark.on_file


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),  # FULL
        ("foreign_keys", 1),
        ("busy_timeout", 5000),
        ("wal_autocheckpoint", 0),
    ],
)
def test_the_writer_is_durable(url: str, name: str, value: object) -> None:
    engine = writer_engine(url)
    assert pragma(engine, name) == value
    engine.dispose()


@pytest.mark.parametrize(("name", "value"), [("query_only", 1), ("busy_timeout", 5000)])
def test_readers_cannot_write(url: str, name: str, value: object) -> None:
    engine = reader_engine(url)
    assert pragma(engine, name) == value
    engine.dispose()


def test_the_writer_holds_the_write_lock_from_the_beginning_of_its_transaction(url: str) -> None:
    first, second = writer_engine(url), writer_engine(url, wait_s=0.01)
    with first.begin(), pytest.raises(OperationalError, match="locked"), second.begin():
        pytest.fail("both began")
    first.dispose()
    second.dispose()


def test_a_rolled_back_schema_change_is_gone(url: str) -> None:
    """The driver's own transaction control would have committed it."""
    engine = writer_engine(url)
    with engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql("CREATE TABLE gone (x)")
        transaction.rollback()
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = 'gone'").all()
    assert found == []
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite+aiosqlite:///x.db",
        "postgresql+psycopg://localhost/x",
        "nonsense",
    ],
)
def test_anything_but_a_sqlite_file_is_refused_by_name_of_the_setting(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="SERVICE_DATABASE_URL"):
        database_file(url)


def test_a_new_database_is_for_its_owner_alone_and_so_are_the_files_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "data" / "midtrans.db"
    database_of(f"sqlite:///{path}").create()
    engine = writer_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    engine.dispose()
    assert modes == {"midtrans.db": 0o600, "midtrans.db-wal": 0o600, "midtrans.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_existing_database_keeps_its_mode_and_content(database: Path) -> None:
    database.chmod(0o640)
    before = database.read_bytes()
    database_of(f"sqlite:///{database}").create()
    assert stat.S_IMODE(database.stat().st_mode) == 0o640
    assert database.read_bytes() == before
