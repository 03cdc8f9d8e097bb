"""Migrations on PostgreSQL: the tables of the code, once, whoever else tries."""

import subprocess
import sys

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from support.databases import Databases

from service.db.engine import writer_engine
from service.db.migrate import _config, check_head, upgrade
from service.db.tables import metadata
from service.errors import SettingsInvalid

pytestmark = pytest.mark.postgres
HINT = "python -m service migrate"
SCHEMA = """
SELECT table_name || '.' || column_name, data_type || ' ' || is_nullable || ' ' || coalesce(collation_name, '')
FROM information_schema.columns WHERE table_schema = 'public'
UNION SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION SELECT sequencename, data_type::text FROM pg_sequences WHERE schemaname = 'public'
"""


def schema(url: str) -> dict[str, str]:
    """Return every column, index, key and sequence."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        rows = connection.execute(SCHEMA).fetchall()
    return {name: told for name, told in rows if "alembic_version" not in name}


def test_the_migrations_make_the_tables_of_the_code(databases: Databases) -> None:
    with databases.bare() as url, databases.bare() as other:
        upgrade(url)
        check_head(url)
        engine = writer_engine(url)
        with engine.begin() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
        engine.dispose()
        engine = writer_engine(other)
        with engine.begin() as connection:
            metadata.create_all(connection)
        engine.dispose()
        assert schema(url) == schema(other)


def test_down_and_up_again_ends_at_the_same_schema(databases: Databases) -> None:
    with databases.bare() as url:
        upgrade(url)
        before = schema(url)
        engine = writer_engine(url)
        with engine.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.downgrade(config, "base")
        engine.dispose()
        assert schema(url) == {}
        upgrade(url)
        assert schema(url) == before


def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    with databases.bare() as url:
        with monkeypatch.context() as patched:
            patched.setattr(Operations, "create_index", fail)
            with pytest.raises(RuntimeError):
                upgrade(url)
        assert schema(url) == {}


def test_a_database_without_its_schema_is_refused_with_what_to_run(databases: Databases) -> None:
    with databases.bare() as url, pytest.raises(SettingsInvalid, match=HINT):
        check_head(url)


def test_a_database_of_a_later_version_is_refused_by_both(databases: Databases) -> None:
    with databases.bare() as url:
        upgrade(url)
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(SettingsInvalid, match="later version"):
            check_head(url)
        with pytest.raises(SettingsInvalid, match="9999"):
            upgrade(url)


def test_a_server_that_cannot_be_reached_is_said_without_the_password(free_port: int) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be used") as caught:
        upgrade(f"postgresql+psycopg://u:secret@127.0.0.1:{free_port}/x")
    assert "secret" not in str(caught.value)


def test_a_database_in_another_encoding_is_refused(databases: Databases) -> None:
    with databases.bare(encoding="SQL_ASCII") as url, pytest.raises(SettingsInvalid, match="UTF8"):
        upgrade(url)


@pytest.mark.slow
def test_processes_that_start_at_once_make_one_schema(databases: Databases) -> None:
    with databases.bare() as url:
        code = f"from service.db.migrate import upgrade; upgrade({url!r})"
        processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
        assert [process.wait(60) for process in processes] == [0] * 4
        check_head(url)
