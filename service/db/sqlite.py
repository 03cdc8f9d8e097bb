"""SQLite: one file, one connection that writes, others that only read, each with its pragmas.

The driver's own transaction control is switched off, because its implicit BEGIN comes too late: a SELECT before
it runs outside the transaction, and a deferred one that turns to writing fails with "database is locked" at once,
whatever the busy timeout says. So SQLAlchemy's begin sends BEGIN IMMEDIATE for the writer, BEGIN for readers.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from service.db.database import Keeper
from service.db.sqlite_files import left_log
from service.db.sqlite_keeper import FileKeeper
from service.errors import SettingsInvalid

WAIT_S = 5.0
"""How long a writer waits for what another process holds."""
READER_CONNECTIONS = 40  # as many as there are threads that may read: a waiting one would hold its thread


class SqliteFile:
    """The database in one file, which one process writes."""

    shared = False

    def __init__(self, url: URL) -> None:
        self._url = url
        self.path = _file_of(url)

    @property
    def title(self) -> str:
        """The file's path."""
        return str(self.path)

    def create(self) -> None:
        """Make the file, readable by its owner alone (it holds personal data), if there is none.

        SQLite gives the files beside it (-wal, -shm) the same mode. An existing file's mode is left as it is.

        Raises:
            SettingsInvalid: Only the file's write-ahead log is there; or it cannot be made, or not be opened.
        """
        try:
            self._create()
        except OSError as error:
            raise SettingsInvalid(f"{self.path} cannot be made or opened: {error.strerror}") from error

    def missing(self) -> bool:
        """Say whether there is no such file."""
        return not self.path.exists()

    def writer_engine(self, *, writers: int = 1, wait_s: float | None = None) -> Engine:
        """Return the engine of the one connection that writes; its transactions begin with BEGIN IMMEDIATE."""
        del writers  # more would wait for each other
        engine = create_engine(self._url, pool_size=1, max_overflow=0, hide_parameters=True)

        def on_connect(connection: Any, _record: object) -> None:
            connection.isolation_level = None
            for pragma in (
                f"busy_timeout={(WAIT_S if wait_s is None else wait_s) * 1000:.0f}",
                "journal_mode=WAL",
                "synchronous=FULL",  # a commit that was answered survives a power cut
                "foreign_keys=ON",
                "wal_autocheckpoint=0",  # the writer does it: SQLite's own swallows a failing fsync
                "journal_size_limit=67108864",  # a WAL that a long reader let grow shrinks again
                "temp_store=MEMORY",  # what a savepoint may have to put back: pages that were changed within it
            ):
                connection.execute(f"PRAGMA {pragma}").close()

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", _begin_immediate)
        return engine

    def reader_engine(self, *, readers: int = 10) -> Engine:
        """Return the engine of the connections that read: none of them can write or wait for the writer."""
        del readers  # they cost nothing here
        engine = create_engine(
            self._url,
            pool_size=8,
            max_overflow=READER_CONNECTIONS - 8,
            pool_timeout=5,
            hide_parameters=True,  # of errors that are logged: they hold personal data
        )

        def on_connect(connection: Any, _record: object) -> None:
            connection.isolation_level = None
            for pragma in (f"busy_timeout={WAIT_S * 1000:.0f}", "query_only=ON"):
                connection.execute(f"PRAGMA {pragma}").close()

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", _begin)
        return engine

    def keeper(self) -> Keeper:
        """Return who watches the files and shrinks the write-ahead log."""
        return FileKeeper(self.path)

    def hold_migrations(self, connection: Connection) -> None:
        """Do nothing: BEGIN IMMEDIATE has kept everybody else out already."""

    def _create(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if left := left_log(self.path):  # SQLite would delete it
            raise SettingsInvalid(
                f"{self.path} is missing, but {left} holds what was written to it last: put the database back "
                "beside it; or move this file away too, then restore a backup or begin with an empty database"
            )
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def file_of(url: str) -> Path | None:
    """Return the SQLite file that *url* names, None when it names a server's database."""
    return None if url.startswith("postgres") else database_file(url)


def database_file(url: str) -> Path:
    """Return the file that *url* names.

    Raises:
        SettingsInvalid: It names no SQLite file; in memory nothing is durable, and readers would see another one.
    """
    try:
        return _file_of(make_url(url))
    except ArgumentError as error:
        raise SettingsInvalid(
            "SERVICE_DATABASE_URL: not a URL such as sqlite:///path/to/midtrans.db"
        ) from error


def _file_of(url: URL) -> Path:
    if url.get_backend_name() != "sqlite" or url.get_driver_name() not in ("sqlite", "pysqlite"):
        raise SettingsInvalid(
            "SERVICE_DATABASE_URL: this is for a SQLite file, sqlite:///path/to/midtrans.db"
        )
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise SettingsInvalid("SERVICE_DATABASE_URL: name a file: sqlite:///path/to/midtrans.db")
    return Path(url.database)


def _begin_immediate(connection: Connection) -> None:
    """Begin as SQLAlchemy would, without its work around a statement, which every commit would pay for."""
    statement = "BEGIN IMMEDIATE"
    try:
        connection.connection.cursor().execute(statement).close()
    except sqlite3.OperationalError as error:
        raise OperationalError(statement, None, error) from error


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
