"""Our own bodies for every payment type and state become the reviewed events."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from django_midtrans.events import PaymentEvent, change, make_event, order_view
from django_midtrans.notification import (
    NotificationKind,
    kind_of,
    matching_key,
    parse_object,
    read_payment,
)
from django_midtrans.payment import (
    PaymentFacts,
    PaymentState,
    alarms_of,
    compare,
    merge,
    problem_of,
    read_facts,
)
from django_midtrans.status import OUTCOME_OF, PaymentStatus, Relation

FOLDER = Path(__file__).parents[2] / "payloads"
KEY = "SB-Mid-server-test"  # the placeholder of Midtrans' own fixtures
STORIES: dict[str, dict[str, Any]] = {
    f"{file.stem}-{story['name']}": story
    for file in sorted(FOLDER.glob("*.json"))
    for story in json.loads(file.read_text(encoding="utf-8"))["stories"]
}
LATER = datetime(2030, 1, 1, tzinfo=UTC)


def facts_of(body: dict[str, Any]) -> PaymentFacts:
    """Read *body* as it would come over the wire, numbers as source text."""
    parsed = parse_object(json.dumps(body).encode())
    assert kind_of(parsed) is NotificationKind.PAYMENT
    assert matching_key(read_payment(parsed), ("another key", KEY)) is not None
    return read_facts(parsed)


def event_of(previous: PaymentState | None, state: PaymentState, facts: PaymentFacts) -> PaymentEvent:
    settled = facts.settlement_time
    return make_event(
        merchant="shop",
        order_id=facts.order_id or "",
        transaction_id=facts.transaction_id or "",
        previous=previous,
        state=state,
        order=order_view(
            [OUTCOME_OF[state.status]],
            expected=None,
            amount=state.amount,
            amount_before_fee=state.amount_before_fee,
        ),
        irregular=False,
        confirmed_at=LATER if settled is None else settled + timedelta(minutes=1),
        confirmed_by="notification",
    )


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_each_story_makes_the_reviewed_events(story: dict[str, Any]) -> None:
    state: PaymentState | None = None
    for step in story["steps"]:
        facts = facts_of(step["body"])
        assert problem_of(facts) == step["problem"]
        if step["problem"] is not None:
            continue
        assert list(alarms_of(facts)) == step["alarms"]
        previous, state = state, merge(state, facts)
        if step["event"] is None:
            assert compare(previous, facts) is Relation.SAME
            assert change(previous, state) is None
            continue
        assert compare(previous, facts) is Relation.NEXT
        state = replace(state, sequence=state.sequence + 1)
        event = event_of(previous, state, facts).to_dict()
        assert event["type"] == step["event"]["type"]
        assert {name: event["data"][name] for name in step["event"]["data"]} == step["event"]["data"]


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_each_story_told_backwards_ends_in_the_same_status(story: dict[str, Any]) -> None:
    """Late notifications never undo what is known."""
    seen = [facts_of(step["body"]) for step in story["steps"] if step["problem"] is None]
    state = merge(None, seen[-1])
    for facts in reversed(seen[:-1]):
        assert compare(state, facts) in {Relation.BEHIND, Relation.SAME}


def test_every_payment_type_and_every_status_has_a_story() -> None:
    events = [step["event"] for story in STORIES.values() for step in story["steps"] if step["event"]]
    assert {event["data"]["status"] for event in events} == {status.value for status in PaymentStatus}
    assert {event["data"]["payment_type"] for event in events} == {
        *("credit_card", "bank_transfer", "echannel", "gopay", "qris", "shopeepay", "ovo", "dana", "cstore"),
        *("akulaku", "kredivo", "bca_klikpay", "bca_klikbca", "cimb_clicks", "danamon_online", "bri_epay"),
        "mandiri_clickpay",
    }


def test_no_two_stories_share_a_payment() -> None:
    first = [story["steps"][0]["body"] for story in STORIES.values()]
    assert (
        len({body["transaction_id"] for body in first})
        == len({body["order_id"] for body in first})
        == len(first)
    )


SAMPLES = {
    "notification.akulaku.expire": ("expired", "akulaku", "11000.00"),
    "notification.akulaku.settlement": ("settled", "akulaku", "130000.00"),
    "notification.akulaku.settlement.v2": ("settled", "akulaku", "11000.00"),
    "notification.bank_transfer.bca.pending": ("pending", "bca", "10000.00"),
    "notification.bank_transfer.bca.settlement": ("settled", "bca", "100000.00"),
    "notification.bank_transfer.bca.settlement.issue63": ("settled", "bca", "145000.00"),
    "notification.bank_transfer.bni.pending": ("pending", "bni", "20000.00"),
    "notification.bank_transfer.bni.settlement": ("settled", "bni", "150000.00"),
    "notification.bank_transfer.bni.settlement.payment_amounts": ("settled", "bni", "20000.00"),
    "notification.bank_transfer.bri.settlement": ("settled", "bri", "300000.00"),
    "notification.bank_transfer.permata.settlement": ("settled", "permata", "185000.00"),
    "notification.bca_klikbca.settlement": ("settled", "bca", "1713600.00"),
    "notification.bca_klikpay.settlement": ("settled", "bca", "912844.00"),
    "notification.bca_klikpay.settlement.v2": ("settled", "bca", "44000.00"),
    "notification.bri_epay.settlement": ("settled", "bri", "5622200.00"),
    "notification.bri_epay.settlement.v2": ("settled", "bri", "44000.00"),
    "notification.cimb_clicks.settlement": ("settled", "cimb", "2444700.00"),
    "notification.cimb_clicks.settlement.v2": ("settled", "cimb", "44000.00"),
    "notification.credit_card.capture": ("captured", "bni", "10000.00"),
    "notification.credit_card.capture.after_authorize": ("captured", "bca", "55000.00"),
    "notification.credit_card.capture.on_us": ("captured", "bni", "145000.00"),
    "notification.credit_card.capture.v2": ("captured", "bni", "10000.00"),
    "notification.credit_card.partial_refund.array": ("partially_refunded", "bni", "30000.00"),
    "notification.credit_card.settlement.recurring.skill": ("settled", "bni", "150000.00"),
    "notification.credit_card.settlement.skill": ("settled", None, "150000.00"),
    "notification.cstore.alfamart.settlement": ("settled", "alfamart", "662000.00"),
    "notification.cstore.alfamart.settlement.v2": ("settled", "alfamart", "162500.00"),
    "notification.cstore.indomaret.settlement": ("settled", "indomaret", "336000.00"),
    "notification.cstore.indomaret.settlement.approval": ("settled", "indomaret", "162500.00"),
    "notification.cstore.indomaret.settlement.v2": ("settled", "indomaret", "44000.00"),
    "notification.danamon_online.settlement": ("settled", "danamon", "30000.00"),
    "notification.danamon_online.settlement.v2": ("settled", "danamon", "44000.00"),
    "notification.echannel.settlement": ("settled", "mandiri", "30000.00"),
    "notification.gopay.deny": ("denied", "gopay", "1002500.00"),
    "notification.gopay.partial_refund.skill": ("partially_refunded", "gopay", "150000.00"),
    "notification.gopay.pending": ("pending", "gopay", "109000.00"),
    "notification.gopay.settlement": ("settled", "gopay", "154600.00"),
    "notification.kredivo.deny": ("denied", "kredivo", "11000.00"),
    "notification.qris.expire.skill": ("expired", None, "50000.00"),
    "notification.qris.pending": ("pending", "gopay", "275000.00"),
    "notification.qris.settlement": ("settled", "gopay", "5539.00"),
    "notification.qris.settlement.v2": ("settled", "gopay", "789000.00"),
    "notification.shopeepay.settlement": ("settled", "shopeepay", "16700.00"),
    "notification.shopeepay.settlement.references": ("settled", "shopeepay", "25000.00"),
    "status.bank_transfer.pending.recorded": ("pending", None, "100000.00"),
    "status.bank_transfer.permata.pending.recorded.v2": ("pending", "permata", "100000.00"),
    "status.cimb_clicks.settlement": ("settled", "cimb", "19999998.00"),
    "status.credit_card.cancel.php_stub": ("cancelled", "bni", "10000.00"),
    "status.credit_card.capture": ("captured", "bni", "30000.00"),
    "status.credit_card.capture.channel": ("captured", "bni", "30000.00"),
    "status.credit_card.capture.php_stub": ("captured", "bni", "10000.00"),
    "status.credit_card.capture.php_stub.v2": ("captured", None, "2700.00"),
    "status.credit_card.deny.php_stub": ("denied", "bni", "30000.00"),
    "status.credit_card.refund.php_stub": ("refunded", None, "10000.00"),
    "status.credit_card.settlement": ("settled", "bni", "10000.00"),
    "status.credit_card.settlement.php_stub": ("settled", "mandiri", "10000.00"),
    "status.dana.pending": ("pending", "dana", "238429.00"),
    "status.echannel.expire.php_stub": ("expired", "mandiri", "10000.00"),
    "status.ovo.pending": ("pending", "ovo", "30000.00"),
}
OTHER_KINDS = ("notification.pay_account.", "notification.snapbi.", "notification.subscription.")


@pytest.fixture
def samples() -> Path:
    folder = os.environ.get("MIDTRANS_SAMPLES")
    if not folder:
        pytest.skip("MIDTRANS_SAMPLES names no folder of published bodies")
    return Path(folder)


def test_every_published_payment_body_reads_as_committed(samples: Path) -> None:
    read = {}
    for file in [*samples.glob("notification.*.json"), *samples.glob("status.*.json")]:
        if not file.name.startswith(OTHER_KINDS):
            facts = read_facts(parse_object(file.read_bytes()))
            read[file.stem] = (facts.status, facts.channel, str(facts.amount))
            assert problem_of(facts) is None
    assert read == SAMPLES


def test_every_published_notification_is_of_its_kind(samples: Path) -> None:
    kinds = {"pay_account": "pay_account", "snapbi": "bi_snap", "subscription": "subscription"}
    for file in samples.glob("notification.*.json"):
        body = parse_object(file.read_bytes())
        kind = kind_of(body)
        assert kind == kinds.get(file.name.split(".")[1], "payment"), file.name
        if kind is NotificationKind.PAYMENT:
            assert read_payment(body).order_id == body["order_id"]
