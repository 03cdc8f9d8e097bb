"""What an error of the database means."""

import sqlite3

import psycopg
import pytest
from psycopg import errors
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


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("40001", Fault.AGAIN),  # serialization
        ("40P01", Fault.AGAIN),  # deadlock
        ("55P03", Fault.AGAIN),  # lock not to be had
        ("53100", Fault.PASSING),  # disk full
        ("53300", Fault.PASSING),  # too many connections
        ("57P01", Fault.PASSING),  # admin shutdown
        ("57P02", Fault.PASSING),  # crash shutdown
        ("57P03", Fault.PASSING),  # cannot connect now
        ("25006", Fault.PASSING),  # read-only
        ("25P03", Fault.PASSING),  # idle in transaction
        ("28P01", Fault.PASSING),  # wrong password
        ("3D000", Fault.PASSING),  # no such database
        ("58030", Fault.PASSING),  # I/O error
        ("XX001", Fault.PASSING),  # data corrupted
        ("23505", Fault.OWN),  # unique
        ("23502", Fault.OWN),  # not null
        ("22021", Fault.OWN),  # a character that is none
        ("42P01", Fault.OWN),  # no such table
    ],
)
def test_states_of_a_server_mean_the_same_bare_or_wrapped(state: str, fault: Fault) -> None:
    error = errors.lookup(state)("what the server says")
    assert classify(error) is fault
    assert classify(DBAPIError("INSERT …", ("secret",), error)) is fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), Fault.PASSING),
        (psycopg.InterfaceError("the connection is closed"), Fault.PASSING),
        (psycopg.ProgrammingError("the query has 0 placeholders"), Fault.OWN),
        (psycopg.DataError("no such value"), Fault.OWN),
    ],
)
def test_a_lost_connection_passes(error: psycopg.Error, fault: Fault) -> None:
    assert classify(error) is fault


def test_a_description_of_a_servers_error_quotes_no_value_of_the_works_own() -> None:
    assert describe(errors.lookup("23505")("duplicate key\nDETAIL: (order_id)=(secret)")) == "UniqueViolation"
    assert describe(errors.lookup("53100")("disk full")) == "DiskFull: disk full"
