"""Oddities: the newest of each merchant and reason, whole."""

from datetime import UTC, datetime, timedelta
from typing import Any

from service.db.oddities import KeptOddity
from service.db.store import Store
from service.domain.records import Oddity

AT = datetime(2026, 11, 22, tzinfo=UTC)


def oddity(merchant: str, reason: str, number: int) -> Oddity:
    return Oddity(
        merchant=merchant,
        reason=reason,
        received_at=AT + timedelta(seconds=number),
        source_address="127.0.0.1",
        path="/notifications",
        headers={"content-type": "text/plain"},
        body=b"\xff%d" % number,
        size=20_000,
        detail="not a JSON object",
    )


def add(store: Store, new: list[Oddity], *, keep: int = 200) -> None:
    store.write(lambda unit: unit.oddities.add_many(new, keep=keep)).result(5)


def newest(store: Store, **of: Any) -> list[KeptOddity]:
    return store.read(lambda unit: unit.oddities.newest(**of))


def test_only_the_newest_of_each_merchant_and_reason_are_kept(store: Store) -> None:
    for merchant in ("shop-a", "shop-b"):
        for reason in ("signature", "malformed"):
            for start in range(0, 12, 4):
                new = [oddity(merchant, reason, start + number) for number in range(4)]
                add(store, new, keep=5)
    for merchant in ("shop-a", "shop-b"):
        for reason in ("signature", "malformed"):
            kept = newest(store, merchant=merchant, reason=reason)
            assert [one.oddity for one in kept] == [oddity(merchant, reason, n) for n in (11, 10, 9, 8, 7)]


def test_fewer_than_are_kept_all_stay(store: Store) -> None:
    add(store, [oddity("m", "r", 1), oddity("m", "r", 2)])
    add(store, [])
    assert len(newest(store, limit=10)) == 2
    assert len(newest(store, limit=1)) == 1


def test_those_dealt_with_are_forgotten_and_no_other(store: Store) -> None:
    add(store, [oddity("m", "r", number) for number in range(3)])
    kept = newest(store)
    store.write(lambda unit: unit.oddities.forget([kept[1].number])).result(5)
    assert newest(store) == [kept[0], kept[2]]
