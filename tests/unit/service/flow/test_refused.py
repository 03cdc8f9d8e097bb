import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from service.db.store import Store
from service.domain.merchant import Merchant
from service.domain.records import Oddity
from service.flow.refused import take_in_refused

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
OLD = {"shop-a": Merchant("shop-a", ("old-key",)), "shop-b": Merchant("shop-b", ("b-key",))}
NEW = OLD | {"shop-a": Merchant("shop-a", ("old-key", "new-key"))}


@pytest.fixture
def store(stored_at: str) -> Iterator[Store]:
    made = Store(stored_at, clock=lambda: NOW)
    made.start()
    yield made
    made.close()


def notification(number: int, *, key: str) -> bytes:
    signed = hashlib.sha512(f"order-{number}2001000.00{key}".encode()).hexdigest()
    fields = {"order_id": f"order-{number}", "status_code": "200", "gross_amount": "1000.00"}
    return json.dumps({**fields, "transaction_status": "settlement", "signature_key": signed}).encode()


def refuse(store: Store, *bodies: bytes, merchant: str = "shop-a", reason: str = "signature") -> None:
    kept = [
        Oddity(merchant, reason, NOW, "192.0.2.1", "/notifications/shop-a", {}, body, len(body), "")
        for body in bodies
    ]
    store.write(lambda unit: unit.oddities.add_many(kept)).result()


def receipts(store: Store) -> list[tuple[str, str, int]]:
    query = text("SELECT merchant, order_id, answer FROM receipts ORDER BY id")
    return [(row[0], row[1], row[2]) for row in store.read(lambda unit: list(unit.connection.execute(query)))]


def oddities_left(store: Store) -> int:
    return len(store.read(lambda unit: unit.oddities.newest()))


def test_a_new_key_takes_in_what_it_verifies_in_the_order_it_came(store: Store) -> None:
    refuse(
        store, notification(1, key="new-key"), notification(2, key="stranger"), notification(3, key="new-key")
    )
    assert take_in_refused(store, NEW) == 2
    assert receipts(store) == [("shop-a", "order-1", 403), ("shop-a", "order-3", 403)]
    assert oddities_left(store) == 1


def test_without_a_new_key_nothing_changes(store: Store) -> None:
    refuse(store, notification(1, key="new-key"))
    assert take_in_refused(store, OLD) == 0
    assert (receipts(store), oddities_left(store)) == ([], 1)


def test_doing_it_again_takes_in_nothing_twice(store: Store) -> None:
    refuse(store, notification(1, key="new-key"))
    assert [take_in_refused(store, NEW), take_in_refused(store, NEW)] == [1, 0]
    assert len(receipts(store)) == 1


def test_repeats_of_one_body_become_one_receipt(store: Store) -> None:
    refuse(store, *[notification(1, key="new-key")] * 5)
    take_in_refused(store, NEW)
    assert len(receipts(store)) == 1
    assert oddities_left(store) == 0


def test_a_full_ring_is_taken_in_whole(store: Store) -> None:
    refuse(store, *[notification(number, key="new-key") for number in range(200)])
    assert take_in_refused(store, NEW) == 200
    assert len(receipts(store)) == 200


def test_only_refused_signatures_of_the_same_merchant_count(store: Store) -> None:
    refuse(store, notification(1, key="new-key"), merchant="shop-b")
    refuse(store, notification(2, key="new-key"), reason="test")
    assert take_in_refused(store, NEW) == 0
