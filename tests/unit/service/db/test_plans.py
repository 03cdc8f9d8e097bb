"""Hot statements are led by the index made for them, whatever the database has counted: a table may grow."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from support.plans import NOW, SMALL, START, filled, indexes, plans, scans

from service.db.events import EventFilter
from service.db.payment_reads import PaymentReads
from service.db.tables import metadata
from service.db.unit import Unit
from service.domain.delivery import Consumer, Lease
from service.domain.records import ConsumerSpec

POSITION = "sqlite_autoindex_events_3"
OF_CONSUMER = "sqlite_autoindex_deliveries_1"
ROWID = "INTEGER PRIMARY KEY"
SOME = (("midtrans.payment.*", "midtrans.payout.done"), ("default",))
LEASES = [Lease("batch-1", 1), Lease("batch-2", 2)]
PAYMENTS = [("default", "payment-6"), ("shop-b", "payment-8")]


def consumer(*merchants: str) -> Consumer:
    spec = ConsumerSpec(SOME[0], merchants, "beginning", 30, 30, "hold")
    return Consumer("shipping", spec, False, 500, START, START)


def newest(unit: Unit, merchants: tuple[str, ...] | None, order_id: str | None = None) -> object:
    first, after = PaymentReads(unit).page(
        merchants=merchants, order_id=order_id, status=None, limit=5, after=None
    )
    if after is None:
        return first
    return PaymentReads(unit).page(merchants=merchants, order_id=order_id, status=None, limit=5, after=after)


STATEMENTS: dict[str, tuple[Callable[[Unit], object], set[str]]] = {
    "events: the log, of a merchant": (
        lambda unit: unit.events.after(500, limit=10, only=EventFilter(*SOME)),
        {POSITION},
    ),
    "events: the log, as a token may see it": (
        lambda unit: unit.events.after(500, limit=10, only=EventFilter(within=(SOME, SOME))),
        {POSITION},
    ),
    "events: the log, of an order": (
        lambda unit: unit.events.after(0, limit=10, only=EventFilter(order_id="order-500")),
        {"ix_events_order_id_merchant"},
    ),
    "events: the log, of an order and its merchant": (
        lambda unit: unit.events.after(0, limit=10, only=EventFilter(*SOME, order_id="order-500")),
        {"ix_events_order_id_merchant"},
    ),
    "events: by id": (
        lambda unit: unit.events.by_id(UUID(int=7), within=[SOME]),
        {"sqlite_autoindex_events_1"},
    ),
    "events: told already": (lambda unit: unit.events.has(UUID(int=7)), {"sqlite_autoindex_events_1"}),
    "events: by time": (
        lambda unit: unit.events.position_before(NOW - timedelta(days=1)),
        {"ix_events_made_at"},
    ),
    "events: how many are ahead": (lambda unit: unit.events.ahead(500, 2000, SOME), {POSITION}),
    "events: the first wanted": (lambda unit: unit.events.first_wanted(500, 2000, SOME), {POSITION}),
    "events: when one was made": (lambda unit: unit.events.made_at(500), {POSITION}),
    "log: places": (lambda unit: unit.log.sequence(), {POSITION, ROWID}),
    "deliveries: scan for everything": (
        lambda unit: unit.deliveries.scan(consumer("*"), after=500, until=1500, rows=14),
        {POSITION, "ix_deliveries_payment", OF_CONSUMER},
    ),
    "deliveries: scan for a merchant": (
        lambda unit: unit.deliveries.scan(consumer("default", "shop-c"), after=500, until=1500, rows=14),
        {POSITION, "ix_deliveries_payment", OF_CONSUMER},
    ),
    "deliveries: scan where nothing is outstanding": (
        lambda unit: unit.deliveries.scan(consumer("*"), after=500, until=1500, rows=100, free=True),
        {POSITION},
    ),
    "deliveries: what is next for those who take little": (
        lambda unit: unit.deliveries.scan(consumer("*"), after=500, until=1500, rows=1, free=True),
        {POSITION},
    ),
    "deliveries: what is due": (
        lambda unit: unit.deliveries.due(consumer("*"), rows=10),
        {POSITION, "ix_deliveries_payment", "ix_deliveries_due"},
    ),
    "deliveries: by lease": (
        lambda unit: unit.deliveries.by_lease("shipping", LEASES),
        {OF_CONSUMER},
    ),
    "deliveries: take": (lambda unit: unit.deliveries.take({"shipping": LEASES}), {OF_CONSUMER}),
    "deliveries: remove": (lambda unit: unit.deliveries.remove("shipping", [7, 8]), {OF_CONSUMER}),
    "deliveries: where a consumer stands": (
        lambda unit: unit.deliveries.standings(["shipping", "billing"]),
        {"sqlite_autoindex_consumers_1", OF_CONSUMER, "ix_deliveries_due", "ix_deliveries_aside"},
    ),
    "deliveries: release": (
        lambda unit: unit.deliveries.release("shipping", PAYMENTS, holds=True),
        {"ix_deliveries_payment", OF_CONSUMER},
    ),
    "deliveries: dead ones": (
        lambda unit: unit.deliveries.dead("shipping", positions=None, after=500, rows=10),
        {"ix_deliveries_aside"},
    ),
    "deliveries: dead letters": (
        lambda unit: unit.deliveries.dead_letters("shipping", after=500, limit=10),
        {"ix_deliveries_aside", POSITION},
    ),
    "deliveries: forget discarded ones": (
        lambda unit: unit.deliveries.forget_discarded("shipping", until=500),
        {"ix_deliveries_aside"},
    ),
    "deliveries: drop": (
        lambda unit: unit.deliveries.drop("shipping", dead_too=True, rows=150),
        {"ix_deliveries_aside", "ix_deliveries_due", OF_CONSUMER},
    ),
    "deliveries: forget leases": (
        lambda unit: unit.deliveries.forget_leases("shipping", rows=10),
        {"ix_deliveries_late", OF_CONSUMER},
    ),
    "deliveries: the next one due": (
        lambda unit: unit.deliveries.next_due_at("shipping"),
        {"ix_deliveries_due"},
    ),
    "deliveries: the first one open": (
        lambda unit: unit.deliveries.oldest("shipping"),
        {"ix_deliveries_due", "ix_deliveries_aside"},
    ),
    "acks: known": (lambda unit: unit.deliveries.acks.known("shipping", LEASES), {"sqlite_autoindex_acks_1"}),
    "acks: forget": (
        lambda unit: unit.deliveries.acks.forget(10),
        {"sqlite_autoindex_acks_1", "ix_acks_acked_at"},
    ),
    "payments: the latest": (lambda unit: newest(unit, None), {"ix_payments_updated_at"}),
    "payments: the latest of merchants": (
        lambda unit: newest(unit, ("default", "shop-b")),
        {"ix_payments_merchant_updated_at"},
    ),
    "payments: of an order": (
        lambda unit: newest(unit, None, "order-500"),
        {"ix_payments_order_id_merchant"},
    ),
    "payments: of an order and merchants": (
        lambda unit: newest(unit, ("default", "shop-b"), "order-500"),
        {"ix_payments_order_id_merchant"},
    ),
    "payments: one": (
        lambda unit: PaymentReads(unit).get("default", "payment-500"),
        {"sqlite_autoindex_payments_1"},
    ),
    "consumers: several": (
        lambda unit: unit.consumers.lock_all(["name-2", "name-1"]),
        {"sqlite_autoindex_consumers_1"},
    ),
    "consumers: one": (lambda unit: unit.consumers.find("name-1"), {"sqlite_autoindex_consumers_1"}),
    "tokens: by hash": (lambda unit: unit.tokens.find(bytes(32)), {"sqlite_autoindex_tokens_2"}),
}


@pytest.fixture(scope="module", params=[False, True], ids=["uncounted", "analyzed"])
def unit(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    with filled(tmp_path_factory.mktemp("plans") / "midtrans.db", analyzed=request.param) as unit:
        yield unit


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_hot_statement_is_led_by_its_index(unit: Unit, name: str) -> None:
    call, wanted = STATEMENTS[name]
    savepoint = unit.connection.begin_nested()
    steps = plans(unit, lambda: call(unit))
    savepoint.rollback()
    assert steps, "it ran nothing"
    assert indexes(steps) == wanted, steps
    assert scans(steps) <= _walked_in_order(name), steps


def test_lending_to_a_merchant_sorts_nothing(unit: Unit) -> None:
    steps = plans(unit, lambda: unit.deliveries.scan(consumer("default"), after=500, until=1500, rows=14))
    assert not [step for step in steps if "TEMP B-TREE" in step]


def test_a_scan_would_be_seen(unit: Unit) -> None:
    payments = metadata.tables["payments"]
    steps = plans(
        unit, lambda: unit.connection.execute(payments.select().where(payments.c.status == "settled"))
    )
    assert scans(steps) == {"payments"}
    assert "payments" not in SMALL


def _walked_in_order(name: str) -> set[str]:
    """Return what is read along an index only until the page is full."""
    return {"payments: the latest": {"payments"}, "log: places": {"places"}}.get(name, set())
