"""What a database error means for the store: nobody's, passing, or the end."""

import sqlite3
from enum import Enum

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import StoreError


class Fault(Enum):
    """What to do after an error."""

    OWN = "own"  # of the work that raised it: a constraint, a value, a bug
    PASSING = "passing"  # the disk is full, the file read-only, locked or away: roll back, try again later
    FATAL = "fatal"  # a write or an fsync failed, or the file is damaged: never write to it again


class TransactionLost(StoreError):
    """The database undid the whole transaction while one unit of it ran."""


class FileGone(StoreError):
    """The database's path names another file than the one that is open, or none: what is written is lost."""


# Primary result codes: https://sqlite.org/rescode.html
_PASSING = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
    }
)
_FATAL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# The WAL's index is rebuilt from the WAL whenever needed; a full disk shows here as an I/O error.
_PASSING_EXTENDED = frozenset(
    {sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
)


def classify(error: BaseException) -> Fault:
    """Say what *error*, raised by SQLAlchemy or by the driver itself, means."""
    if isinstance(error, (PoolTimeout, TransactionLost)):
        return Fault.PASSING
    if isinstance(error, FileGone):
        return Fault.FATAL
    code = getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlite_errorcode", None)
    if code is None:
        return Fault.OWN
    if code & 0xFF in _PASSING or code in _PASSING_EXTENDED:
        return Fault.PASSING
    return Fault.FATAL if code & 0xFF in _FATAL else Fault.OWN


def describe(error: BaseException) -> str:
    """Return the error's kind and message; never a statement or its parameters, which hold personal data."""
    if isinstance(error, StoreError):
        return str(error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(cause, "sqlite_errorname", None) or type(cause).__name__
    return f"{name}: {cause}" if name.startswith("SQLITE_") else name
