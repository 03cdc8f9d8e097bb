"""PostgreSQL: connections that hold nothing between two transactions, so that a pooler may stand before it.

The driver is told to leave transactions alone, and SQLAlchemy's begin sends one message that begins it and says all
that it needs: settings by SET LOCAL, which end with it. No statement is prepared on the server, no lock outlives its
transaction, nothing is listened to here. Behind pgbouncer in transaction mode all of that works.
"""

from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, ExceptionContext, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from service.db.database import Keeper, NothingToKeep
from service.db.faults import describe
from service.db.postgres_faults import leave_values_out
from service.errors import SettingsInvalid

OLDEST: Final = 130_000
"""The server's oldest version, as its server_version_num."""
IDLE_S: Final = 10
"""A process that is stopped in the middle of a transaction loses it after this: others wait for its locks."""
LOCK_WAIT_S: Final = 0.1
"""So long a writer waits for a lock, with locks of its own that others may wait for; then it puts the unit off."""
MIGRATION_LOCK: Final = 0x6D69_6474_7261_6E73
"""The advisory lock of who migrates."""

_TIMEOUTS: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "connect_timeout": 5,
}
_FITNESS: Final = text(
    "SELECT current_setting('server_version_num')::int, pg_encoding_to_char(encoding)"
    " FROM pg_database WHERE datname = current_database()"
)
_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"


class PostgresDatabase:
    """A database of a server, which any number of processes write."""

    shared = True

    def __init__(self, url: URL) -> None:
        if not url.database:
            raise SettingsInvalid(
                "SERVICE_DATABASE_URL: name the database: postgresql+psycopg://user:password@host/name"
            )
        if url.drivername not in ("postgresql", "postgresql+psycopg"):
            raise SettingsInvalid(
                "SERVICE_DATABASE_URL: the driver here is psycopg: postgresql+psycopg://user:password@host/name"
            )
        self._url = url.set(drivername="postgresql+psycopg")

    @property
    def title(self) -> str:
        """The database's name and its server."""
        url = self._url
        host = url.host or url.query.get("host") or "this machine"
        return f"database {url.database!r} at {host}{f':{url.port}' if url.port else ''}"

    def create(self) -> None:
        """See that it is there and fit; who runs the server makes databases and says who may use them.

        Raises:
            SettingsInvalid: It cannot be reached, or is of an older server, or not in UTF-8.
        """
        engine = self._engine(poolclass=NullPool)
        try:
            with engine.connect() as connection:
                version, encoding = connection.execute(_FITNESS).one()
        except DBAPIError as error:
            raise SettingsInvalid(f"{self.title} cannot be used: {describe(error)}") from error
        if version < OLDEST:
            raise SettingsInvalid(
                f"{self.title} is of PostgreSQL {version // 10_000}; {OLDEST // 10_000} is needed"
            )
        if encoding != "UTF8":
            raise SettingsInvalid(f"{self.title} is in {encoding}: make one with ENCODING 'UTF8'")

    def missing(self) -> bool:
        """Say no: only the server can tell, when it is asked."""
        return False

    def writer_engine(self, *, writers: int = 1, wait_s: float | None = None) -> Engine:
        """Return the engine of the connections that write; a commit returns once it is on the server's disk."""
        engine = self._engine(pool_size=writers, max_overflow=0)
        begin = (
            "BEGIN; SET LOCAL synchronous_commit = on; "
            f"SET LOCAL lock_timeout = {(LOCK_WAIT_S if wait_s is None else wait_s) * 1000:.0f}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {IDLE_S * 1000}"
        )
        event.listen(engine, "begin", lambda connection: _begin(connection, begin))
        return engine

    def reader_engine(self, *, readers: int = 10) -> Engine:
        """Return the engine of the connections that read: none of them can write."""
        engine = self._engine(pool_size=min(2, readers), max_overflow=max(0, readers - 2), pool_timeout=5)
        event.listen(engine, "begin", lambda connection: _begin(connection, _SNAPSHOT))
        return engine

    def keeper(self) -> Keeper:
        """Return nobody: the server looks after its files."""
        return NothingToKeep()

    def hold_migrations(self, connection: Connection) -> None:
        """Take the lock of who migrates; waits as long as another one does, up to the engine's time."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})

    def _engine(self, **pool: Any) -> Engine:
        engine = create_engine(
            self._url,
            hide_parameters=True,  # of errors that are logged: they hold personal data
            use_native_hstore=False,  # else each first connection looks for a type that is not used
            connect_args={
                "prepare_threshold": None,  # behind a pooler the next statement may be another server's
                "application_name": "midtrans-service",
                "client_encoding": "utf8",
                **_TIMEOUTS,
                **self._url.query,
            },
            **pool,
        )
        event.listen(engine, "connect", _leave_transactions_alone)
        event.listen(engine, "handle_error", _without_values)
        return engine


def _leave_transactions_alone(connection: Any, _record: object) -> None:
    connection.autocommit = True


def _begin(connection: Connection, statements: str) -> None:
    connection.exec_driver_sql(statements)


def _without_values(context: ExceptionContext) -> None:
    """Leave out of an error what the server says in detail: it quotes the row, which holds personal data."""
    error = context.original_exception
    said = leave_values_out(error)
    if said is not None and context.sqlalchemy_exception is not None:
        context.sqlalchemy_exception.args = (f"({type(error).__name__}) {said}",)
