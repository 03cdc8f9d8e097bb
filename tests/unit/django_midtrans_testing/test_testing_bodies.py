"""The bodies of the in-memory Midtrans: names, types and signatures as Midtrans documents them."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from django_midtrans.testing import Account, InMemoryMidtrans, signature
from django_midtrans.testing.bodies import local_time, money

KEY = "SB-Mid-server-test"
NOW = datetime(2026, 11, 22, 20, 30, 0, tzinfo=UTC)  # already the 23rd in Jakarta
EXTRA: dict[str, dict[str, Any]] = {
    "bank_transfer": {"bank_transfer": {"bank": "bca"}},
    "cstore": {"cstore": {"store": "alfamart"}},
    "credit_card": {"credit_card": {"token_id": "48111111-1114-x"}},
}
TYPES = (
    "bank_transfer",
    "echannel",
    "gopay",
    "qris",
    "shopeepay",
    "credit_card",
    "cstore",
    "dana",
    "ovo",
    "akulaku",
    "kredivo",
)


def make_account() -> Account:
    return InMemoryMidtrans(lambda: NOW).account(KEY)


def charge(account: Account, payment_type: str, order_id: str = "o-1", **more: Any) -> dict[str, Any]:
    details = {"order_id": order_id, "gross_amount": 150_000}
    given = {
        "payment_type": payment_type,
        "transaction_details": details,
        **EXTRA.get(payment_type, {}),
        **more,
    }
    return account.charge(given)


def va(account: Account, bank: str, order_id: str = "o-1") -> dict[str, Any]:
    return charge(account, "bank_transfer", order_id, bank_transfer={"bank": bank})


@pytest.mark.parametrize(
    ("order_id", "status_code", "gross_amount", "server_key", "expected"),
    [
        ("ORDER-sandbox-0001", "200", "150000.00", "SB-Mid-server-test", "d65b4adf15335095fe1bfafe24964d48"),
        ("ORDER-sandbox-0003", "202", "50000.00", "SB-Mid-server-test", "a51d1bd2aa8b1dca9228f3827cd641b6"),
        (
            "1554320900",
            "201",
            "100000.00",
            "VT-server-9Htb-RxXkg7-7hznSCCjxvoY",
            "9b0a7d1b2672b148d869c5b113560",
        ),
    ],
)
def test_the_signature_is_the_published_one(
    order_id: str, status_code: str, gross_amount: str, server_key: str, expected: str
) -> None:
    made = signature(order_id, status_code, gross_amount, server_key)
    assert made.startswith(expected)
    assert len(made) == 128


def test_times_are_jakartas_without_a_zone() -> None:
    assert local_time(NOW) == "2026-11-23 03:30:00"


def test_money_is_text_with_two_decimals() -> None:
    assert [money(Decimal(150_000)), money(Decimal("0.5"))] == ["150000.00", "0.50"]


def test_a_clock_without_a_zone_is_refused() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="aware"):
        charge(InMemoryMidtrans(lambda: naive).account(KEY), "gopay")


@pytest.mark.parametrize("payment_type", TYPES)
def test_every_type_has_the_common_fields_and_no_null(payment_type: str) -> None:
    account = make_account()
    charge(account, payment_type, custom_field1="mine", metadata={"a": [1]})
    body = account.notifications[-1]
    common = [
        "order_id",
        "transaction_id",
        "transaction_status",
        "status_code",
        "gross_amount",
        "signature_key",
        "payment_type",
    ]
    assert all(isinstance(body[name], str) for name in common)
    assert None not in body.values()
    assert body["gross_amount"] == "150000.00"
    assert (body["custom_field1"], body["metadata"], body["currency"]) == ("mine", {"a": [1]}, "IDR")
    assert "signature_key" not in charge(account, payment_type, "o-2")


@pytest.mark.parametrize("payment_type", TYPES)
def test_the_notification_and_the_status_sign_their_own_status_code(payment_type: str) -> None:
    account = make_account()
    transaction_id = charge(account, payment_type)["transaction_id"]
    for body in (account.notifications[-1], account.status(transaction_id)):
        signed = signature(body["order_id"], body["status_code"], body["gross_amount"], KEY)
        assert body["signature_key"] == signed


def test_an_expiry_is_202_in_the_notification_and_407_in_the_status() -> None:
    account = make_account()
    charge(account, "qris")
    assert account.expire("o-1")["status_code"] == "407"
    notified, answered = account.notifications[-1], account.status("o-1")
    assert (notified["status_code"], answered["status_code"]) == ("202", "407")
    assert notified["transaction_status"] == answered["transaction_status"] == "expire"
    assert notified["signature_key"] != answered["signature_key"]


@pytest.mark.parametrize(
    ("step", "code"),
    [(Account.pay, "200"), (Account.deny_payment, "202"), (Account.fail, "202"), (Account.cancel, "202")],
)
def test_the_status_code_of_a_notification_follows_the_status(
    step: Callable[[Account, str], dict[str, Any]], code: str
) -> None:
    account = make_account()
    charge(account, "gopay")
    assert account.notifications[-1]["status_code"] == "201"
    step(account, "o-1")
    assert account.notifications[-1]["status_code"] == code


def test_virtual_accounts_are_named_as_each_bank_does() -> None:
    account = make_account()
    assert va(account, "bca", "b1")["va_numbers"][0]["bank"] == "bca"
    permata = va(account, "permata", "b2")
    assert "va_numbers" not in permata
    assert permata["permata_va_number"].isdigit()


def test_bni_alone_fills_payment_amounts_and_expires_without_naming_itself() -> None:
    account = make_account()
    va(account, "bni", "paid")
    va(account, "bni", "unpaid")
    va(account, "bri", "bri")
    assert account.pay("paid")["payment_amounts"] == [
        {"paid_at": "2026-11-23 03:30:00", "amount": "150000.00"}
    ]
    assert account.pay("bri")["payment_amounts"] == []
    account.expire("unpaid")
    assert "va_numbers" not in account.notifications[-1]
    assert "va_numbers" in account.status("unpaid")


def test_indomaret_has_no_fraud_status_and_an_approval_code_once_paid() -> None:
    account = make_account()
    charge(account, "cstore", cstore={"store": "indomaret"})
    assert "fraud_status" not in account.notifications[-1]
    assert "approval_code" not in account.notifications[-1]
    assert "approval_code" in account.pay("o-1")


def test_a_paid_qris_names_issuer_and_acquirer() -> None:
    account = make_account()
    charge(account, "qris", qris={"acquirer": "airpay shopee"})
    body = account.pay("o-1")
    assert (body["acquirer"], body["transaction_type"]) == ("airpay shopee", "off-us")
    assert {"issuer", "shopeepay_reference_number", "reference_id"} <= body.keys()


def test_a_denied_gopay_says_why() -> None:
    account = make_account()
    charge(account, "gopay")
    assert {"channel_response_code", "channel_response_message"} <= account.deny_payment("o-1").keys()


@pytest.mark.parametrize(
    ("payment_type", "bank"), [("dana", ""), ("bank_transfer", "bsi"), ("bank_transfer", "saqu")]
)
def test_a_swapped_channel_is_found_by_transaction_id_only_and_names_it_as_order(
    payment_type: str, bank: str
) -> None:
    account = make_account()
    made = charge(account, payment_type, bank_transfer={"bank": bank})
    transaction_id = made["transaction_id"]
    assert made["order_id"] == account.notifications[-1]["order_id"] == "o-1"
    assert account.status("o-1")["status_code"] == "404"
    assert account.cancel("o-1")["status_code"] == "404"
    answer = account.status(transaction_id)
    assert answer["order_id"] == answer["transaction_id"] == transaction_id
    assert account.cancel(transaction_id)["status_code"] == "200"


def test_whose_id_a_swapped_signature_covers_is_a_choice() -> None:
    account = InMemoryMidtrans(lambda: NOW, swapped_status_signs="charged").account(KEY)
    transaction_id = charge(account, "dana")["transaction_id"]
    answer = account.status(transaction_id)
    assert answer["signature_key"] == signature("o-1", answer["status_code"], "150000.00", KEY)


def test_a_pending_dana_is_written_in_capitals_with_200_and_a_28_character_id() -> None:
    account = make_account()
    transaction_id = charge(account, "dana")["transaction_id"]
    answer = account.status(transaction_id)
    assert (answer["transaction_status"], answer["status_code"], len(transaction_id)) == (
        "PENDING",
        "200",
        28,
    )
    assert account.notifications[-1]["transaction_status"] == "pending"


def test_a_refund_has_an_id_above_2_to_the_53_and_is_confirmed_later() -> None:
    account = make_account()
    charge(account, "gopay")
    account.pay("o-1")
    account.direct_refund("o-1", {"refund_key": "k-1", "amount": 50_000, "reason": ""})
    first = account.notifications[-1]
    second = account.confirm_refund("o-1", "k-1")
    assert first["refunds"][0]["refund_chargeback_id"] > 2**53
    assert len(str(first["refunds"][0]["refund_chargeback_id"])) == 18
    assert "bank_confirmed_at" not in first["refunds"][0]
    assert second["refunds"][0]["bank_confirmed_at"] == "2026-11-23 03:30:00"
    assert second["refunds"][0]["refund_method"] == "online"
    assert first["signature_key"] == second["signature_key"]
    assert (first["transaction_status"], first["refund_amount"]) == ("partial_refund", "50000.00")


def test_a_customer_fee_raises_the_amount_and_is_explained() -> None:
    account = make_account()
    details = {"order_id": "o-1", "gross_amount": 150_000}
    account.charge({"payment_type": "gopay", "transaction_details": details}, customer_fee=2_500)
    body = account.pay("o-1")
    assert body["gross_amount"] == "152500.00"
    assert body["metadata"]["extra_info"]["gross_amount_info"] == {
        "original_amount": "150000.00",
        "gross_amount": "152500.00",
        "customer_imposed_payment_fee": "2500.00",
    }


def test_expiry_times_follow_the_type_and_custom_expiry() -> None:
    account = make_account()
    charge(account, "ovo", "ovo", custom_expiry={"expiry_duration": 2, "unit": "hour"})
    charge(account, "qris", "qris", custom_expiry={"expiry_duration": 2, "unit": "hour"})
    assert account.find("ovo").expiry_time == NOW + timedelta(seconds=65)
    assert account.find("qris").expiry_time == NOW + timedelta(hours=2)


SAMPLES = Path(os.environ.get("MIDTRANS_SAMPLES", "/nonexistent"))
PAID_SAMPLES: dict[str, tuple[str, dict[str, Any]]] = {  # published notification → how it is made here
    "notification.bank_transfer.bni.settlement.json": ("bank_transfer", {"bank_transfer": {"bank": "bni"}}),
    "notification.bank_transfer.bri.settlement.json": ("bank_transfer", {"bank_transfer": {"bank": "bri"}}),
    "notification.bank_transfer.permata.settlement.json": (
        "bank_transfer",
        {"bank_transfer": {"bank": "permata"}},
    ),
    "notification.echannel.settlement.json": ("echannel", {}),
    "notification.cstore.indomaret.settlement.json": ("cstore", {"cstore": {"store": "indomaret"}}),
    "notification.cstore.alfamart.settlement.json": ("cstore", {"cstore": {"store": "alfamart"}}),
    "notification.qris.settlement.json": ("qris", {}),
    "notification.gopay.settlement.json": ("gopay", {}),
    "notification.shopeepay.settlement.references.json": ("shopeepay", {}),
    "notification.akulaku.settlement.json": ("akulaku", {}),
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="MIDTRANS_SAMPLES names no folder of published bodies")
@pytest.mark.parametrize("name", PAID_SAMPLES)
def test_a_paid_notification_has_every_field_of_the_published_one(name: str) -> None:
    published = json.loads((SAMPLES / name).read_text())
    payment_type, more = PAID_SAMPLES[name]
    account = make_account()
    charge(account, payment_type, **more)
    made = account.pay("o-1")
    assert {key: type(value) for key, value in published.items()}.items() <= {
        key: type(value) for key, value in made.items()
    }.items()
    assert published["status_code"] == made["status_code"]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="MIDTRANS_SAMPLES names no folder of published bodies")
def test_a_captured_card_has_every_field_of_the_published_one() -> None:
    published = json.loads((SAMPLES / "notification.credit_card.capture.json").read_text())
    account = make_account()
    charge(account, "credit_card")
    assert published.keys() <= account.notifications[-1].keys()
