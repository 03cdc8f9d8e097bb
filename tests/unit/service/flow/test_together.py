"""Claims written together: the same as one by one, and none harms another."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from support.world import KEY, START, World, make_world

from django_midtrans.status import Outcome
from django_midtrans.testing import signature
from service.db import tables
from service.db.unit import Unit
from service.domain.merchant import Merchant
from service.domain.records import Claim
from service.errors import GatewayUnavailable, StoreUnavailable
from service.flow.apply import Report, Rules
from service.flow.confirm import Confirmer, Finished

WRITTEN = (
    tables.receipts,
    tables.claims,
    tables.checks,
    tables.confirmations,
    tables.payments,
    tables.transitions,
    tables.events,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path) as made:
        yield made


def pay(world: World, order_id: str) -> dict[str, Any]:
    world.account.charge(
        {
            "payment_type": "bank_transfer",
            "transaction_details": {"order_id": order_id, "gross_amount": 150_000},
            "bank_transfer": {"bank": "bca"},
        }
    )
    return world.account.pay(order_id)


def asked(world: World, *orders: str) -> list[Finished]:
    """Pay *orders* and ask about all of them; nothing is written yet."""
    for order_id in orders:
        assert world.notify(pay(world, order_id)) == 200
    return [world.confirmer.ask(claim) for claim in world.claim()]


def fail(_unit: object) -> Report | None:
    raise RuntimeError("a bug")


def counted(world: World) -> list[object]:
    """Return what will hold the units of work that are handed to the store from here on."""
    units: list[object] = []
    write = world.store.write

    def count(work: Callable[[Unit], Any]) -> Future[Any]:
        units.append(work)
        return write(work)

    world.store.write = count  # type: ignore[method-assign]
    return units


def test_many_claims_are_written_by_one_unit_of_work(world: World) -> None:
    finished = asked(world, "A", "B", "C")
    units = counted(world)
    assert world.confirmer.write(finished) == []
    assert len(units) == 1
    assert [event.order_id for event in world.events()] == ["A", "B", "C"]
    assert world.receipt_states() == [("applied", None)] * 3
    assert world.claim() == []


def test_a_fault_in_the_middle_leaves_the_others_alone(world: World) -> None:
    first, second, third = asked(world, "A", "B", "C")
    assert world.confirmer.write([first, replace(second, work=fail), third]) == []
    assert {event.order_id for event in world.events()} == {"A", "C"}
    assert world.receipt_states("B") == [("waiting", "a fault of this service, see its log")]
    world.run_for(minutes=1)
    assert world.types("B") == ["settled"]


def test_what_only_shows_in_the_database_leaves_the_others_alone(world: World) -> None:
    finished = asked(world, "A", "B", "C")
    twin = {
        "merchant": "default",
        "transaction_id": finished[1].claim.transaction_id,
        "order_id": "B",
        "sequence": 1,
        "id": finished[1].claim.receipts[0].id,
        "type": "midtrans.payment.settled",
        "made_at": START,
        "body": "{}",
    }
    world.store.write(lambda unit: unit.connection.execute(insert(tables.events).values(twin))).result()
    assert world.confirmer.write(finished) == []
    assert world.receipt_states("A") + world.receipt_states("C") == [("applied", None)] * 2
    assert world.receipt_states("B")[0][0] == "waiting"
    assert {row.order_id for row in world.payment_rows()} == {"A", "C"}


def test_a_claim_lost_in_the_middle_changes_nothing_and_leaves_the_others_alone(world: World) -> None:
    first, second, third = asked(world, "A", "B", "C")
    world.confirmer.give_back(second.claim)
    (heir,) = world.claim(owner="heir")
    assert heir.order_id == "B"
    assert world.confirmer.write([first, second, third]) == []
    assert {event.order_id for event in world.events()} == {"A", "C"}
    world.confirm(heir)
    assert world.types("B") == ["settled"]


def test_a_payment_that_moved_in_the_middle_is_asked_about_anew(world: World) -> None:
    first, second, third = asked(world, "A", "B", "C")
    world.confirm(second.claim)
    known = world.store.read(lambda unit: unit.payments.get("default", second.claim.transaction_id or ""))
    assert known is not None
    world.notify({**pay(world, "B2"), "order_id": "B2"})
    moved = replace(second, claim=replace(second.claim, payment=replace(known, version=99)))
    assert world.confirmer.write([first, moved, third]) == []
    assert world.types("B") == ["settled"]
    assert world.types("A") + world.types("C") == ["settled", "settled"]


def test_a_claim_that_comes_twice_counts_once(world: World) -> None:
    (only,) = asked(world, "A")
    assert world.confirmer.write([only, only]) == []
    assert world.types() == ["settled"]
    assert len(world.confirmation_rows()) == 1


def test_a_transaction_claimed_by_two_orders_is_bound_to_the_first_and_the_other_is_asked_anew(
    world: World,
) -> None:
    genuine = pay(world, "A")
    other = {**genuine, "order_id": "B"}
    other["signature_key"] = signature("B", other["status_code"], other["gross_amount"], KEY)
    world.notify(genuine)
    world.notify(other)
    finished = [world.confirmer.ask(claim) for claim in world.claim()]
    assert world.confirmer.write(finished) == []
    assert world.types() == ["settled"]
    world.confirm_due()
    assert world.receipt_states("A") == [("applied", None)]
    assert world.receipt_states("B") == [("anomaly", "bound_elsewhere")]
    assert world.types() == ["settled"]


def test_a_pair_that_is_proven_by_itself_alone_is_written_with_the_others(world: World) -> None:
    details = {"order_id": "D", "gross_amount": 10_000}
    world.account.charge({"payment_type": "dana", "transaction_details": details})
    world.notify(world.account.pay("D"))
    finished = asked(world, "A", "B")
    units = counted(world)
    assert world.confirmer.write(finished) == []
    assert len(units) == 1
    assert world.receipt_states() == [("applied", None)] * 3


def test_of_two_that_claim_one_transaction_together_the_earlier_gets_it(world: World) -> None:
    details = {"order_id": "D", "gross_amount": 150_000}
    world.account.charge({"payment_type": "dana", "transaction_details": details})
    genuine = world.account.pay("D")
    rival = {**genuine, "order_id": "E"}
    rival["signature_key"] = signature("E", rival["status_code"], rival["gross_amount"], KEY)
    world.notify(genuine)
    world.notify(rival)
    finished = asked(world, "A")
    units = counted(world)
    assert world.confirmer.write(finished) == []
    assert len(units) > 1  # whether the first claim still is one shows only once it is written
    world.run_for(minutes=1)
    assert [row.order_id for row in world.payment_rows() if row.payment_type == "dana"] == [
        genuine["order_id"]
    ]
    assert world.receipt_states("E")[0][0] == "anomaly"


def test_the_second_payment_of_an_order_sees_the_first_of_the_same_unit(world: World) -> None:
    first, second = asked(world, "A", "B")

    def both(unit: Unit) -> list[dict[str, Outcome]]:
        named = [("default", one.claim.transaction_id or "") for one in (first, second)]
        together = unit.together([first.claim, second.claim], named)
        seen: list[dict[str, Outcome]] = []
        for one in (first, second):
            assert isinstance(together.draft(one.work), Report)
            together.draft(lambda draft: seen.append(draft.payments.of_order("default", "A")))
        return seen

    paid = {first.claim.transaction_id: Outcome.PAID}
    assert world.store.write(both).result() == [paid, paid]


def test_what_cannot_be_written_at_all_is_returned(world: World) -> None:
    finished = asked(world, "A", "B")
    write = world.store.write

    def refuse(_work: Callable[[Unit], Any]) -> Future[Any]:
        failed: Future[Any] = Future()
        failed.set_exception(StoreUnavailable("the disk is full"))
        return failed

    world.store.write = refuse  # type: ignore[method-assign, assignment]
    assert world.confirmer.write(finished) == finished
    world.store.write = write  # type: ignore[method-assign]
    assert world.confirmer.write(finished) == []
    assert world.types() == ["settled", "settled"]


def test_a_bell_that_cannot_be_rung_keeps_nothing_from_being_told(world: World) -> None:
    told: list[str] = []

    def ring(_merchant: str, report: Report) -> None:
        told.append(str(report.transaction_id))
        raise RuntimeError("a bell that cannot be rung")

    finished = asked(world, "A", "B")
    confirmer = confirming(world, world.store, on_report=ring)
    finished = [confirmer.ask(one.claim) for one in finished]
    assert confirmer.write(finished) == []
    assert told == [one.claim.transaction_id for one in finished]
    assert world.types() == ["settled", "settled"]


def confirming(world: World, store: Any, **options: Any) -> Confirmer:
    return Confirmer(
        merchants={"default": Merchant("default", (KEY,))},
        gateway=world.gateway,
        store=store,
        alarm=lambda alarm, *, merchant, **facts: None,
        rules=Rules(),
        jitter=lambda: 0.0,
        **options,
    )


class _InUnit:
    """A store whose units of work are savepoints of one of the real store, to be compared and undone."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def write(self, work: Callable[[Unit], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            with self._unit.connection.begin_nested():
                future.set_result(work(Unit(self._unit.connection, self._unit.now)))
        except Exception as error:  # noqa: BLE001 (the future carries it)
            future.set_exception(error)
        return future


WORDS = st.sampled_from(["pending", "settlement", "expire", "deny", "partial_refund", "a new word", "refund"])
STEP = st.fixed_dictionaries(
    {
        "order": st.integers(0, 3),
        "transaction": st.integers(0, 1),
        "notified": WORDS,
        "answered": st.one_of(st.none(), st.just("broken"), WORDS),
        "amount": st.sampled_from(["10000.00", "20000.00"]),
        "refunded": st.sampled_from([None, "10.00", "20.00"]),
    }
)
ORDER_ASIDE = st.sampled_from([None, "order-0", "order-9"])


def body(step: dict[str, Any], word: str, order_id: str) -> dict[str, Any]:
    made = {
        "order_id": order_id,
        "transaction_id": f"transaction-{step['order']}-{step['transaction']}",
        "transaction_status": word,
        "status_code": "200",
        "gross_amount": step["amount"],
        "payment_type": "echannel",
        "signature_key": signature(order_id, "200", step["amount"], KEY),
    }
    return made if step["refunded"] is None else made | {"refund_amount": step["refunded"]}


def answer(world: World, step: dict[str, Any], order_id: str) -> None:
    names = (f"transaction-{step['order']}-{step['transaction']}", order_id)
    for name in names:
        if step["answered"] == "broken":
            world.gateway.answers[name] = GatewayUnavailable("503")
        else:
            world.gateway.answers[name] = step["answered"] and body(step, step["answered"], order_id)


def rows(unit: Unit) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for table in WRITTEN:
        order = list(table.primary_key.columns)
        found[table.name] = [tuple(row) for row in unit.connection.execute(select(table).order_by(*order))]
    return found


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(STEP, min_size=1, max_size=4),
    st.lists(STEP, min_size=2, max_size=8),
    ORDER_ASIDE,
    st.sampled_from([None, "order-1", "order-2"]),
)
def test_together_writes_the_same_rows_as_one_by_one(
    before: list[dict[str, Any]], now: list[dict[str, Any]], aside: str | None, expected: str | None
) -> None:
    with TemporaryDirectory() as folder, make_world(Path(folder)) as world:
        if expected:
            world.expect(order_id=expected, gross_amount=10_000, expires_at=None)
        for step in before:
            answer(world, step, f"order-{step['order']}")
            world.notify(body(step, step["notified"], f"order-{step['order']}"))
            world.confirm_due()
        for step in now:
            order_id = f"order-{step['order']}"
            answer(world, step, order_id)
            world.notify(body(step, step["notified"], order_id))
        if aside:  # a transaction of another order under this one
            world.notify(body(now[0], now[0]["notified"], aside))
        world.clock.pass_time(hours=1)
        claims = world.claim() + world.claim(repeat=True)
        world.store.write(lambda unit: compare(world, unit, claims)).result()


def compare(world: World, unit: Unit, claims: list[Claim]) -> None:
    confirmer = confirming(world, _InUnit(unit))
    finished = [confirmer.ask(claim) for claim in claims]
    written = []
    for together in (True, False):
        savepoint = unit.connection.begin_nested()
        if together:
            assert confirmer.write(finished) == []
        else:
            for one in finished:
                assert confirmer.write([one]) == []
        written.append(rows(unit))
        savepoint.rollback()
    assert written[0] == written[1]
