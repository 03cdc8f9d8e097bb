"""Bodies that Midtrans and its official clients published go through the whole flow, and mean what they should.

They are not part of this repository: MIDTRANS_SAMPLES names a folder that holds them. Each is signed anew with a
test key, GET status answers the same body, and the confirmation comes one minute after the last time it names. The
expectations were written from the bodies and the rules in docs, not recorded from the code.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import World, make_world

from django_midtrans.values import read_time

FOLDER = os.environ.get("MIDTRANS_SAMPLES")
pytestmark = pytest.mark.skipif(
    not FOLDER,
    reason="MIDTRANS_SAMPLES names no folder of published bodies: what they become is not compared",
)
KEY = "SB-Mid-server-samples"
TIMES = ("transaction_time", "settlement_time")

# Midtrans' times are Jakarta's, ours UTC: seven hours less. No time stands in the body of a denial or a
# cancellation for what happened; some settlements, expiries and refunds leave theirs out.
# file name → status, outcome, finality, channel, amount, occurred_at
PAYMENTS: dict[str, tuple[str, str, str, str | None, str, str | None]] = {
    "notification.akulaku.expire.json": ("expired", "unpaid", "firm", "akulaku", "11000.00", None),
    "notification.akulaku.settlement.json": (
        "settled", "paid", "firm", "akulaku", "130000.00", "2021-06-23T03:56:55Z"),
    "notification.akulaku.settlement.v2.json": (
        "settled", "paid", "firm", "akulaku", "11000.00", "2020-01-09T11:00:48Z"),
    # Here status_code and gross_amount are JSON numbers.
    "notification.bank_transfer.bca.pending.json": (
        "pending", "open", "firm", "bca", "10000.00", "2022-03-22T10:22:21Z"),
    "notification.bank_transfer.bca.settlement.issue63.json": (
        "settled", "paid", "firm", "bca", "145000.00", "2021-12-01T17:20:04Z"),
    "notification.bank_transfer.bca.settlement.json": (
        "settled", "paid", "firm", "bca", "100000.00", "2021-06-23T04:27:50Z"),
    "notification.bank_transfer.bni.pending.json": (
        "pending", "open", "firm", "bni", "20000.00", "2016-06-19T08:02:22Z"),
    "notification.bank_transfer.bni.settlement.json": (
        "settled", "paid", "firm", "bni", "150000.00", "2021-06-23T04:42:03Z"),
    # payment_amounts[].paid_at is not the settlement's time: the documentation says to ignore that list.
    "notification.bank_transfer.bni.settlement.payment_amounts.json": (
        "settled", "paid", "firm", "bni", "20000.00", None),
    "notification.bank_transfer.bri.settlement.json": (
        "settled", "paid", "firm", "bri", "300000.00", "2021-06-23T04:53:34Z"),
    "notification.bank_transfer.permata.settlement.json": (
        "settled", "paid", "provisional", "permata", "185000.00", "2021-06-23T04:20:06Z"),
    "notification.bca_klikbca.settlement.json": (
        "settled", "paid", "firm", "bca", "1713600.00", "2021-06-23T05:17:29Z"),
    "notification.bca_klikpay.settlement.json": (
        "settled", "paid", "firm", "bca", "912844.00", "2021-06-23T02:26:51Z"),
    "notification.bca_klikpay.settlement.v2.json": (
        "settled", "paid", "firm", "bca", "44000.00", "2019-12-11T09:21:38Z"),
    "notification.bri_epay.settlement.json": (
        "settled", "paid", "firm", "bri", "5622200.00", "2021-06-21T16:32:40Z"),
    "notification.bri_epay.settlement.v2.json": (
        "settled", "paid", "firm", "bri", "44000.00", "2019-11-11T08:13:51Z"),
    "notification.cimb_clicks.settlement.json": (
        "settled", "paid", "firm", "cimb", "2444700.00", "2021-06-23T04:40:24Z"),
    "notification.cimb_clicks.settlement.v2.json": (
        "settled", "paid", "firm", "cimb", "44000.00", "2019-12-11T09:24:00Z"),
    "notification.credit_card.capture.after_authorize.json": (
        "captured", "paid", "firm", "bca", "55000.00", "2014-08-25T03:20:54Z"),
    "notification.credit_card.capture.json": (
        "captured", "paid", "firm", "bni", "10000.00", "2020-01-09T11:27:19Z"),
    "notification.credit_card.capture.on_us.json": (
        "captured", "paid", "firm", "bni", "145000.00", "2014-08-01T08:39:22Z"),
    "notification.credit_card.capture.v2.json": (
        "captured", "paid", "firm", "bni", "10000.00", "2020-01-09T11:27:19Z"),
    # The later of the two refunds; the payment is six years younger, as published.
    "notification.credit_card.partial_refund.array.json": (
        "partially_refunded", "paid", "firm", "bni", "30000.00", "2015-02-27T18:23:15Z"),
    "notification.credit_card.settlement.recurring.skill.json": (
        "settled", "paid", "firm", "bni", "150000.00", "2026-07-01T02:00:30Z"),
    # It names neither bank nor settlement_time.
    "notification.credit_card.settlement.skill.json": ("settled", "paid", "firm", None, "150000.00", None),
    "notification.cstore.alfamart.settlement.json": (
        "settled", "paid", "firm", "alfamart", "662000.00", "2021-06-23T06:18:04Z"),
    "notification.cstore.alfamart.settlement.v2.json": (
        "settled", "paid", "firm", "alfamart", "162500.00", "2020-01-09T08:20:09Z"),
    # Without settlement_time it may have settled as late as it was confirmed: never firm too early.
    "notification.cstore.indomaret.settlement.approval.json": (
        "settled", "paid", "provisional", "indomaret", "162500.00", None),
    "notification.cstore.indomaret.settlement.json": (
        "settled", "paid", "provisional", "indomaret", "336000.00", "2021-06-23T06:13:56Z"),
    "notification.cstore.indomaret.settlement.v2.json": (
        "settled", "paid", "provisional", "indomaret", "44000.00", "2020-01-09T08:22:07Z"),
    "notification.danamon_online.settlement.json": (
        "settled", "paid", "firm", "danamon", "30000.00", "2021-06-18T07:58:57Z"),
    "notification.danamon_online.settlement.v2.json": (
        "settled", "paid", "firm", "danamon", "44000.00", "2019-12-11T09:25:49Z"),
    "notification.echannel.settlement.json": (
        "settled", "paid", "provisional", "mandiri", "30000.00", "2021-06-23T04:58:44Z"),
    "notification.gopay.deny.json": ("denied", "unpaid", "firm", "gopay", "1002500.00", None),
    # It names no refunds[], hence no time of the refund.
    "notification.gopay.partial_refund.skill.json": (
        "partially_refunded", "paid", "firm", "gopay", "150000.00", None),
    "notification.gopay.pending.json": (
        "pending", "open", "firm", "gopay", "109000.00", "2025-02-10T04:10:57Z"),
    "notification.gopay.settlement.json": (
        "settled", "paid", "firm", "gopay", "154600.00", "2021-06-15T11:45:28Z"),
    "notification.kredivo.deny.json": ("denied", "unpaid", "firm", "kredivo", "11000.00", None),
    "notification.qris.expire.skill.json": ("expired", "unpaid", "firm", None, "50000.00", None),
    "notification.qris.pending.json": (
        "pending", "open", "firm", "gopay", "275000.00", "2020-09-29T04:18:06Z"),
    "notification.qris.settlement.json": (
        "settled", "paid", "firm", "gopay", "5539.00", "2021-06-23T07:06:48Z"),
    "notification.qris.settlement.v2.json": (
        "settled", "paid", "firm", "gopay", "789000.00", "2021-06-23T08:46:00Z"),
    "notification.shopeepay.settlement.json": (
        "settled", "paid", "firm", "shopeepay", "16700.00", "2021-06-23T06:28:21Z"),
    "notification.shopeepay.settlement.references.json": (
        "settled", "paid", "firm", "shopeepay", "25000.00", "2020-09-29T04:23:44Z"),
    # Answers of GET status: what a notification of the same state would say.
    "status.bank_transfer.pending.recorded.json": (
        "pending", "open", "firm", None, "100000.00", "2014-11-04T14:16:51Z"),
    "status.bank_transfer.permata.pending.recorded.v2.json": (
        "pending", "open", "firm", "permata", "100000.00", "2019-04-03T19:48:20Z"),
    "status.cimb_clicks.settlement.json": ("settled", "paid", "firm", "cimb", "19999998.00", None),
    "status.credit_card.cancel.php_stub.json": ("cancelled", "unpaid", "firm", "bni", "10000.00", None),
    # Captured, whatever settlement_time says already: the status word decides.
    "status.credit_card.capture.channel.json": (
        "captured", "paid", "firm", "bni", "30000.00", "2015-02-26T07:39:33Z"),
    "status.credit_card.capture.json": (
        "captured", "paid", "firm", "bni", "30000.00", "2015-02-26T07:39:33Z"),
    "status.credit_card.capture.php_stub.json": (
        "captured", "paid", "firm", "bni", "10000.00", "2014-11-27T03:05:10Z"),
    # gross_amount is the text 2700, without decimals.
    "status.credit_card.capture.php_stub.v2.json": (
        "captured", "paid", "firm", None, "2700.00", "2014-04-07T09:22:36Z"),
    "status.credit_card.deny.php_stub.json": ("denied", "unpaid", "firm", "bni", "30000.00", None),
    "status.credit_card.refund.php_stub.json": ("refunded", "returned", "firm", None, "10000.00", None),
    "status.credit_card.settlement.json": (
        "settled", "paid", "firm", "bni", "10000.00", "2020-01-10T09:15:31Z"),
    "status.credit_card.settlement.php_stub.json": (
        "settled", "paid", "firm", "mandiri", "10000.00", None),
    # The word is PENDING, the status_code 200: as published.
    "status.dana.pending.json": ("pending", "open", "firm", "dana", "238429.00", "2025-11-03T05:45:47Z"),
    "status.echannel.expire.php_stub.json": ("expired", "unpaid", "firm", "mandiri", "10000.00", None),
    "status.ovo.pending.json": ("pending", "open", "firm", "ovo", "30000.00", "2025-11-02T07:39:33Z"),
}  # fmt: skip

# file name → kind and HTTP answer
OTHERS: dict[str, tuple[str, int]] = {
    "notification.pay_account.linked.json": ("pay_account", 422),
    "notification.snapbi.debit.refund.json": ("bi_snap", 422),
    "notification.snapbi.debit.skill.json": ("bi_snap", 422),
    "notification.snapbi.gopay_account_linked.skill.json": ("bi_snap", 422),
    "notification.snapbi.qris.skill.json": ("bi_snap", 422),
    "notification.snapbi.va.skill.json": ("bi_snap", 422),
    "notification.subscription.charge.credit_card.capture.json": ("subscription", 422),
    "notification.subscription.charge.gopay.failed_402.json": ("subscription", 422),
    "notification.subscription.created.gopay.json": ("subscription", 422),
}
ANSWERS_OF_CALLS = ("action.", "api.", "charge.", "error.")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path, key=KEY) as made:
        yield made


def sample(name: str) -> dict[str, Any]:
    assert FOLDER is not None
    body: dict[str, Any] = json.loads((Path(FOLDER) / name).read_text(encoding="utf-8"))
    return body


def signed(body: dict[str, Any]) -> dict[str, Any]:
    text = f"{body['order_id']}{body['status_code']}{body['gross_amount']}{KEY}"
    return {**body, "signature_key": hashlib.sha512(text.encode()).hexdigest()}


@pytest.mark.parametrize("name", PAYMENTS)
def test_a_published_payment_becomes_the_reviewed_event(world: World, name: str) -> None:
    body = signed(sample(name))
    moments = [moment for moment in map(read_time, map(body.get, TIMES)) if moment]
    world.clock.now = max(moments) + timedelta(minutes=1)
    world.gateway.answers = {body["transaction_id"]: body, body["order_id"]: body}
    assert world.notify(body) == 200
    for claim in world.claim():
        world.confirm(claim)
    (event,) = (event.to_dict() for event in world.events())
    data = event["data"]
    occurred_at = data["occurred_at"]
    assert (
        data["status"], data["outcome"], data["finality"], data["channel"], data["amount"]["value"], occurred_at
    ) == PAYMENTS[name]  # fmt: skip
    assert event["type"] == f"midtrans.payment.{data['status']}"
    assert event["subject"] == body["order_id"]
    assert world.receipt_states() == [("applied", None)]
    assert world.alarm_names() == []


@pytest.mark.parametrize("name", OTHERS)
def test_a_published_body_of_another_kind_gets_the_reviewed_answer(world: World, name: str) -> None:
    kind, answer = OTHERS[name]
    assert world.notify(sample(name)) == answer
    (oddity,) = world.oddities.kept
    assert oddity.reason == "kind_not_enabled"
    assert f"'{kind}'" in oddity.detail
    assert world.receipt_states() == []
    assert world.events() == []


def test_every_published_body_is_in_the_table() -> None:
    assert FOLDER is not None
    names = {path.name for path in Path(FOLDER).glob("*.json") if not path.name.startswith(ANSWERS_OF_CALLS)}
    assert names == PAYMENTS.keys() | OTHERS.keys()
