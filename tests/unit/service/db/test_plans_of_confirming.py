"""Claiming, confirming and receiving search indexes, with one order or with many: none reads a growing table whole."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from support.plans import NOW, SMALL, filled, plans, scans

from django_midtrans.facts import read_facts
from django_midtrans.payment import merge
from service.db.tables import claims, expectations, payments, receipts
from service.db.together import Draft
from service.db.unit import Unit
from service.domain.confirmation import ReceiptStep
from service.domain.records import Check, Claim, ClaimedReceipt, NewReceipt, NewTransition, ReceiptState

STATE = merge(None, read_facts({"transaction_status": "pending", "gross_amount": "1.00"})).to_json()
ORDERS = [f"order-{number}" for number in range(500, 540, 2)]
PAYMENTS = [f"payment-{number}" for number in range(500, 540, 2)]


@pytest.fixture(scope="module", params=[False, True], ids=["counted-nothing", "analyzed"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    with filled(tmp_path_factory.mktemp("plans") / "plans.db", analyzed=request.param) as unit:
        waiting = {"state": "waiting", "due_at": NOW - timedelta(hours=1), "repeat": False}
        run = unit.connection.execute
        run(update(receipts).where(receipts.c.order_id.in_(ORDERS)).values(waiting))
        run(update(payments).values(state=STATE, dispute=None, outcome="open"))
        run(update(claims).values(leased_until=NOW - timedelta(hours=1)))
        run(update(expectations).values(gross_amount="1.00"))
        yield unit


@pytest.fixture
def unit(made: Unit) -> Iterator[Unit]:
    with made.connection.begin_nested() as savepoint:
        yield made
        savepoint.rollback()


def take(unit: Unit, **options: bool) -> list[Claim]:
    chosen = {"repeat": False, **options}
    return unit.claims.take(
        owner="me", merchant="default", limit=16, leased_until=NOW + timedelta(minutes=1), **chosen
    )


def claim() -> Claim:
    receipt = ClaimedReceipt(UUID(int=7), b"{}", None, 0, 0, None, 0, None)
    return Claim(7, "default", "order-6", "payment-6", (receipt, receipt), NOW, None)


def new_receipt(number: int) -> NewReceipt:
    return NewReceipt(
        UUID(int=2**100 + number),
        "default",
        "payment",
        number.to_bytes(32, "big"),
        b"{}",
        f"order-{number}",
        None,
        None,
        None,
        NOW,
        "",
        "",
        {},
        "",
        "text",
    )


def store_twice(unit: Unit) -> None:
    some = [new_receipt(number) for number in range(10_000, 10_050)]
    unit.receipts.add_many(some)
    unit.receipts.add_many([one._replace(id=UUID(int=one.id.int + 1000)) for one in some])


def write_together(unit: Unit) -> None:
    known = unit.payments.get("default", "payment-500")
    assert known is not None

    def work(draft: Draft) -> None:
        draft.claims.check(claim())
        draft.payments.save(replace(known, version=known.version + 1), known=known)
        draft.payments.add_transition(
            NewTransition("default", "payment-500", 1000, 501, None, "settled", False, UUID(int=10_000))
        )
        draft.checks.put(Check("default", "order-500", None), NOW)
        draft.claims.end(claim(), STEPS)

    together = unit.together([claim()], [("default", name) for name in PAYMENTS])
    assert together.draft(work) is None
    together.draft(lambda draft: draft.claims.give_back(replace(claim(), fence=8)))
    together.write()


STEPS = [ReceiptStep(UUID(int=7), ReceiptState.APPLIED), ReceiptStep(UUID(int=9), ReceiptState.STALE)]
STATEMENTS: dict[str, Callable[[Unit], Any]] = {
    "take": take,
    "take repeats": lambda unit: take(unit, repeat=True),
    "take a probe": lambda unit: take(unit, at_once=True),
    "any due": lambda unit: unit.claims.any_due("default", repeat=False),
    "next due": lambda unit: unit.claims.next_due_at("default"),
    "check": lambda unit: unit.claims.check(claim()),
    "end": lambda unit: unit.claims.end(claim(), STEPS),
    "give back": lambda unit: unit.claims.give_back(claim()),
    "hurry": lambda unit: unit.claims.hurry("default"),
    "rivals": lambda unit: unit.claims.rivals("default", "payment-500", "order-1", UUID(int=900)),
    "payments": lambda unit: unit.payments.get_many("default", PAYMENTS),
    "payment": lambda unit: unit.payments.get("default", "payment-500"),
    "payments of an order": lambda unit: unit.payments.of_order("default", "order-500"),
    "records of an order": lambda unit: unit.payments.records_of_order("default", "order-500"),
    "expectation": lambda unit: unit.expectations.of_order("default", "order-500"),
    "expected order": lambda unit: unit.expectations.order_of("default", "payment-500"),
    "checks due": lambda unit: unit.checks.any_due("default"),
    "next check": lambda unit: unit.checks.next_due_at("default"),
    "take checks": lambda unit: unit.checks.take(
        owner="me", merchant="default", limit=16, leased_until=NOW + timedelta(minutes=1)
    ),
    "put a check": lambda unit: unit.checks.put(Check("default", "order-500", None), NOW),
    "store and store again": store_twice,
    "reopen held": lambda unit: unit.receipts.reopen_held("default", "order-500"),
    "together": write_together,
    "sequence": lambda unit: unit.log.sequence(),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_growing_table_is_read_whole(unit: Unit, name: str) -> None:
    steps = plans(unit, lambda: STATEMENTS[name](unit))
    assert steps
    read_whole = {scanned for scanned in scans(steps) if not scanned.isdecimal()}  # "SCAN 16 CONSTANT ROWS"
    assert read_whole <= SMALL | {"places", "new"}, steps  # "new": the rows given


def test_a_claim_of_many_orders_takes_them_all(unit: Unit) -> None:
    assert len(take(unit)) == 16
