"""Migrations: from nothing to the tables of this version, once, whoever else tries."""

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from service.db.engine import writer_engine
from service.db.migrate import check_head, head, upgrade
from service.db.tables import metadata
from service.errors import SettingsInvalid

HINT = "python -m service migrate"


def schema(path: Path) -> dict[str, str]:
    """Return what SQLite was told for every table and index, without layout and order of the lines."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {
        name: " ".join(sorted(sql.replace("(", " ( ").replace(",", " ").replace('"', "").split()))
        for name, sql in rows
        if name != "alembic_version" and not name.startswith("sqlite_")
    }


def test_an_empty_folder_becomes_a_database_at_head(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/data/midtrans.db"
    upgrade(url)
    check_head(url)


def test_migrating_again_changes_nothing(url: str, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("INSERT INTO log VALUES (1, 'epoch', 7, 0, 0)")
    connection.close()
    before = schema(database)
    upgrade(url)
    assert schema(database) == before
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT last_position FROM log").fetchall() == [(7,)]
    connection.close()


def test_the_migrations_make_the_tables_of_the_code(url: str) -> None:
    engine = writer_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_migrations_make_every_index_condition_and_key_of_the_code(
    database: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made.db"
    engine = writer_engine(f"sqlite:///{made}")
    metadata.create_all(engine)
    engine.dispose()
    assert schema(database) == schema(made)


def test_a_database_without_its_schema_is_refused_with_what_to_run(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(SettingsInvalid, match=HINT):
        check_head(f"sqlite:///{tmp_path}/empty.db")


def test_a_missing_database_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=HINT):
        check_head(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_a_later_version_is_refused_by_both(url: str, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SettingsInvalid, match="later version"):
        check_head(url)
    with pytest.raises(SettingsInvalid, match="9999"):
        upgrade(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is no database " * 100)
    with pytest.raises(SettingsInvalid, match="SQLITE_NOTADB"):
        check_head(f"sqlite:///{path}")
    with pytest.raises(SettingsInvalid, match="SQLITE_NOTADB"):
        upgrade(f"sqlite:///{path}")
    assert path.read_text().startswith("this is no database")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsInvalid, match="cannot be made"):
        upgrade(f"sqlite:///{tmp_path}/file/midtrans.db")


def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    path = tmp_path / "midtrans.db"

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(Operations, "create_index", fail)
        with pytest.raises(RuntimeError):
            upgrade(f"sqlite:///{path}")
    assert schema(path) == {}
    upgrade(f"sqlite:///{path}")
    check_head(f"sqlite:///{path}")


def test_down_and_up_again_ends_at_the_same_schema(url: str, database: Path) -> None:
    from alembic import command

    from service.db.migrate import _config

    before = schema(database)
    engine = writer_engine(url)
    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    engine.dispose()
    assert schema(database) == {}
    upgrade(url)
    assert schema(database) == before


def test_migrating_leaves_logging_alone(tmp_path: Path) -> None:
    before = (list(logging.root.handlers), logging.root.level, logging.getLogger("alembic").level)
    upgrade(f"sqlite:///{tmp_path}/midtrans.db")
    assert (list(logging.root.handlers), logging.root.level, logging.getLogger("alembic").level) == before
    assert not logging.getLogger("service").disabled


@pytest.mark.slow
def test_processes_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/data/midtrans.db"
    code = f"from service.db.migrate import upgrade; upgrade({url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    check_head(url)


def test_there_is_one_newest_revision() -> None:
    assert head() == "0001"


def test_a_write_ahead_log_without_its_database_is_kept_and_named(tmp_path: Path) -> None:
    wal = tmp_path / "midtrans.db-wal"
    wal.write_bytes(b"what was answered last")
    with pytest.raises(SettingsInvalid, match=r"midtrans\.db is missing, but .*midtrans\.db-wal holds"):
        upgrade(f"sqlite:///{tmp_path}/midtrans.db")
    assert [wal] == list(tmp_path.iterdir())
    assert wal.read_bytes() == b"what was answered last"
