"""Receipts: stored once, repeats counted, held ones set going by a repeat."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from service.db.store import Store
from service.db.tables import bodies, receipts
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.records import ENDED, HELD, NewReceipt, ReceiptState, StoredReceipt

MakeReceipt = Callable[..., NewReceipt]


def add(store: Store, *new: NewReceipt) -> list[StoredReceipt]:
    return store.write(lambda unit: unit.receipts.add_many(new)).result(5)


def row(store: Store, receipt: NewReceipt) -> Mapping[str, Any]:
    query = select(receipts).where(receipts.c.id == receipt.id)
    return store.read(lambda unit: dict(unit.connection.execute(query).mappings().one()))


def put(store: Store, receipt: NewReceipt, **facts: object) -> None:
    def work(unit: Unit) -> None:
        unit.connection.execute(update(receipts).where(receipts.c.id == receipt.id).values(facts))

    store.write(work).result(5)


def test_a_receipt_is_kept_whole_with_its_body(store: Store, make_receipt: MakeReceipt) -> None:
    new = make_receipt(raw=b"\x00\xff not text", headers={"x": "\ud800"}, answer=200)
    add(store, new)
    kept = row(store, new)
    for name in ("merchant", "kind", "digest", "order_id", "transaction_id", "received_at", "path", "answer"):
        assert kept[name] == getattr(new, name)
    assert (kept["state"], kept["due_at"], kept["duplicates"]) == ("waiting", new.received_at, 0)
    body = store.read(lambda unit: unit.connection.execute(select(bodies)).one())
    assert (body.receipt_id, body.raw, body.received_at) == (new.id, new.raw, new.received_at)


def test_nothing_to_add_is_no_trouble(store: Store) -> None:
    assert add(store) == []


def test_the_same_bytes_make_one_receipt_and_name_the_first(store: Store, make_receipt: MakeReceipt) -> None:
    first, again, other = make_receipt(raw=b"a"), make_receipt(raw=b"a"), make_receipt(raw=b"b")
    assert add(store, first) == [StoredReceipt(first.id, duplicate=False)]
    assert add(store, other, again, again) == [
        StoredReceipt(other.id, duplicate=False),
        StoredReceipt(first.id, duplicate=True),
        StoredReceipt(first.id, duplicate=True),
    ]
    assert row(store, first)["duplicates"] == 2
    assert store.read(lambda unit: len(unit.connection.execute(select(bodies)).all())) == 2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 63, 64, 65, 127, 200])
def test_a_batch_of_any_size_is_kept_whole_with_repeats_in_it(
    store: Store, make_receipt: MakeReceipt, size: int
) -> None:
    before = [make_receipt() for _ in range(size)]
    assert add(store, *before) == [StoredReceipt(one.id, duplicate=False) for one in before]
    again = [make_receipt(raw=one.raw) for one in before[::3]]
    new = [make_receipt() for _ in range(size)]
    assert add(store, *again, *new) == [
        *(StoredReceipt(one.id, duplicate=True) for one in before[::3]),
        *(StoredReceipt(one.id, duplicate=False) for one in new),
    ]
    kept = select(receipts.c.id, receipts.c.order_id, receipts.c.duplicates, bodies.c.raw).join(
        bodies, bodies.c.receipt_id == receipts.c.id
    )
    found = store.read(lambda unit: {row.id: row for row in unit.connection.execute(kept)})
    assert len(found) == 2 * size
    assert all((found[one.id].order_id, found[one.id].raw) == (one.order_id, one.raw) for one in before + new)
    assert [found[one.id].duplicates for one in before] == [int(n % 3 == 0) for n in range(size)]


def test_equal_ones_in_a_batch_become_one(store: Store, make_receipt: MakeReceipt) -> None:
    first, second = make_receipt(raw=b"a"), make_receipt(raw=b"a")
    assert add(store, first, second) == [
        StoredReceipt(first.id, duplicate=False),
        StoredReceipt(first.id, duplicate=True),
    ]
    assert row(store, first)["duplicates"] == 1


def test_one_receipt_handed_in_twice_is_its_own_duplicate(store: Store, make_receipt: MakeReceipt) -> None:
    new = make_receipt()
    assert [one.duplicate for one in add(store, new, new)] == [False, True]


def test_the_same_bytes_for_another_merchant_or_kind_are_another_receipt(
    store: Store, make_receipt: MakeReceipt
) -> None:
    new = [
        make_receipt(raw=b"a", merchant=merchant, kind=kind)
        for merchant in ("shop-a", "shop-b")
        for kind in ("payment", "invoice")
    ]
    assert not any(one.duplicate for one in add(store, *new))


def test_a_thousand_repeats_among_a_thousand_new_ones_are_told_apart(
    store: Store, make_receipt: MakeReceipt
) -> None:
    known = [make_receipt() for _ in range(1000)]
    add(store, *known)
    fresh = [make_receipt() for _ in range(1000)]
    repeats = [make_receipt(raw=one.raw) for one in known]
    mixed = [one for pair in zip(fresh, repeats, strict=True) for one in pair]
    stored = add(store, *mixed)
    assert stored[::2] == [StoredReceipt(one.id, duplicate=False) for one in fresh]
    assert stored[1::2] == [StoredReceipt(one.id, duplicate=True) for one in known]


@pytest.mark.parametrize("state", sorted(HELD))
def test_a_repeat_sets_a_held_receipt_going_again(
    store: Store, make_receipt: MakeReceipt, state: ReceiptState
) -> None:
    first = make_receipt(raw=b"a", received_at=make_receipt().received_at - timedelta(days=2))
    add(store, first)
    put(store, first, state=state, due_at=None, reason="why", answers=40, failures=2, fence=7, seen_times=3)
    woken: list[bool] = []
    store.listen(Topic.RECEIPTS, lambda: woken.append(True))
    repeat = make_receipt(raw=b"a")
    add(store, repeat)
    kept = row(store, first)
    assert (kept["state"], kept["due_at"], kept["reason"]) == ("waiting", repeat.received_at, None)
    assert (kept["answers"], kept["failures"], kept["fence"], kept["seen_times"]) == (0, 0, None, 0)
    store.write(lambda _: None).result(5)
    assert woken == [True]


def test_a_repeat_that_is_not_understood_either_leaves_the_held_one_held(
    store: Store, make_receipt: MakeReceipt
) -> None:
    first = make_receipt(raw=b"a", state=ReceiptState.PARKED, reason="kind")
    add(store, first, make_receipt(raw=b"a", state=ReceiptState.PARKED, reason="kind"))
    kept = row(store, first)
    assert (kept["state"], kept["due_at"], kept["reason"], kept["duplicates"]) == ("parked", None, "kind", 1)


@pytest.mark.parametrize("state", sorted(ENDED | {ReceiptState.WAITING}))
def test_a_repeat_of_an_ended_or_waiting_receipt_is_only_counted(
    store: Store, make_receipt: MakeReceipt, state: ReceiptState
) -> None:
    first = make_receipt(raw=b"a")
    add(store, first)
    put(store, first, state=state, due_at=None, answers=3)
    add(store, make_receipt(raw=b"a"))
    kept = row(store, first)
    assert (kept["state"], kept["due_at"], kept["answers"], kept["duplicates"]) == (state, None, 3, 1)


def test_reopening_takes_ended_and_held_ones_and_leaves_waiting_ones_alone(
    store: Store, make_receipt: MakeReceipt
) -> None:
    new = [make_receipt() for _ in ReceiptState]
    add(store, *new)
    for one, state in zip(new, ReceiptState, strict=True):
        put(store, one, state=state, answers=3)
    reopened = store.write(lambda unit: unit.receipts.reopen([one.id for one in new])).result(5)
    assert reopened == len(ReceiptState) - 1
    assert {row(store, one)["state"] for one in new} == {"waiting"}
    assert [row(store, one)["answers"] for one in new] == [3, 0, 0, 0, 0, 0, 0]


def test_only_receipts_that_are_due_wake_the_worker(store: Store, make_receipt: MakeReceipt) -> None:
    woken: list[str] = []
    store.listen(Topic.RECEIPTS, lambda: woken.append("woken"))
    add(store, make_receipt(state=ReceiptState.PARKED))
    store.write(lambda _: None).result(5)
    assert woken == []
    add(store, make_receipt())
    store.write(lambda _: None).result(5)
    assert woken == ["woken"]


async def test_the_bulk_lane_answers_each_with_its_own(store: Store, make_receipt: MakeReceipt) -> None:
    new = [make_receipt(raw=b"%d" % (number % 40)) for number in range(200)]
    stored = await asyncio.gather(*[store.receive(one) for one in new])
    firsts = {one.raw: one.id for one in reversed(new)}
    assert [answer.id for answer in stored] == [firsts[one.raw] for one in new]
    assert [answer.duplicate for answer in stored] == [number >= 40 for number in range(200)]
