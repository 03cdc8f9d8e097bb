"""What an error of the database means."""

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError

from service.db.faults import Fault, classify, describe


def error_of(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_NAME"
    return error


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (sqlite3.SQLITE_FULL, Fault.PASSING),
        (sqlite3.SQLITE_READONLY, Fault.PASSING),
        (sqlite3.SQLITE_READONLY_DBMOVED, Fault.PASSING),
        (sqlite3.SQLITE_BUSY, Fault.PASSING),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Fault.PASSING),
        (sqlite3.SQLITE_CANTOPEN, Fault.PASSING),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Fault.PASSING),  # a full disk, seen through the WAL's index
        (sqlite3.SQLITE_IOERR, Fault.FATAL),
        (sqlite3.SQLITE_IOERR_FSYNC, Fault.FATAL),
        (sqlite3.SQLITE_IOERR_DIR_FSYNC, Fault.FATAL),
        (sqlite3.SQLITE_IOERR_WRITE, Fault.FATAL),
        (sqlite3.SQLITE_CORRUPT, Fault.FATAL),
        (sqlite3.SQLITE_CORRUPT_INDEX, Fault.FATAL),
        (sqlite3.SQLITE_NOTADB, Fault.FATAL),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, Fault.OWN),
        (sqlite3.SQLITE_ERROR, Fault.OWN),
        (sqlite3.SQLITE_TOOBIG, Fault.OWN),
    ],
)
def test_codes_of_every_length_mean_the_same_bare_or_wrapped(code: int, fault: Fault) -> None:
    error = error_of(code)
    assert classify(error) is fault
    assert classify(DBAPIError("INSERT …", ("secret",), error)) is fault


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), sqlite3.ProgrammingError("x")])
def test_what_is_not_of_the_database_is_its_authors_own(error: BaseException) -> None:
    assert classify(error) is Fault.OWN


def test_a_description_names_the_error_and_no_parameter() -> None:
    error = error_of(sqlite3.SQLITE_FULL)
    assert describe(DBAPIError("INSERT …", ("secret",), error)) == "SQLITE_NAME: what SQLite says"
    assert describe(ValueError("secret")) == "ValueError"
