"""What SQLite's result codes mean for the store."""

import sqlite3
from typing import Final

from service.db.fault import Fault

# Primary result codes: https://sqlite.org/rescode.html
_PASSING: Final = frozenset(
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
_FATAL: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# The WAL's index is rebuilt from the WAL whenever needed; a full disk shows here as an I/O error.
_PASSING_EXTENDED: Final = frozenset(
    {sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP}
)


def fault_of(code: int) -> Fault:
    """Say what an error with this result code, primary or extended, means."""
    if code & 0xFF in _PASSING or code in _PASSING_EXTENDED:
        return Fault.PASSING
    return Fault.FATAL if code & 0xFF in _FATAL else Fault.OWN
