"""Disks, locks, pauses and clocks that fail under load: the answers stay within the table, readiness speaks the
truth and recovers, and nothing acknowledged is lost or doubled."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.process import SERVICE, service_after
from support.proof import wait_until
from support.services import without_privileges
from support.torment import Load, load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STOPPED_FOR_S = float(os.environ.get("STOPPED_FOR_S", "5"))
"""How long the process is stopped. Longer than a claim (120 s) takes over two minutes: STOPPED_FOR_S=125."""
AN_HOUR_S = 3600
DISK_BYTES = 24 * 1024 * 1024

PAGES_FROM_FILE = """
import pathlib
from sqlalchemy import event
import service.db.store as store
limit = pathlib.Path({limit!r})
writer_engine = store.writer_engine
def limited(url, **options):
    engine = writer_engine(url, **options)
    def bound(driver, _):
        if limit.exists():
            driver.execute(f"PRAGMA max_page_count={{limit.read_text()}}").close()
    event.listen(engine, "connect", bound)
    return engine
store.writer_engine = limited
"""
CLOCK_FROM_FILE = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import service.cli
run = sys.modules["service.cli.run"]
build = run.build
offset = Path({offset!r})
def clock():
    return datetime.now(UTC) + timedelta(seconds=float(offset.read_text()))
run.build = lambda configuration, **options: build(configuration, clock=clock, **options)
"""


def wait_until_unready(torment: Load, *words: str, within_s: float = 30) -> None:
    """Wait until /readyz answers 503 and says why in one of *words*."""

    def unready() -> bool:
        status, why = torment.service.readiness()
        return status == 503 and any(word in why for word in words)

    wait_until(unready, f"readiness 503 that says {' or '.join(words)}", within_s=within_s)


def check_alive(torment: Load) -> None:
    """The fault passes: the process must not have given up over it."""
    assert torment.service.runs(), torment.service.log_text()


# -- the disk is full


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of a few megabytes; skip where that is not allowed (the page limit shows the same everywhere)."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here: a full disk is shown by the page limit alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Leave no byte free."""
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def go_through_a_full_disk(torment: Load, fill_it: Callable[[], None], empty_it: Callable[[], None]) -> None:
    torment.wait_for(200, 50)
    fill_it()
    wait_until_unready(torment, "full")
    torment.wait_for(507, 5)
    check_alive(torment)
    assert torment.count(429) == 0
    empty_it()
    torment.service.wait_until_ready()
    torment.wait_for(200, 50)
    check_alive(torment)
    assert torment.service.stop() == 0  # what was being confirmed meanwhile would wait for its claim to end
    torment.service.start()
    torment.prove()


def test_a_full_disk_passes(tmp_path: Path, free_port: int) -> None:
    with (
        small_disk(tmp_path / "disk") as disk,
        load(disk, free_port, log=tmp_path / "service.log") as torment,
    ):
        ballast = disk / "ballast"
        go_through_a_full_disk(torment, lambda: fill(ballast), ballast.unlink)


def test_a_database_that_may_not_grow_passes(tmp_path: Path, free_port: int) -> None:
    """The same answer of SQLite (SQLITE_FULL), where no disk can be mounted."""
    limit = tmp_path / "limit"
    limit.write_text("180")
    command = service_after(PAGES_FROM_FILE.format(limit=str(limit)))
    with load(tmp_path, free_port, log=tmp_path / "service.log", command=command) as torment:
        go_through_a_full_disk(torment, lambda: None, limit.unlink)


# -- the file is locked, then read-only


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the write lock from another connection."""
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write from the folder and the database's files."""
    files = list(folder.glob("midtrans.db*"))
    for path in (*files, folder):
        path.chmod(0o555 if path is folder else 0o444)
    try:
        yield
    finally:
        for path in (folder, *files):
            path.chmod(0o700 if path is folder else 0o600)


def test_a_locked_and_then_read_only_database_passes(tmp_path: Path, free_port: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    command: Sequence[str] = (*without_privileges(), *SERVICE)
    with load(data, free_port, log=tmp_path / "service.log", command=command) as torment:
        torment.wait_for(200, 50)
        with locked(torment.database):
            wait_until_unready(torment, "locked", "no commit within")
            torment.wait_for(507, 1)
            check_alive(torment)
        torment.service.wait_until_ready()
        torment.wait_for(200, 20)
        with read_only(data):
            with locked(torment.database):  # what is open stays writable: it must be opened anew
                torment.wait_for(507, 1)
            wait_until_unready(torment, "readonly", "unable to open")
            torment.wait_for(507, 5)
            check_alive(torment)
        torment.service.wait_until_ready()
        torment.wait_for(200, 50)
        assert torment.service.stop() == 0
        torment.service.start()
        torment.prove()


# -- the process stands still


def test_a_stopped_process_goes_on_where_it_was(tmp_path: Path, free_port: int) -> None:
    with load(tmp_path, free_port, log=tmp_path / "service.log") as torment:
        torment.wait_for(200, 50)
        torment.service.signal(signal.SIGSTOP)
        time.sleep(STOPPED_FOR_S)
        torment.service.signal(signal.SIGCONT)
        torment.service.wait_until_ready()
        torment.wait_for(200, 50)
        check_alive(torment)
        torment.prove()
        assert torment.count(507) == torment.count(429) == 0


# -- the clock is set back


def test_a_clock_set_back_an_hour_changes_no_order_and_loses_nothing(tmp_path: Path, free_port: int) -> None:
    offset = tmp_path / "offset"

    def set_clock(seconds: float) -> None:
        (tmp_path / "offset.new").write_text(str(seconds))
        (tmp_path / "offset.new").replace(offset)

    set_clock(0)
    command = service_after(CLOCK_FROM_FILE.format(offset=str(offset)))
    # A lease that is lost just before comes back an hour late: the consumer loses none here.
    with load(tmp_path, free_port, log=tmp_path / "service.log", command=command, loses=0.0) as torment:
        torment.wait_for(200, 100)
        set_clock(-AN_HOUR_S)
        torment.wait_for(200, 100)
        assert torment.service.readiness()[0] == 200
        set_clock(0)
        torment.wait_for(200, 50)
        assert torment.service.stop() == 0
        set_clock(-AN_HOUR_S)
        torment.service.start()
        torment.wait_for(200, 100)
        assert torment.service.readiness()[0] == 200
        torment.prove()
        assert torment.count(507) == torment.count(429) == 0
