"""Tests that need something of the machine: skipped where it is missing, failed where it must be there."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest
from sqlalchemy import make_url

LOCAL = "postgresql://postgres@127.0.0.1:5432/postgres"
"""A server that runs already, as on a developer's machine."""


def wanted(missing: str) -> NoReturn:
    """Skip the test because of what is *missing*; fail instead under REQUIRE_SERVICES=1, as in CI."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def without_privileges() -> tuple[str, ...]:
    """Return what makes file modes count for the command behind it: nothing for most, a lost capability for root."""
    if os.geteuid() != 0:
        return ()
    if not shutil.which("setpriv"):
        wanted(
            "root writes read-only files and setpriv (util-linux) is not here: a read-only file is not shown"
        )
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def postgres_program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs; Debian keeps the server's off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)]))


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """Yield the URL of a server whose user may make databases; None where there is none.

    ``TEST_DATABASE_URL``, else the one of this machine, else one that is started and ended here.
    """
    given = os.environ.get("TEST_DATABASE_URL")
    if given or answers(LOCAL):
        yield (given or LOCAL).replace("postgresql+psycopg://", "postgresql://")
    elif postgres_program("initdb") is None:
        yield None
    else:
        with _started() as url:
            yield url


@cache
def answers(url: str) -> bool:
    """Say whether a server of PostgreSQL lets us in there."""
    return _answers_now(url)


@contextmanager
def _started() -> Iterator[str]:
    """Start a server of our own on a socket in a new folder; PostgreSQL refuses to run as root."""
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="midtrans-pg-", dir="/tmp"))
    try:
        if as_user:
            shutil.chown(folder, "postgres")
        data = folder / "data"
        initdb, pg_ctl = postgres_program("initdb"), postgres_program("pg_ctl")
        assert initdb is not None
        assert pg_ctl is not None

        def quietly(*command: str | Path) -> None:
            subprocess.run([*as_user, *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)

        quietly(initdb, "-D", data, "-U", "postgres", "-A", "trust")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c max_connections=200"
        quietly(pg_ctl, "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            quietly(pg_ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def pooler(database_url: str, port: int) -> Iterator[str]:
    """Start a pgbouncer in transaction mode before the server of *database_url*; yield the database's URL through it.

    Few connections to the server serve many of ours: whatever outlived a transaction would meet another's.
    """
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        wanted("no pgbouncer: install it")
    url = make_url(database_url)
    host = url.host or url.query.get("host")
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="midtrans-pool-", dir="/tmp"))
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={host} port={url.port or 5432} user={url.username}"
        f"{f' password={url.password}' if url.password else ''}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 100\n"
    )
    if as_user:
        shutil.chown(folder, "postgres")
    process = subprocess.Popen(
        [*as_user, program, "-q", folder / "pgbouncer.ini"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    through = url.set(host="127.0.0.1", port=port, query={})
    plain = through.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        until_s = time.monotonic() + 15
        while not _answers_now(plain):
            assert process.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.05)
        yield through.render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _answers_now(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
