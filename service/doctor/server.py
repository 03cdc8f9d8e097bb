"""Can the PostgreSQL database be trusted, and the server under it?"""

from collections.abc import Iterator
from typing import Final

from service.clock import Clock
from service.db import health, postgres_health
from service.db.postgres_health import Server, ServerCommit
from service.doctor.finding import Finding, failed, ok, warning
from service.errors import SettingsInvalid, StoreUnavailable

MIB: Final = 1_048_576
SLOW_S: Final = 0.05
FULL: Final = 0.8
"""Of the connections that the server allows; a rolling restart needs some more for a moment."""


def check_server(url: str, *, clock: Clock) -> Iterator[Finding]:
    """Yield what is to be said of the server, the schema and a commit."""
    try:
        server = postgres_health.server(url)
    except StoreUnavailable as error:
        yield failed(
            "database", str(error), "see that the server runs, and that SERVICE_DATABASE_URL names it right"
        )
        return
    yield _server(server)
    try:
        schema = health.schema(url)
    except SettingsInvalid as error:
        yield failed("database schema", str(error), "do what it says")
        return
    yield ok("database schema", f"{schema}, this version's; {server.size / MIB:.1f} MiB, {server.title}")
    yield _durable(server)
    yield _connections(server)
    yield _commit(postgres_health.try_commit(url, clock=clock))


def _server(server: Server) -> Finding:
    says = f"PostgreSQL {server.version}, {server.title}"
    if server.standby:
        return failed("database", f"{says} is a standby: it takes no writes", "name the primary")
    return ok("database", says)


def _durable(server: Server) -> Finding:
    off = [
        name
        for name, on in (("fsync", server.fsync), ("full_page_writes", server.full_page_writes))
        if not on
    ]
    if off:
        says = f"{' and '.join(off)} off: a power cut loses or damages what was answered"
        return failed("database durability", says, "set them on in the server's configuration")
    return ok("database durability", "fsync and full_page_writes are on")


def _connections(server: Server) -> Finding:
    says = f"{server.connections} of {server.max_connections} connections in use"
    if server.connections > FULL * server.max_connections:
        to_do = "raise max_connections, lower [database] writers and readers, or put pgbouncer between"
        return warning("database connections", says, to_do)
    return ok("database connections", says)


def _commit(commit: ServerCommit) -> Finding:
    check = "database commit"
    if commit.trouble:
        return failed(check, commit.trouble, "look at the server's log, its disk and the user's rights")
    says = f"reached the server's disk in {commit.seconds * 1000:.1f} ms"
    if commit.seconds > SLOW_S:
        return warning(check, says, "every answer waits for one: a nearer server, or a faster disk")
    return ok(check, f"{says} (synchronous_commit {commit.synchronous_commit})")
