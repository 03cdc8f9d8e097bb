"""What PostgreSQL's SQLSTATEs mean for the store. The driver is not imported here: SQLite needs none of it."""

from typing import Any, Final

from service.db.fault import Fault

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_AGAIN: Final = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # a lock that was not to be had in time
    }
)
_PASSING_CLASSES: Final = frozenset(
    {
        "08",  # the connection is lost, or none is made
        "28",  # the user or the password is refused
        "3D",  # there is no such database
        "53",  # disk full, out of memory, too many connections
        "57",  # shut down, restarted, cancelled
        "58",  # an error of the server's system, such as of its disk
    }
)
_PASSING: Final = frozenset(
    {
        "25006",  # read-only: a standby, or set so
        "25P02",  # an earlier statement of the transaction failed
        "25P03",  # idle in its transaction for too long: this process was stopped for a while
        "55006",  # the database is in use by who replaces it
        "55000",  # the database does not accept connections
        "XX001",  # data corrupted
        "XX002",  # index corrupted
    }
)
_OPERATIONAL: Final = frozenset({"OperationalError", "InterfaceError"})


def is_of_driver(error: BaseException) -> bool:
    """Say whether psycopg raised *error*."""
    return type(error).__module__.partition(".")[0] == "psycopg"


def fault_of(error: BaseException) -> Fault:
    """Say what an error that psycopg raised means.

    Nothing is fatal here: the server alone touches its files, and ends by itself after a failed fsync.
    """
    state: str | None = getattr(error, "sqlstate", None)
    if state is None:  # not of the server: the connection is closed, was cut or could not be made
        names = {kind.__name__ for kind in type(error).__mro__}
        return Fault.PASSING if names & _OPERATIONAL else Fault.OWN
    if state in _AGAIN:
        return Fault.AGAIN
    return Fault.PASSING if state[:2] in _PASSING_CLASSES or state in _PASSING else Fault.OWN


def leave_values_out(error: BaseException) -> str | None:
    """Leave out of *error* what the server says in detail, which quotes the row; return what is left, if any.

    None, and nothing done, for an error that no server raised.
    """
    said: str | None = getattr(getattr(error, "diag", None), "message_primary", None)
    if said is not None:
        error.args = (said,)
    return said


def text_of(error: BaseException) -> str:
    """Return the error's kind and what the server said first; its details hold values, which are left out.

    Of the work's own errors the kind alone: what is wrong with a value is said with the value.
    """
    name = type(error).__name__
    if fault_of(error) is Fault.OWN:
        return name
    diagnosis: Any = getattr(error, "diag", None)
    said = getattr(diagnosis, "message_primary", None) or str(error).strip().partition("\n")[0]
    return f"{name}: {said}" if said else name
