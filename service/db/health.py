"""Looks at a database from beside the service that may be using it."""

import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from service.clock import Clock
from service.db.engine import reader_engine, writer_engine
from service.db.faults import Fault, classify, describe
from service.db.gauges import Gauges, Standing
from service.db.migrate import check_head, head
from service.db.sqlite import database_file
from service.db.unit import Unit
from service.errors import StoreUnavailable

BUSY_S: Final = 2.0
"""How long to wait for the service to let go; it holds the lock for milliseconds."""
SYNCHRONOUS: Final = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


@dataclass(frozen=True, slots=True)
class Facts:
    """A database file as it lies there."""

    path: Path
    mode: int
    size: int
    wal_size: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that reached the disk, or why there was none: *held* by another process, or *trouble*."""

    seconds: float
    journal_mode: str
    synchronous: str
    held: bool = False
    trouble: str | None = None


def facts(url: str) -> Facts | None:
    """Return what the file system says of the database; None when there is none."""
    path = database_file(url)
    if not path.is_file():
        return None
    found, wal = path.stat(), Path(f"{path}-wal")
    return Facts(path, stat.S_IMODE(found.st_mode), found.st_size, wal.stat().st_size if wal.exists() else 0)


def schema(url: str) -> str:
    """Return the schema's revision; raise SettingsInvalid, saying what to do, unless it is this version's."""
    check_head(url)
    return head()


def damage(url: str) -> str | None:
    """Return what SQLite's quick check finds wrong, if anything; it reads the whole file."""
    engine = reader_engine(url)
    try:
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("PRAGMA quick_check(5)").scalars().all()
    except DBAPIError as error:
        return describe(error)
    finally:
        engine.dispose()
    return None if rows == ["ok"] else "; ".join(map(str, rows))


def try_commit(url: str, *, clock: Clock) -> Commit:
    """Commit what nobody reads, as the service does before it answers."""
    engine = writer_engine(url, wait_s=BUSY_S)
    try:
        return _committed(engine, clock)
    except DBAPIError as error:
        held = classify(error) is Fault.PASSING and "locked" in str(error.orig)
        return Commit(0.0, "", "", held=held, trouble=describe(error))
    finally:
        engine.dispose()


def _committed(engine: Engine, clock: Clock) -> Commit:
    with engine.connect() as connection:
        began_s = time.perf_counter()
        with connection.begin():
            Unit(connection, clock()).log.probe()
        seconds = time.perf_counter() - began_s
        journal = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
        synchronous = SYNCHRONOUS.get(connection.exec_driver_sql("PRAGMA synchronous").scalar_one(), "?")
    return Commit(seconds, journal.upper(), synchronous)


def standing(url: str, *, clock: Clock) -> Standing:
    """Return what waits, is held or is due; raise StoreUnavailable when that cannot be read."""
    engine = reader_engine(url)
    try:
        with engine.connect() as connection, connection.begin():
            return Gauges(Unit(connection, clock())).standing()
    except DBAPIError as error:
        raise StoreUnavailable(f"nothing was read: {describe(error)}") from error
    finally:
        engine.dispose()
