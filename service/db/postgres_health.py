"""Looks at a PostgreSQL database and its server from beside the service that may be using them."""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from service.clock import Clock
from service.db.engine import database_of
from service.db.faults import describe
from service.db.unit import Unit
from service.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself and of the database."""

    title: str
    version: str
    size: int
    standby: bool
    fsync: bool
    full_page_writes: bool
    connections: int
    max_connections: int


@dataclass(frozen=True, slots=True)
class ServerCommit:
    """One commit that the server reported to be on its disk, or why there was none."""

    seconds: float
    synchronous_commit: str
    trouble: str | None = None


_FACTS = text(
    "SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS size,"
    " pg_is_in_recovery() AS standby, current_setting('fsync') = 'on' AS fsync,"
    " current_setting('full_page_writes') = 'on' AS full_page_writes,"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,"
    " current_setting('max_connections')::int AS max_connections"
)


def server(url: str) -> Server:
    """Return the server's facts; raise StoreUnavailable when it cannot be asked."""
    database = database_of(url)
    engine = database.reader_engine()
    try:
        with engine.connect() as connection, connection.begin():
            return Server(database.title, **connection.execute(_FACTS).one()._asdict())
    except DBAPIError as error:
        raise StoreUnavailable(f"{database.title} cannot be used: {describe(error)}") from error
    finally:
        engine.dispose()


def try_commit(url: str, *, clock: Clock) -> ServerCommit:
    """Commit what nobody reads, as the service does before it answers."""
    engine = database_of(url).writer_engine(wait_s=2.0)
    try:
        with engine.connect() as connection:
            return _committed(connection, clock)
    except DBAPIError as error:
        return ServerCommit(0.0, "", describe(error))
    finally:
        engine.dispose()


def _committed(connection: Connection, clock: Clock) -> ServerCommit:
    with connection.begin():
        Unit(connection, clock()).log.probe()
        synchronous: str = connection.execute(text("SHOW synchronous_commit")).scalar_one()
        began_s = time.perf_counter()
    return ServerCommit(time.perf_counter() - began_s, synchronous)
