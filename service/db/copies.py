"""Copies of the database: a backup made while the service runs, and one put back in its place.

Both work on whole files and leave nothing half done: a copy is made under another name, checked, brought to the disk,
and only then renamed.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from service.db.engine import writer_engine
from service.db.faults import describe
from service.db.migrate import upgrade
from service.db.rebirth import Rebirth, Reborn
from service.db.sqlite import file_of
from service.db.sqlite_files import left_log
from service.db.unit import Unit
from service.errors import Conflict, NotFound, StoreBroken, StoreError, StoreUnavailable

COUNTED: Final = ("receipts", "bodies", "confirmations", "payments", "events", "consumers", "deliveries")
SIDE_FILES: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made and checked: *rows* by table, as in the database at one moment."""

    path: Path
    size: int
    schema: str
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup put back: what became of its log, and where what was there before lies now."""

    path: Path
    reborn: Reborn
    kept: Path | None


def backup(url: str, target: Path) -> Backup:
    """Copy the database to *target* (mode 0600), whoever writes to it meanwhile, and check the copy.

    Raises:
        Conflict: There is something at *target*.
        NotFound: There is no database, or no folder for the copy.
        StoreError: It cannot be read or written, or the copy is not what it should be.
    """
    source = _file(url)
    if not source.is_file():
        raise NotFound("database", str(source))
    with _made_aside(target) as aside, _troubles(), closing(_read_only(source)) as database:
        database.execute("BEGIN")  # one snapshot: writers go on, and the copy need not begin anew for them
        expected = _schema(database), _rows(database)
        with closing(sqlite3.connect(aside)) as copy:
            database.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file that can be moved, without -wal and -shm
            _check(copy, source)
            found = _schema(copy), _rows(copy)
        if found != expected:
            raise StoreBroken(f"the copy holds {found}, the database held {expected}: nothing was kept")
    return Backup(target, target.stat().st_size, *expected)


def restore(url: str, source: Path, *, replace: bool, now: datetime, ask_again: timedelta) -> Restored:
    """Put a copy of *source* in the database's place, with a new epoch; see `Rebirth.begin`.

    What was there is kept beside it under another name, and needs *replace*.

    Raises:
        Conflict: There is a database and *replace* is false, or a process has it open, or *source* is none of ours.
        NotFound: There is no *source*.
        SettingsInvalid: *source* was made by a later version.
        StoreError: *source* is damaged, or something cannot be read or written.
    """
    target = _file(url)
    if not source.is_file():
        raise NotFound("backup", str(source))
    if target.exists():
        if source.samefile(target):
            raise Conflict(f"{source} is the database itself")
        if not replace:
            raise Conflict(f"there is a database at {target}: --replace keeps it under another name")
        _ensure_unused(target)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = target.with_name(f"{target.name}.before-{now:%Y%m%dT%H%M%SZ}") if target.exists() else None
    with _made_aside(target, over=kept) as aside:
        with _troubles(), closing(_read_only(source)) as database, closing(sqlite3.connect(aside)) as copy:
            database.backup(copy)
            _check(copy, source)
            _ensure_ours(copy, source)
        upgrade(f"sqlite:///{aside}")
        reborn = _reborn(aside, now, ask_again)
    return Restored(target, reborn, kept)


def _file(url: str) -> Path:
    path = file_of(url)
    if path is None:
        raise Conflict(
            "this copies SQLite files: back a PostgreSQL database up with its own tools (docs/postgresql.md)"
        )
    return path


def _reborn(path: Path, now: datetime, ask_again: timedelta) -> Reborn:
    engine = writer_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            reborn = Rebirth(Unit(connection, now)).begin(ask_again=ask_again)
    finally:
        engine.dispose()  # the last connection takes -wal and -shm with it
    with _troubles(), closing(sqlite3.connect(path)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
    return reborn


@contextmanager
def _made_aside(target: Path, *, over: Path | None = None) -> Iterator[Path]:
    """Yield a new file beside *target* that takes its place at the end, and is gone after a failure.

    What is at *target* is renamed to *over* first; without one it is a Conflict.
    """
    if not target.parent.is_dir():
        raise NotFound("folder", str(target.parent))
    if over is None and (target.exists() or target.is_symlink()):
        raise Conflict(f"there is something at {target} already")
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _troubles():
            os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield aside
        with _troubles():
            _sync(aside)
            if over is not None:
                _move(target, over)
            else:
                if target.exists():
                    raise Conflict(f"something came to {target} meanwhile")
                _ensure_alone(target)
            aside.replace(target)
            _sync(target.parent)
    finally:
        for name in (aside.name, *(f"{aside.name}{end}" for end in ("-journal", *SIDE_FILES))):
            with contextlib.suppress(OSError):
                aside.with_name(name).unlink(missing_ok=True)


def _move(path: Path, to: Path) -> None:
    """Rename a database with the files beside it: after a crash they hold a part of it."""
    for end in (*SIDE_FILES, ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(to.with_name(to.name + end))


def _ensure_alone(target: Path) -> None:
    """Raise Conflict for a write-ahead log at a name without a database: SQLite would play it into the new file."""
    if left := left_log(target):
        raise Conflict(f"{left} is what a database that is gone wrote last: move it away first")


def _ensure_ours(database: sqlite3.Connection, name: Path) -> None:
    """Raise Conflict unless the service made it: SQLite also opens an empty file, and any other program's."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        raise Conflict(f"{name} is no backup of this service: nothing was changed")


def _ensure_unused(path: Path) -> None:
    """Raise Conflict while another process has the database open: leaving WAL mode needs it for oneself.

    It also brings the WAL into the file, so that what is kept is one file. A damaged one is nobody's.
    """
    if not os.access(path, os.W_OK):  # locks cannot be tried on it
        raise Conflict(f"{path} is read-only, so that nobody can see whether it is in use: make it writable")
    try:
        with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode=DELETE").close()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Conflict(f"{path} is in use: end the service first") from error
    except sqlite3.DatabaseError:
        return


def _read_only(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA query_only=ON").close()
    return connection


def _check(database: sqlite3.Connection, name: Path) -> None:
    problems = [row[0] for row in database.execute("PRAGMA quick_check(5)")]
    if problems != ["ok"]:
        raise StoreBroken(f"the copy of {name} is damaged: {'; '.join(problems)}")


def _schema(database: sqlite3.Connection) -> str:
    return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _rows(database: sqlite3.Connection) -> dict[str, int]:
    return {
        table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 (names of our own)
        for table in COUNTED
    }


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _troubles() -> Iterator[None]:
    """Turn what the driver and the disk say into errors of the store."""
    try:
        yield
    except StoreError:
        raise
    except (sqlite3.Error, OSError) as error:
        text = describe(error) if isinstance(error, sqlite3.Error) else f"{error.strerror}: {error.filename}"
        raise StoreUnavailable(f"nothing was changed: {text}") from error
