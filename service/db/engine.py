"""Connections to the database file: one that writes, others that only read, each with its pragmas.

The driver's own transaction control is switched off, because its implicit BEGIN comes too late: a SELECT before
it runs outside the transaction, and a deferred one that turns to writing fails with "database is locked" at once,
whatever the busy timeout says. So SQLAlchemy's begin sends BEGIN IMMEDIATE for the writer, BEGIN for readers.
"""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from service.errors import SettingsInvalid

BUSY_TIMEOUT_MS = 5000
READER_CONNECTIONS = 40  # as many as there are threads that may read: a waiting one would hold its thread


def database_file(url: str) -> Path:
    """Return the file that *url* names.

    Raises:
        SettingsInvalid: It names no SQLite file; in memory nothing is durable, and readers would see another one.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite" or parsed.get_driver_name() not in ("sqlite", "pysqlite"):
        raise SettingsInvalid("SERVICE_DATABASE_URL: only sqlite:///path/to/midtrans.db is supported so far")
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise SettingsInvalid("SERVICE_DATABASE_URL: name a file: sqlite:///path/to/midtrans.db")
    return Path(parsed.database)


def create_file(url: str) -> Path:
    """Make the database's file, readable by its owner alone (it holds personal data), if there is none.

    SQLite gives the files beside it (-wal, -shm) the same mode. An existing file's mode is left as it is.

    Raises:
        SettingsInvalid: Only the file's write-ahead log is there.
        OSError: It cannot be made, or not be opened.
    """
    path = database_file(url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if left := left_log(path):  # SQLite would delete it
        raise SettingsInvalid(
            f"{path} is missing, but {left} holds what was written to it last: put the database back beside it; "
            "or move this file away too, then restore a backup or begin with an empty database"
        )
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    return path


def wal_file(path: Path) -> Path:
    """Return the write-ahead log of the database at *path*; SQLite keeps it beside the file a link leads to."""
    return Path(f"{os.path.realpath(path)}-wal")


def left_log(path: Path) -> Path | None:
    """Return the write-ahead log that lies at *path* without its database, unless it is empty."""
    wal = wal_file(path)
    return wal if not path.exists() and wal.exists() and wal.stat().st_size else None


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file now at *path* from any other; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def writer_engine(url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Engine:
    """Return the engine of the one connection that writes; its transactions begin with BEGIN IMMEDIATE."""
    engine = create_engine(_parse(url), pool_size=1, max_overflow=0, hide_parameters=True)

    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            f"busy_timeout={busy_timeout_ms}",
            "journal_mode=WAL",
            "synchronous=FULL",  # a commit that was answered survives a power cut
            "foreign_keys=ON",
            "wal_autocheckpoint=0",  # the writer does it: SQLite's own swallows a failing fsync
            "journal_size_limit=67108864",  # a WAL that a long reader let grow shrinks again
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reader_engine(url: str) -> Engine:
    """Return the engine of the connections that read: none of them can write or wait for the writer."""
    engine = create_engine(
        _parse(url),
        pool_size=8,
        max_overflow=READER_CONNECTIONS - 8,
        pool_timeout=5,
        hide_parameters=True,  # of errors that are logged: they hold personal data
    )

    def on_connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "query_only=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", _begin)
    return engine


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise SettingsInvalid(
            "SERVICE_DATABASE_URL: not a URL such as sqlite:///path/to/midtrans.db"
        ) from error


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
