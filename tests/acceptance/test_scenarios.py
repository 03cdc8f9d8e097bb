"""Every scenario of the simulator, alone and under every fault: what the service tells is what happened.

The scenarios of one fault are played together, step by step, against the whole service; what is tested is that each
payment's events are a part of what happened, in its order, and end where Midtrans ended.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from support.stage import Stage, make_stage

from django_midtrans.testing import SCENARIOS, Account, Transaction
from service.simulator.faults import NONE, Faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HAPPENS = {  # the events of an order's payments when every step is heard, in the order of the charges
    "paid": [["pending", "settled"]],
    "paid-late": [["pending", "expired", "settled"]],
    "expired": [["pending", "expired"]],
    "denied-then-paid-same-order": [["denied"], ["pending", "settled"]],
    "challenge-accepted": [["challenged", "captured", "settled"]],
    "settled-then-reversed": [["pending", "settled", "reversed"]],
    "two-partial-refunds": [["pending", "settled", "partially_refunded", "partially_refunded"]],
    "full-refund-confirmed": [["pending", "settled", "refunded", "refund_confirmed"]],
    "dana-id-swap": [["pending", "settled"]],
    "two-payments-one-order": [["pending", "settled"], ["pending", "settled"]],
    "fee-raised-amount": [["pending", "settled"]],
}
STATUS_OF = {"refund_confirmed": "refunded"}  # the status after an event, where it is not the event's name
ENDED = {"applied", "unchanged", "stale"}


@dataclass(frozen=True)
class Column:
    """How the scenarios are played: what goes wrong, and how long the service has at most before the next step.

    *heard_out*: every step is confirmed before the next. *expected*: the shop announced its charges, and time passes
    until reconcile has asked all its questions.
    """

    faults: Faults = NONE
    heard_out: bool = False
    pause_s: float = 0.05
    expected: bool = False


COLUMNS = {
    "alone": Column(heard_out=True),
    "in-a-rush": Column(pause_s=0.0),
    "lost": Column(Faults(lost=0.5), expected=True),
    "all-lost": Column(Faults(lost=1), expected=True),
    "twice": Column(Faults(twice=1)),
    "reordered": Column(Faults(reordered=1, reorder_s=0.3)),
    "delayed": Column(Faults(delayed=0.5, delay_s=0.2)),
    "status-5xx": Column(Faults(status_5xx=0.5)),
    "status-slow": Column(Faults(status_slow=0.7, slow_s=0.15)),
    "status-reset": Column(Faults(status_reset=0.5)),
    "status-lag": Column(Faults(status_lag=1, lag_s=12), pause_s=5),
    "status-flaps": Column(Faults(status_lag=0.5, lag_s=12), pause_s=5),
    "status-404": Column(Faults(status_404_s=25), pause_s=5),
    "everything": Column(
        Faults(
            twice=0.3,
            reordered=0.5,
            reorder_s=0.2,
            delayed=0.3,
            delay_s=0.1,
            status_5xx=0.2,
            status_reset=0.2,
            status_slow=0.2,
            slow_s=0.1,
            status_lag=0.5,
            lag_s=12,
            status_404_s=15,
        ),
        pause_s=5,
    ),
}
STEP = timedelta(seconds=10)
"""How far the clock is set forward after each step."""


class Theatre:
    """Plays each column once, for all tests of this process."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._played: set[str] = set()

    def play(self, column: str) -> None:
        if column not in self._played:
            self._played.add(column)
            self._play(column, COLUMNS[column])

    def _play(self, name: str, column: Column) -> None:
        account = self.stage.account(name)
        self.stage.simulator.simulator.suffer(column.faults, account.merchant_id)
        if column.expected:
            for scenario in SCENARIOS:
                self.stage.expect(name, f"{name}-{scenario}")
        under_way = [each.play(account, f"{name}-{each.name}") for each in SCENARIOS.values()]
        while under_way:
            with self.stage.notifying(name):
                under_way = [steps for steps in under_way if next(steps, None) is not None]
            if column.expected:
                self._name_swapped(name, account)
            if column.heard_out:
                self.stage.settle(name)
            self.stage.catch_up(name, column.pause_s)
            self.stage.pass_time(STEP)
        self.stage.settle(name, checks_too=column.expected)

    def _name_swapped(self, name: str, account: Account) -> None:
        """Announce the transaction_id too, where GET status knows a payment by nothing else."""
        for payment in account.transactions():
            if payment.swapped:
                self.stage.expect(name, payment.order_id, payment.transaction_id)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with make_stage(tmp_path_factory.mktemp("stage"), list(COLUMNS)) as stage:
        yield Theatre(stage)


@dataclass(frozen=True)
class Told:
    """What the service told of one order, and what had happened."""

    payments: list[Transaction]
    events: dict[str, list[dict[str, Any]]]
    receipts: list[Any]

    def types(self, payment: Transaction) -> list[str]:
        return [
            event["type"].removeprefix("midtrans.payment.") for event in self.events[payment.transaction_id]
        ]


def told_of(theatre: Theatre, column: str, scenario: str) -> Told:
    theatre.play(column)
    order_id = f"{column}-{scenario}"
    events: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in theatre.stage.events(column):
        if event["subject"] == order_id:
            events[event["data"]["transaction_id"]].append(event)
    payments = [each for each in theatre.stage.account(column).transactions() if each.order_id == order_id]
    receipts = [row for row in theatre.stage.receipts(column) if row.order_id == order_id]
    return Told(payments, events, receipts)


each_cell = pytest.mark.parametrize("scenario", SCENARIOS)
each_column = pytest.mark.parametrize("column", COLUMNS)
each_hearing = pytest.mark.parametrize("column", [name for name in COLUMNS if not COLUMNS[name].faults.lost])


def test_there_is_a_story_for_every_scenario() -> None:
    assert SCENARIOS.keys() == HAPPENS.keys()


@pytest.mark.parametrize("column", [name for name in COLUMNS if COLUMNS[name].faults.chosen()])
def test_what_is_to_go_wrong_does(theatre: Theatre, column: str) -> None:
    theatre.play(column)
    wanted = COLUMNS[column].faults.chosen().keys() - {"delay_s", "reorder_s", "slow_s", "lag_s"}
    happened = theatre.stage.simulator.simulator.faults.shown()["happened"]
    assert happened[theatre.stage.account(column).merchant_id].keys() == wanted


@each_cell
def test_alone_every_step_is_told(theatre: Theatre, scenario: str) -> None:
    told = told_of(theatre, "alone", scenario)
    assert [told.types(payment) for payment in told.payments] == HAPPENS[scenario]


@each_column
@each_cell
def test_events_are_what_happened_in_its_order(theatre: Theatre, column: str, scenario: str) -> None:
    told = told_of(theatre, column, scenario)
    assert told.events.keys() <= {payment.transaction_id for payment in told.payments}
    for payment, happened in zip(told.payments, HAPPENS[scenario], strict=True):
        remaining = iter(happened)
        assert all(type_ in remaining for type_ in told.types(payment)), (told.types(payment), happened)


@each_hearing
@each_cell
def test_the_last_event_is_the_payment_as_midtrans_has_it(
    theatre: Theatre, column: str, scenario: str
) -> None:
    told = told_of(theatre, column, scenario)
    for payment, happened in zip(told.payments, HAPPENS[scenario], strict=True):
        assert state_told(told.events[payment.transaction_id][-1]) == state_of(payment, happened)


@each_column
@each_cell
def test_no_event_comes_twice_and_none_is_missing_between(
    theatre: Theatre, column: str, scenario: str
) -> None:
    told = told_of(theatre, column, scenario)
    for events in told.events.values():
        assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
        assert len({event["id"] for event in events}) == len(events)


@each_column
@each_cell
def test_every_receipt_has_ended(theatre: Theatre, column: str, scenario: str) -> None:
    for receipt in told_of(theatre, column, scenario).receipts:
        # a customer paid after expiry: Midtrans takes back what the body about the expiry said
        late = scenario == "paid-late" and receipt.transaction_status == "expire"
        assert receipt.state in (ENDED | {"contradicted"} if late else ENDED), (receipt.state, receipt.reason)


@pytest.mark.parametrize("column", ["lost", "all-lost"])
@each_cell
def test_what_was_never_heard_of_is_asked_for(theatre: Theatre, column: str, scenario: str) -> None:
    told = told_of(theatre, column, scenario)
    assert told.events, "an expected order is known, whatever got lost"
    for payment, happened in zip(told.payments, HAPPENS[scenario], strict=True):
        if not told.events[payment.transaction_id]:
            assert len(told.payments) > 1  # of an order's several payments GET status shows the latest
            continue
        last = told.events[payment.transaction_id][-1]
        asked_again = last["data"]["status"] == "pending" or payment.reversible
        if asked_again or not heard_before(told, payment):
            assert state_told(last) == state_of(payment, happened)


def heard_before(told: Told, payment: Transaction) -> bool:
    """Say whether any notification of the payment came: else all that is known is from the end."""
    return any(row.transaction_id == payment.transaction_id for row in told.receipts)


def state_told(event: dict[str, Any]) -> tuple[str, Decimal, Decimal, int]:
    data = event["data"]
    confirmed = sum(refund["bank_confirmed_at"] is not None for refund in data["refunds"])
    return data["status"], Decimal(data["amount"]["value"]), Decimal(data["refunded"]["value"]), confirmed


def state_of(payment: Transaction, happened: list[str]) -> tuple[str, Decimal, Decimal, int]:
    confirmed = sum(refund.bank_confirmed_at is not None for refund in payment.refunds)
    status = STATUS_OF.get(happened[-1], happened[-1])
    return status, payment.gross_amount, payment.refunded, confirmed
