"""Which database a URL names, and the connections to it."""

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError

from service.db.database import Database
from service.db.postgres import PostgresDatabase
from service.db.sqlite import SqliteFile
from service.errors import SettingsInvalid

FORMS = "postgresql+psycopg://user:password@host/name, or sqlite:////path/to/midtrans.db"


def database_of(url: str) -> Database:
    """Return the database that *url* names; raise SettingsInvalid when none of ours can be."""
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return PostgresDatabase(parsed)
    if parsed.get_backend_name() == "sqlite" and parsed.get_driver_name() in ("sqlite", "pysqlite"):
        return SqliteFile(parsed)
    raise SettingsInvalid(f"SERVICE_DATABASE_URL: no database that is known here; give {FORMS}")


def writer_engine(url: str, *, writers: int = 1, wait_s: float | None = None) -> Engine:
    """Return the engine of the connections that write; see `Database.writer_engine`."""
    return database_of(url).writer_engine(writers=writers, wait_s=wait_s)


def reader_engine(url: str) -> Engine:
    """Return the engine of the connections that read; see `Database.reader_engine`."""
    return database_of(url).reader_engine()


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise SettingsInvalid(f"SERVICE_DATABASE_URL: not a URL; give {FORMS}") from error
