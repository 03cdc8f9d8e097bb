import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert, select, update

from service.db import copies
from service.db.store import Store
from service.db.tables import checks, claims, consumers, deliveries, events, log, payments, receipts
from service.db.unit import Unit
from service.domain.records import ConsumerSpec, NewReceipt, ReceiptState
from service.errors import Conflict, NotFound, SettingsInvalid, StoreError

pytestmark = pytest.mark.on_file
NOW = datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC)
MONTH = timedelta(days=30)
MakeReceipt = Callable[..., NewReceipt]


def fill(store: Store, make: MakeReceipt, count: int = 3) -> None:
    store.write(lambda unit: unit.receipts.add_many([make() for _ in range(count)])).result()


def append(store: Store, count: int) -> None:
    """Put events into the log, each of a payment of its own."""
    for _ in range(count):
        store.write(lambda unit: unit.connection.execute(insert(events), _event())).result()


def _event() -> dict[str, object]:
    name = uuid4()
    facts = {"id": name, "merchant": "default", "transaction_id": str(name), "sequence": 1, "order_id": "o"}
    return {**facts, "type": "midtrans.payment.settled", "made_at": NOW, "body": "{}"}


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as database:
        found: int = database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return found


def restored(url: str, source: Path, **options: object) -> copies.Restored:
    choices = {"replace": False, "now": NOW, "ask_again": MONTH, **options}
    return copies.restore(url, source, **choices)  # type: ignore[arg-type]


def reopened(url: str) -> Store:
    store = Store(url, clock=lambda: NOW)
    store.start()
    return store


# -- backup --


def test_a_backup_holds_all_that_was_committed_and_is_one_file_for_its_owner_alone(
    store: Store, url: str, tmp_path: Path, make_receipt: MakeReceipt
) -> None:
    fill(store, make_receipt, 30)
    target = tmp_path / "copies" / "one.db"
    target.parent.mkdir()
    made = copies.backup(url, target)
    assert (made.rows["receipts"], made.rows["bodies"]) == (30, 30)
    assert count(target, "receipts") == 30
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert made.size == target.stat().st_size
    assert [path.name for path in target.parent.iterdir()] == ["one.db"]


def test_a_backup_is_one_moment_however_much_is_written_meanwhile(
    store: Store, url: str, tmp_path: Path, make_receipt: MakeReceipt
) -> None:
    stopping = threading.Event()

    def write() -> None:
        while not stopping.is_set():
            fill(store, make_receipt, 5)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(5):
            made = copies.backup(url, tmp_path / f"{number}.db")
            assert made.rows["receipts"] == made.rows["bodies"]
            assert made.rows["receipts"] % 5 == 0
    finally:
        stopping.set()
        writing.join()


def test_a_backup_overwrites_nothing(store: Store, url: str, tmp_path: Path) -> None:
    target = tmp_path / "there.db"
    target.write_text("precious")
    with pytest.raises(Conflict, match="already"):
        copies.backup(url, target)
    assert target.read_text() == "precious"


def test_a_backup_without_a_database_or_a_folder_says_which(tmp_path: Path, url: str) -> None:
    with pytest.raises(NotFound, match="database"):
        copies.backup(f"sqlite:///{tmp_path}/none.db", tmp_path / "copy.db")
    with pytest.raises(NotFound, match="folder"):
        copies.backup(url, tmp_path / "none" / "copy.db")


def test_a_damaged_database_makes_no_backup_and_leaves_nothing(
    store: Store, url: str, database: Path, tmp_path: Path, make_receipt: MakeReceipt
) -> None:
    fill(store, make_receipt, 400)
    store.close()
    with database.open("r+b") as file:
        size = database.stat().st_size
        file.seek(size // 2)
        file.write(os.urandom(20_000))
    folder = tmp_path / "copies"
    folder.mkdir()
    with pytest.raises(StoreError):
        copies.backup(url, folder / "copy.db")
    assert list(folder.iterdir()) == []


# -- restore --


@pytest.fixture
def copy(store: Store, url: str, tmp_path: Path) -> Path:
    """Return a backup of a log with five events and a consumer that has passed three."""
    append(store, 5)
    store.write(lambda unit: unit.log.sequence()).result()
    store.write(lambda unit: unit.consumers.add("shipping", ConsumerSpec(), cursor=3)).result()
    return copies.backup(url, tmp_path / "copy.db").path


def test_a_restored_log_has_a_new_epoch_and_goes_on_behind_its_end(
    store: Store, url: str, copy: Path, database: Path
) -> None:
    before = store.epoch
    store.close()
    result = restored(url, copy, replace=True)
    store = reopened(url)
    assert store.epoch == result.reborn.epoch != before
    append(store, 1)
    store.write(lambda unit: unit.log.sequence()).result()
    places = store.read(lambda unit: unit.connection.execute(select(events.c.position)).scalars().all())
    cursor = store.read(lambda unit: unit.consumers.get("shipping").cursor)
    store.close()
    assert sorted(places) == [1, 2, 3, 4, 5, 6]
    assert cursor == 3
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_what_was_there_is_kept_and_only_replaced_on_demand(
    store: Store, url: str, copy: Path, database: Path
) -> None:
    append(store, 2)
    store.close()
    with pytest.raises(Conflict, match="--replace"):
        restored(url, copy)
    kept = restored(url, copy, replace=True).kept
    assert kept is not None
    assert (count(kept, "events"), count(database, "events")) == (7, 5)


def test_a_database_in_use_is_not_replaced(store: Store, url: str, copy: Path, database: Path) -> None:
    with pytest.raises(Conflict, match="end the service first"):
        restored(url, copy, replace=True)
    append(store, 1)
    assert store.health().ok


def test_what_a_killed_process_had_committed_is_kept_whole(
    url: str, database: Path, store: Store, copy: Path
) -> None:
    store.close()
    code = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1])\n"
        "database.execute('PRAGMA wal_autocheckpoint=0')\n"
        "database.execute('UPDATE log SET probes = 77'); database.commit(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(database)], check=False, timeout=30)
    assert Path(f"{database}-wal").stat().st_size > 0
    kept = restored(url, copy, replace=True).kept
    assert kept is not None
    with closing(sqlite3.connect(kept)) as old:
        assert old.execute("SELECT probes FROM log").fetchone() == (77,)
    assert not Path(f"{database}-wal").exists()


def test_a_damaged_database_can_be_replaced(store: Store, url: str, copy: Path, database: Path) -> None:
    store.close()
    database.write_bytes(b"no database at all" * 1000)
    restored(url, copy, replace=True)
    assert count(database, "events") == 5


def test_a_damaged_backup_changes_nothing(
    store: Store, url: str, copy: Path, database: Path, tmp_path: Path
) -> None:
    store.close()
    copy.write_bytes(copy.read_bytes()[:9000])
    with pytest.raises(StoreError):
        restored(url, copy, replace=True)
    assert count(database, "events") == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "midtrans.db"]


def test_a_backup_of_a_later_version_changes_nothing(
    store: Store, url: str, copy: Path, database: Path
) -> None:
    store.close()
    with closing(sqlite3.connect(copy)) as later:
        later.execute("UPDATE alembic_version SET version_num = '9999'")
        later.commit()
    with pytest.raises(SettingsInvalid):
        restored(url, copy, replace=True)
    assert count(database, "events") == 5


def test_the_database_is_no_backup_of_itself(store: Store, url: str, database: Path) -> None:
    store.close()
    with pytest.raises(Conflict, match="itself"):
        restored(url, database, replace=True)
    with pytest.raises(NotFound, match="backup"):
        restored(url, database.with_name("none.db"))


def test_what_lies_beyond_the_end_skips_no_new_event(
    store: Store, url: str, tmp_path: Path, copy: Path
) -> None:
    def beyond(unit: Unit) -> None:
        unit.connection.execute(update(consumers).values(cursor=99))
        facts = {"consumer": "shipping", "merchant": "default", "transaction_id": "t", "state": "waiting"}
        for position in (4, 98):
            row = {**facts, "position": position, "attempt": 1, "updated_at": NOW, "due_at": NOW}
            unit.connection.execute(insert(deliveries), row)

    store.write(beyond).result()
    odd = copies.backup(url, tmp_path / "odd.db").path
    store.close()
    assert restored(url, odd, replace=True).reborn.last_position == 5
    store = reopened(url)
    left = store.read(lambda unit: unit.connection.execute(select(deliveries.c.position)).scalars().all())
    cursor = store.read(lambda unit: unit.consumers.get("shipping").cursor)
    store.close()
    assert (cursor, left) == (5, [4])


def test_what_may_have_changed_meanwhile_is_asked_again(
    store: Store, url: str, tmp_path: Path, make_receipt: MakeReceipt
) -> None:
    def know(unit: Unit) -> None:
        for name, days in (("new", 1), ("old", 31), ("planned", 1)):
            at = NOW - timedelta(days=days)
            unit.connection.execute(insert(payments), _payment(name, at))
        planned = {"merchant": "default", "order_id": "planned", "transaction_id": "planned", "failures": 2}
        unit.connection.execute(insert(checks), {**planned, "due_at": NOW + timedelta(hours=9)})
        unit.receipts.add_many([make_receipt()])
        unit.connection.execute(update(receipts).values(due_at=NOW + timedelta(hours=1), fence=1))
        claim = {"merchant": "default", "order_id": "order-1", "owner": "x:1:y", "leased_until": NOW}
        unit.connection.execute(insert(claims), claim)

    store.write(know).result()
    copy = copies.backup(url, tmp_path / "copy.db").path
    store.close()
    assert restored(url, copy, replace=True).reborn.questions == 2
    store = reopened(url)
    due = store.read(lambda unit: unit.connection.execute(select(checks.c.order_id, checks.c.due_at)).all())
    receipt = store.read(lambda unit: unit.connection.execute(select(receipts)).one())
    free = store.read(lambda unit: unit.claims.owners())
    store.close()
    assert sorted(map(tuple, due)) == [("new", NOW), ("planned", NOW)]
    assert (receipt.state, receipt.due_at, receipt.fence, free) == (ReceiptState.WAITING, NOW, None, [])


def _payment(name: str, at: datetime) -> dict[str, object]:
    facts = {
        "merchant": "default",
        "transaction_id": name,
        "order_id": name,
        "bound_by": "named",
        "version": 1,
    }
    more = {"confirmations": 1, "status": "settled", "outcome": "paid", "payment_type": "qris", "state": "{}"}
    return {**facts, **more, "created_at": at, "updated_at": at}


def test_a_crash_before_the_rename_leaves_the_database_as_it_was(
    store: Store, url: str, copy: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(copies, "_sync", fail)
    with pytest.raises(StoreError, match="No space left"):
        restored(url, copy, replace=True)
    assert count(database, "events") == 5
    with closing(sqlite3.connect(database)) as old:
        assert old.execute(str(select(log.c.epoch))).fetchone() == (store.epoch,)


@pytest.mark.parametrize("program", [None, "CREATE TABLE theirs (a)"])
def test_a_file_that_is_no_backup_of_ours_replaces_nothing(
    store: Store, url: str, database: Path, tmp_path: Path, program: str | None
) -> None:
    append(store, 2)
    store.close()
    other = tmp_path / "other.db"
    other.touch()
    if program:
        with closing(sqlite3.connect(other)) as theirs:
            theirs.execute(program)
    with pytest.raises(Conflict, match="no backup of this service"):
        restored(url, other, replace=True)
    assert count(database, "events") == 2
    assert not list(database.parent.glob("*.before-*"))


def test_a_log_left_by_a_database_that_is_gone_is_not_played_into_the_restored_one(
    store: Store, url: str, copy: Path, database: Path
) -> None:
    store.close()
    database.unlink()
    wal = database.with_name(database.name + "-wal")
    wal.write_bytes(b"frames of another file")
    with pytest.raises(Conflict, match="move it away first"):
        restored(url, copy)
    assert wal.exists()
    assert not database.exists()
    wal.unlink()
    assert restored(url, copy).kept is None
    assert count(database, "events") == 5


def test_a_read_only_database_is_not_taken_for_one_that_nobody_uses(
    url: str, copy: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (database, os.W_OK))  # root may all
    with pytest.raises(Conflict, match="read-only"):
        restored(url, copy, replace=True)
    assert not list(database.parent.glob("*.before-*"))
