"""The store on a disk that fails: told to those who wait, red until a commit succeeds, or over."""

import asyncio
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import IntegrityError

from service.db.sqlite_files import wal_file
from service.db.store import Store
from service.db.tables import consumers, receipts
from service.db.unit import Unit
from service.domain.records import NewReceipt, Oddity
from service.errors import SettingsInvalid, StoreBroken, StoreUnavailable

Hold = Callable[[Store], Any]
MakeReceipt = Callable[..., NewReceipt]


def clock() -> datetime:
    return datetime.now(UTC)


def touch(unit: Unit) -> None:
    unit.log.probe()


class Disk:
    """Pragmas for every new writing connection, and an error for every COMMIT: a disk to play tricks with."""

    def __init__(self, store: Store) -> None:
        self.pragmas: list[str] = ["busy_timeout=50"]
        self.error: BaseException | None = None
        event.listen(store._write_engine, "connect", self._connect)
        event.listen(store._write_engine, "commit", self._commit)

    def _connect(self, connection: sqlite3.Connection, _: object) -> None:
        for pragma in self.pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def _commit(self, _: object) -> None:
        if self.error is not None:
            raise self.error

    @staticmethod
    def fails(code: int) -> sqlite3.OperationalError:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        error.sqlite_errorname = "SQLITE_MADE_UP"
        return error


@pytest.fixture
def broken() -> list[BaseException]:
    return []


@pytest.fixture
def shaky(url: str, database: Path, broken: list[BaseException]) -> Iterator[tuple[Store, Disk]]:
    store = Store(url, writers=1, listens=False, clock=clock, on_broken=broken.append)
    disk = Disk(store)
    store.start()
    yield store, disk
    store.close()


def reconnect(store: Store) -> None:
    """Have the writer's next connection see the disk's present pragmas."""

    def lose(unit: Unit) -> None:
        unit.connection.connection.driver_connection.interrupt()  # type: ignore[union-attr]
        unit.connection.exec_driver_sql("ROLLBACK")

    with pytest.raises(StoreUnavailable):
        store.write(lose).result(5)


def test_a_full_disk_fails_the_batch_and_the_store_heals(
    shaky: tuple[Store, Disk], hold: Hold, broken: list[BaseException]
) -> None:
    store, disk = shaky
    pages = store.read(lambda unit: unit.connection.scalar(text("PRAGMA page_count")))
    disk.pragmas = [f"max_page_count={pages}"]
    reconnect(store)

    def fill(unit: Unit) -> None:
        unit.oddities.add_many([Oddity("m", "r", clock(), "", "", {}, b"x" * 50_000, 0, "")])

    with hold(store):
        small, large = store.write(touch), store.write(fill)
    for future in (small, large):
        with pytest.raises(StoreUnavailable, match="SQLITE_FULL"):
            future.result(5)
    assert not store.health().ok
    assert "SQLITE_FULL" in store.health().detail
    disk.pragmas = ["max_page_count=1000000"]
    store.write(fill).result(5)
    assert store.health().ok
    assert broken == []


async def test_a_read_only_file_is_answered_and_survived(
    shaky: tuple[Store, Disk], make_receipt: MakeReceipt
) -> None:
    store, disk = shaky
    disk.pragmas = ["query_only=ON"]
    reconnect(store)
    with pytest.raises(StoreUnavailable, match="SQLITE_READONLY"):
        await store.receive(make_receipt())
    disk.pragmas = []
    assert not (await store.receive(make_receipt())).duplicate
    assert store.health().ok


def test_a_file_that_another_process_keeps_locked_is_answered_and_survived(
    shaky: tuple[Store, Disk], database: Path
) -> None:
    store, _ = shaky
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        store.write(touch).result(5)
    assert not store.health().ok
    other.execute("ROLLBACK")
    other.close()
    store.probe().result(5)
    assert store.health().ok


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(sqlite3.SQLITE_IOERR_FSYNC, id="fsync"),
        pytest.param(sqlite3.SQLITE_IOERR_WRITE, id="write"),
        pytest.param(sqlite3.SQLITE_CORRUPT, id="corrupt"),
        pytest.param(sqlite3.SQLITE_NOTADB, id="not-a-database"),
    ],
)
async def test_after_a_failed_write_or_fsync_the_store_is_broken_for_ever(
    shaky: tuple[Store, Disk], broken: list[BaseException], hold: Hold, make_receipt: MakeReceipt, code: int
) -> None:
    store, disk = shaky
    with hold(store) as busy:
        disk.error = disk.fails(code)
        futures = [store.receive(make_receipt()), store.receive(make_receipt())]
    for future in futures:
        with pytest.raises(StoreBroken):
            await future
    with pytest.raises(StoreBroken):
        busy.result(5)
    disk.error = None
    with pytest.raises(StoreBroken):
        store.write(touch).result(0)
    with pytest.raises(StoreBroken):
        store.probe().result(0)
    assert not store.health().ok
    assert store.read(lambda unit: unit.connection.scalar(select(receipts.c.id))) is None
    store.close()  # waits for the writer, which tells after it has answered
    assert [getattr(error, "sqlite_errorcode", None) for error in broken] == [code]


def test_a_failed_checkpoint_fsync_breaks_the_store_but_not_what_was_answered(
    shaky: tuple[Store, Disk], broken: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, disk = shaky

    class Driver:
        total_changes = 10**6

        def execute(self, _: str) -> None:
            raise disk.fails(sqlite3.SQLITE_IOERR_FSYNC)

    monkeypatch.setattr("service.db.sqlite_keeper._driver", lambda _: Driver())
    store.write(touch).result(5)
    with pytest.raises(StoreBroken):
        store.write(touch).result(5)
    store.close()
    assert len(broken) == 1


def take_away(database: Path, *, and_made_anew: bool) -> None:
    moved = database.rename(database.with_name("moved.db"))
    if and_made_anew:
        shutil.copy(moved, database)


@pytest.mark.parametrize("and_made_anew", [False, True])
async def test_nothing_is_answered_once_the_file_has_been_taken_away(
    shaky: tuple[Store, Disk],
    broken: list[BaseException],
    database: Path,
    make_receipt: MakeReceipt,
    and_made_anew: bool,
) -> None:
    store, _ = shaky
    await store.receive(make_receipt())
    take_away(database, and_made_anew=and_made_anew)
    with pytest.raises(StoreBroken, match="moved, deleted or replaced"):
        await store.receive(make_receipt())
    store.close()  # waits for the writer, which tells after it has answered
    assert len(broken) == 1


@pytest.mark.parametrize("and_made_anew", [False, True])
async def test_nothing_is_answered_once_the_write_ahead_log_has_been_taken_away(
    shaky: tuple[Store, Disk],
    broken: list[BaseException],
    database: Path,
    make_receipt: MakeReceipt,
    and_made_anew: bool,
) -> None:
    store, _ = shaky
    await store.receive(make_receipt())
    take_away(wal_file(database), and_made_anew=and_made_anew)
    with pytest.raises(StoreBroken, match="-wal file was moved, deleted or replaced"):
        await store.receive(make_receipt())
    store.close()
    assert len(broken) == 1


def test_a_database_behind_a_link_is_written_as_any_other(url: str, database: Path, tmp_path: Path) -> None:
    link = tmp_path / "link" / "shop.db"
    link.parent.mkdir()
    link.symlink_to(database)
    store = Store(f"sqlite:///{link}", writers=1, listens=False, clock=clock)
    store.start()
    for _ in range(3):
        store.write(touch).result(5)
    store.close()


def test_a_store_that_was_never_started_closes(url: str) -> None:
    store = Store(url, writers=1, listens=False, clock=clock)
    waiting = store.write(touch)
    store.close()
    with pytest.raises(StoreUnavailable):
        waiting.result(0)


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM]
)
def test_what_leaves_the_file_intact_does_not_break_the_store(
    shaky: tuple[Store, Disk], broken: list[BaseException], code: int
) -> None:
    store, disk = shaky
    disk.error = disk.fails(code)
    with pytest.raises(StoreUnavailable):
        store.write(touch).result(5)
    disk.error = None
    store.write(touch).result(5)
    assert broken == []


def test_a_unit_that_loses_the_transaction_fails_all_that_shared_it(store: Store, hold: Hold) -> None:
    def lose(unit: Unit) -> None:
        unit.connection.exec_driver_sql("ROLLBACK")
        raise ValueError

    with hold(store):
        futures = [store.write(touch), store.write(lose), store.write(touch)]
    for future in futures:
        with pytest.raises(StoreUnavailable):
            future.result(5)
    store.write(touch).result(5)


def test_a_damaged_file_is_found_when_it_is_read_or_written(url: str, database: Path) -> None:
    store = Store(url, writers=1, listens=False, clock=clock)
    store.start()
    store.close()
    with database.open("r+b") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(4096 * 2)  # the schema stays whole
        file.write(b"\xff" * (size - 4096 * 2))
    store = Store(url, writers=1, listens=False, clock=clock)
    with pytest.raises((StoreBroken, SettingsInvalid)):
        store.start()
    with pytest.raises(StoreBroken):
        store.read(lambda unit: unit.connection.execute(select(receipts)).all())
    store.close()


@pytest.mark.slow
@pytest.mark.on_file
def test_trouble_is_told_once_until_a_commit_succeeds(url: str) -> None:
    told: list[str] = []

    def tell(why: str) -> None:
        told.append(why)
        raise RuntimeError("whoever is told fails")

    store = Store(url, writers=1, listens=False, clock=clock, on_trouble=tell)
    disk = Disk(store)
    store.start()
    assert told == []
    for codes in (
        (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL),
        (sqlite3.SQLITE_READONLY,),
    ):
        for code in codes:
            disk.error = disk.fails(code)
            with pytest.raises(StoreUnavailable):
                store.write(touch).result(5)
        disk.error = None
        store.write(touch).result(5)
    store.close()
    assert len(told) == 2


def test_trouble_is_logged_once_and_so_is_its_end(shaky: tuple[Store, Disk]) -> None:
    store, disk = shaky
    disk.error = disk.fails(sqlite3.SQLITE_FULL)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                store.write(touch).result(5)
        disk.error = None
        store.write(touch).result(5)
        store.close()
    assert [line["event"] for line in lines] == ["store_unavailable", "store_recovered"]


def test_a_log_that_cannot_be_written_leaves_no_future_waiting(
    shaky: tuple[Store, Disk], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, disk = shaky
    disk.error = disk.fails(sqlite3.SQLITE_FULL)
    with monkeypatch.context() as patched:
        patched.setattr("service.db.writer.log", None)
        with pytest.raises(StoreUnavailable):
            store.write(touch).result(5)
        disk.error = None
        store.write(touch).result(5)
    assert store.health().ok


def test_reading_does_not_wait_for_the_writer_and_sees_only_what_is_committed(
    store: Store, hold: Hold
) -> None:
    with hold(store):
        began = time.monotonic()
        assert store.read(lambda unit: unit.log.last_position()) == 0
        assert time.monotonic() - began < 1


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match=r"SQLITE_READONLY|ReadOnlySqlTransaction"):
        store.read(touch)
    assert store.health().ok


def test_a_read_sees_one_state_from_its_beginning(store: Store) -> None:
    def look_twice(unit: Unit) -> tuple[int, int]:
        def count() -> int:
            return len(unit.oddities.newest())

        first = count()
        store.write(
            lambda other: other.oddities.add_many([Oddity("m", "r", clock(), "", "", {}, b"", 0, "")])
        ).result(5)
        return first, count()

    assert store.read(look_twice) == (0, 0)
    assert len(store.read(lambda unit: unit.oddities.newest())) == 1


@pytest.mark.on_file  # a server has fewer connections than we threads: some wait
def test_many_threads_may_read_at_once(store: Store) -> None:
    together = threading.Barrier(30)

    def look(unit: Unit) -> int:
        together.wait(5)
        return unit.log.last_position()

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(store.read(look))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [0] * 30


def test_what_a_query_raises_reaches_the_caller_as_it_is(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        store.read(lambda _: 1 / 0)


def test_a_probe_reaches_the_file_and_is_shared_for_a_second(store: Store, database: Path) -> None:
    watcher = sqlite3.connect(database)

    def version() -> int:
        seen: int = watcher.execute("PRAGMA data_version").fetchone()[0]
        return seen

    before = version()
    first = store.probe()
    first.result(5)
    assert version() != before
    before = version()
    assert store.probe() is first
    assert version() == before
    store._probed_at -= 1
    assert store.probe() is not first
    watcher.close()


async def test_a_caller_that_leaves_does_not_take_the_probe_along(store: Store, hold: Hold) -> None:
    with hold(store):
        leaving = asyncio.wrap_future(store.probe())
        staying = asyncio.wrap_future(store.probe())
        leaving.cancel()
        await asyncio.sleep(0)
    await staying


def test_the_epoch_is_made_once_and_stays(url: str) -> None:
    epochs = set()
    for _ in range(2):
        store = Store(url, writers=1, listens=False, clock=clock)
        store.start()
        epochs.add(store.epoch)
        store.close()
    (epoch,) = epochs
    assert len(bytes.fromhex(epoch)) == 4


def test_a_store_without_its_schema_says_what_to_run(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/none.db", clock=clock)
    with pytest.raises(SettingsInvalid, match="python -m service migrate"):
        store.start()
    assert not (tmp_path / "none.db").exists()


def test_a_store_that_cannot_be_written_at_start_says_so_and_leaves_no_thread(
    url: str, database: Path
) -> None:
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = Store(url, writers=1, listens=False, clock=clock)
    Disk(store)
    with pytest.raises(StoreUnavailable):
        store.start()
    assert "writer" not in {thread.name for thread in threading.enumerate()}
    other.close()


def test_errors_that_may_be_logged_show_no_parameters(store: Store) -> None:
    def work(unit: Unit) -> None:
        row = {"name": "secret-name", "types": None}
        unit.connection.execute(insert(consumers), row)

    with pytest.raises(IntegrityError) as caught:
        store.write(work).result(5)
    assert "secret-name" not in str(caught.value)
