"""What a database error means for the store: nobody's, of several at once, passing, or the end."""

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.db import postgres_faults, sqlite_faults
from service.db.fault import Fault
from service.errors import StoreError

__all__ = ["Fault", "FileGone", "TransactionLost", "classify", "describe"]


class TransactionLost(StoreError):
    """The database undid the whole transaction while one unit of it ran."""


class FileGone(StoreError):
    """The database's path names another file than the one that is open, or none: what is written is lost."""


def classify(error: BaseException) -> Fault:
    """Say what *error*, raised by SQLAlchemy or by the driver itself, means."""
    if isinstance(error, (PoolTimeout, TransactionLost)):
        return Fault.PASSING
    if isinstance(error, FileGone):
        return Fault.FATAL
    cause = _cause(error)
    if postgres_faults.is_of_driver(cause):
        return postgres_faults.fault_of(cause)
    code = getattr(cause, "sqlite_errorcode", None)
    return Fault.OWN if code is None else sqlite_faults.fault_of(code)


def describe(error: BaseException) -> str:
    """Return the error's kind and message; never a statement or its parameters, which hold personal data."""
    if isinstance(error, StoreError):
        return str(error)
    cause = _cause(error)
    if postgres_faults.is_of_driver(cause):
        return postgres_faults.text_of(cause)
    name = getattr(cause, "sqlite_errorname", None) or type(cause).__name__
    return f"{name}: {cause}" if name.startswith("SQLITE_") else name


def _cause(error: BaseException) -> BaseException:
    return error.orig or error if isinstance(error, DBAPIError) else error
