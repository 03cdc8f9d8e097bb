"""Fresh databases of either kind for tests, made fast: files are copied, databases of a server are emptied."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from service.db.migrate import upgrade
from service.db.tables import metadata

ICU = 150_000
SQLITE, POSTGRES = "sqlite", "postgresql"


class Databases:
    """The databases that the tests of one process use on a server. Each goes to one test at a time."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._numbers = count(1)
        self._free: list[str] = []
        self._made: list[str] = []

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Yield the URL of a migrated, empty database."""
        name = self._free.pop() if self._free else self._make(migrated=True)
        self._empty(name)
        try:
            yield self.url(name)
        finally:
            self._free.append(name)

    @contextmanager
    def bare(self, *, encoding: str = "UTF8") -> Iterator[str]:
        """Yield the URL of a database in which there is nothing at all."""
        name = self._make(migrated=False, encoding=encoding)
        try:
            yield self.url(name)
        finally:
            self._made.remove(name)
            self._drop(name)

    def url(self, name: str) -> str:
        """Return what names the database to the service."""
        url = make_url(self._server).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def close(self) -> None:
        """Take every database away."""
        for name in self._made:
            self._drop(name)

    def _make(self, *, migrated: bool, encoding: str = "UTF8") -> str:
        name = f"midtrans_test_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self._server, autocommit=True) as connection:
            # In a language whose order is not that of the bytes, where the server knows one.
            made = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
            if encoding == "UTF8" and connection.info.server_version >= ICU:
                made += " LOCALE_PROVIDER icu ICU_LOCALE 'id-ID'"
            connection.execute(sql.SQL(made).format(sql.Identifier(name), encoding))
        self._made.append(name)
        if migrated:
            upgrade(self.url(name))
        return name

    def _drop(self, name: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _empty(self, name: str) -> None:
        """Take away what an earlier test left: settings, connections, rows; numbers begin at 1 again.

        Rows are deleted: to truncate a table, or to copy a database, takes longer than most tests.
        """
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(sql.Identifier(name)))
        plain = make_url(self._server).set(database=name).render_as_string(hide_password=False)
        with psycopg.connect(plain) as connection:
            connection.execute(_emptying())


@cache
def _emptying() -> sql.SQL:
    tables = [table.name for table in metadata.sorted_tables]
    return sql.SQL(
        "SET LOCAL synchronous_commit = off;"
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid();"
        + "".join(f"DELETE FROM {name};" for name in tables)
        + "SELECT setval(seqrelid, 1, false) FROM pg_sequence"
    )


@cache
def _template() -> bytes:
    """Return a migrated file: once a process, since migrating takes longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        upgrade(f"sqlite+pysqlite:///{path}")
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return path.read_bytes()


def migrated(path: Path) -> Path:
    """Make a SQLite database of the present schema at *path*."""
    path.write_bytes(_template())
    return path
