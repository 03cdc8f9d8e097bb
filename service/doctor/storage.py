"""Can the database be trusted, and the disk under it?"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from service.clock import Clock
from service.db import health
from service.db.sqlite import database_file
from service.db.sqlite_files import left_log
from service.doctor.finding import Finding, failed, ok, warning
from service.errors import SettingsInvalid

MIB: Final = 1_048_576
WAL_LIMIT: Final = 256 * MIB
"""The service's own checkpoints keep it at some MB; more means that something reads for very long."""
FREE_LOW, FREE_NONE = 2048 * MIB, 200 * MIB
SYNCS: Final = 11
SLOW_S: Final = 0.05
"""A disk that needs longer for an fsync makes notifications wait: one commit serves all that wait, one at a time."""
SCHEMA_TO_DO: Final = (
    "do what it says; a file that cannot be read: look at its owner, and at the disk (read-only?)"
)
OTHERS: Final = 0o077
PRIVATE: Final = 0o600


def check_database(url: str, *, clock: Clock) -> Iterator[Finding]:
    """Yield what is to be said of the file, its schema, its content and a commit."""
    facts = health.facts(url)
    if facts is None and (left := left_log(database_file(url))):
        says = f"it is missing, but {left} holds what was written to it last"
        yield failed("database", says, "put the database back beside it; or move that file away, and restore")
        return
    if facts is None:
        yield warning("database", "there is none yet", "nothing: the first `run` makes it")
        return
    yield _mode("database mode", facts.path, facts.mode)
    try:
        schema = health.schema(url)
    except SettingsInvalid as error:
        yield failed("database schema", str(error), SCHEMA_TO_DO)
        return
    yield ok("database schema", f"{schema}, this version's; {facts.size / MIB:.1f} MiB at {facts.path}")
    damage = health.damage(url)
    yield (
        failed("database content", damage, "restore the last backup (docs/operating.md) and look at the disk")
        if damage
        else ok("database content", "SQLite's quick check finds nothing wrong")
    )
    yield _wal(facts)
    yield _commit(health.try_commit(url, clock=clock))


def check_disk(folder: Path) -> Iterator[Finding]:
    """Yield how much is free under *folder* and how long an fsync takes there."""
    if not folder.is_dir():
        yield warning("disk", f"{folder} is not there yet", "nothing: the first `run` makes it")
        return
    free = shutil.disk_usage(folder).free
    says, to_do = f"{free / MIB:,.0f} MiB free under {folder}", "make room: a full disk is answered 507"
    yield (
        failed("disk space", says, to_do)
        if free < FREE_NONE
        else warning("disk space", says, to_do)
        if free < FREE_LOW
        else ok("disk space", says)
    )
    try:
        sync_s = fsync_s(folder)
    except OSError as error:
        yield failed(
            "disk speed",
            f"nothing can be written in {folder}: {error.strerror}",
            "give the service's user the folder; see that the disk is not mounted read-only",
        )
        return
    says = f"an fsync takes {sync_s * 1000:.1f} ms"
    yield (
        warning("disk speed", says, "use a local disk: every answer waits for one fsync")
        if sync_s > SLOW_S
        else ok("disk speed", says)
    )


def check_operator_token(path: Path, *, configured: bool) -> Finding:
    """Return whether the operator's token is there, and for nobody else."""
    if configured:
        return ok("operator token", "set by SERVICE_OPERATOR_TOKEN")
    if not path.is_file():
        return warning(
            "operator token",
            f"there is none at {path}",
            "the first `run` makes it; if it was lost: `python -m service tokens create --role operator`",
        )
    return _mode("operator token", path, path.stat().st_mode & 0o777)


def fsync_s(folder: Path) -> float:
    """Return the median time of writing 4 KiB in *folder* and bringing it to the disk; raises OSError."""
    path = folder / f".doctor-{secrets.token_hex(4)}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        return median(_sync_once(handle) for _ in range(SYNCS))
    finally:
        os.close(handle)
        path.unlink()


def _sync_once(handle: int) -> float:
    began_s = time.perf_counter()
    os.write(handle, bytes(4096))
    os.fsync(handle)
    return time.perf_counter() - began_s


def _mode(check: str, path: Path, mode: int) -> Finding:
    if mode & OTHERS:
        return warning(
            check, f"others of this machine may read it (mode {mode:04o})", f"chmod {PRIVATE:o} {path}"
        )
    return ok(check, f"mode {mode:04o}: for its owner alone")


def _wal(facts: health.Facts) -> Finding:
    says = f"write-ahead log of {facts.wal_size / MIB:.1f} MiB"
    if facts.wal_size > WAL_LIMIT:
        to_do = "end what reads the database for long (a copy, a shell); the service shrinks it by itself"
        return warning("database log", says, to_do)
    return ok("database log", says)


def _commit(commit: health.Commit) -> Finding:
    check = "database commit"
    if commit.held:
        return warning(
            check,
            "another process holds the database",
            "look at /readyz of the running service; if none runs, end what holds the file",
        )
    if commit.trouble:
        return failed(check, commit.trouble, "look at the disk (full, read-only?) and at the file's owner")
    how = f"{commit.journal_mode}, synchronous {commit.synchronous}"
    if (commit.journal_mode, commit.synchronous) != ("WAL", "FULL"):
        return failed(
            check, f"a commit would not be safe: {how}", "move the file to a local disk that knows WAL"
        )
    return ok(check, f"reached the disk in {commit.seconds * 1000:.1f} ms ({how})")
