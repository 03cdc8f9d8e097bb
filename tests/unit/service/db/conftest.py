"""A migrated database for every test, and what goes into it."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.databases import SQLITE, migrated

from service.db.store import Store
from service.db.unit import Unit
from service.domain.records import NewReceipt

NOW = datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC)
MakeReceipt = Callable[..., NewReceipt]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return the file of a fresh database at head; a test that asks for it is of SQLite alone."""
    return migrated(tmp_path / "midtrans.db")


@pytest.fixture
def url(store_kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh database at head: of the file if the test looks at it, else of each kind in turn."""
    if store_kind == SQLITE:
        return f"sqlite:///{request.getfixturevalue('database')}"
    found: str = request.getfixturevalue("stored_at")
    return found


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """Return a started store on it, whose clock stands still."""
    store = Store(url, writers=1, listens=False, clock=lambda: NOW)
    store.start()
    yield store
    store.close()


@pytest.fixture
def make_receipt() -> MakeReceipt:
    """Return a maker of receipts, each with bytes of its own unless *raw* is given."""
    numbers, numbered = count(1), dict[bytes, int]()

    def make(**facts: Any) -> NewReceipt:
        raw = facts.pop("raw", b'{"number": %d}' % next(numbers))
        number = numbered.setdefault(raw, len(numbered) + 1)  # the same bytes name the same order
        defaults: dict[str, Any] = {
            "id": uuid4(),
            "merchant": "default",
            "kind": "payment",
            "digest": hashlib.sha256(raw).digest(),
            "raw": raw,
            "order_id": f"order-{number}",
            "transaction_id": f"transaction-{number}",
            "transaction_status": "settlement",
            "payment_type": "bank_transfer",
            "received_at": NOW,
            "source_address": "127.0.0.1",
            "path": "/notifications",
            "headers": {"user-agent": "Veritrans"},
            "key_fingerprint": "0123456789ab",
            "amount_form": "text",
        }
        return NewReceipt(**(defaults | facts))

    return make


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[Store], Any]:
    """Return a context in which the writer is kept busy, so that what is handed in waits for one commit."""
    monkeypatch.setattr("service.db.batch.UNITS_FOR_S", 60.0)  # one, however busy the machine is

    @contextmanager
    def holding(store: Store) -> Iterator[Future[None]]:
        held, released = threading.Event(), threading.Event()

        def work(_: Unit) -> None:
            held.set()
            released.wait(10)

        busy = store.write(work)
        assert held.wait(10)
        try:
            yield busy
        finally:
            released.set()

    return holding
