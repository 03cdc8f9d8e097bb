import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.answers import Happened
from service.domain.merchant import Merchant, fingerprint
from service.domain.receiving import Arrival, DashboardTest, Keys, Refused, decide, reconsider
from service.domain.records import NewReceipt, Oddity, ReceiptState

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
ID = UUID("019aaa2c-5c00-7000-8000-000000000001")
SHOP = Merchant("shop-a", ("first-key", "second-key"), ("old-key",))


def new_id() -> UUID:
    return ID


def body(*, key: str = "first-key", **fields: Any) -> dict[str, Any]:
    values = {
        "order_id": "order-1",
        "transaction_id": "t-1",
        "transaction_status": "pending",
        "payment_type": "gopay",
        "status_code": "201",
        "gross_amount": "20000.00",
        **fields,
    }
    text = f"{values['order_id']}{values['status_code']}{values['gross_amount']}{key}"
    return {"signature_key": hashlib.sha512(text.encode()).hexdigest(), **values}


def arrival(raw: bytes) -> Arrival:
    return Arrival("shop-a", raw, len(raw), NOW, "192.0.2.1", "/notifications/shop-a", {"user-agent": "x"})


def decided(raw: bytes | dict[str, Any]) -> NewReceipt | Refused | DashboardTest:
    given_ = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return decide(arrival(given_), Keys.of(SHOP), new_id=new_id)


def without(*names: str, **fields: Any) -> dict[str, Any]:
    return {name: value for name, value in body(**fields).items() if name not in names}


def test_a_signed_payment_becomes_a_receipt_that_waits() -> None:
    raw = json.dumps(body(key="second-key")).encode()
    assert decided(raw) == NewReceipt(
        id=ID,
        merchant="shop-a",
        kind="payment",
        digest=hashlib.sha256(raw).digest(),
        raw=raw,
        order_id="order-1",
        transaction_id="t-1",
        transaction_status="pending",
        payment_type="gopay",
        received_at=NOW,
        source_address="192.0.2.1",
        path="/notifications/shop-a",
        headers={"user-agent": "x"},
        key_fingerprint=fingerprint("second-key"),
        amount_form="text",
        answer=200,
        state=ReceiptState.WAITING,
        reason=None,
    )


def test_a_key_that_only_verifies_is_enough() -> None:
    receipt = decided(body(key="old-key"))
    assert isinstance(receipt, NewReceipt)
    assert receipt.key_fingerprint == fingerprint("old-key")


def test_a_payment_without_a_transaction_id_waits_all_the_same() -> None:
    receipt = decided(without("transaction_id"))
    assert isinstance(receipt, NewReceipt)
    assert (receipt.transaction_id, receipt.state) == (None, ReceiptState.WAITING)


def test_what_is_signed_but_of_no_known_kind_is_parked() -> None:
    receipt = decided(without("transaction_status"))
    assert isinstance(receipt, NewReceipt)
    assert (receipt.kind, receipt.state, receipt.reason) == ("unknown", ReceiptState.PARKED, "kind_unknown")


@pytest.mark.parametrize(
    ("raw", "happened", "said"),
    [
        pytest.param(b"", Happened.NOT_JSON, "empty", id="empty"),
        pytest.param(b"[1]", Happened.NOT_JSON, "object", id="no-object"),
        pytest.param(b'{"a":1,"a":1}', Happened.NOT_JSON, "twice", id="key-twice"),
        pytest.param({}, Happened.UNUSABLE, "order_id", id="nothing-in-it"),
        pytest.param(without("gross_amount"), Happened.UNUSABLE, "gross_amount", id="no-amount"),
        pytest.param(body(order_id="a\0"), Happened.UNUSABLE, "order_id", id="nul"),
        pytest.param(body(key="x"), Happened.SIGNATURE, "", id="stranger"),
        pytest.param(
            without("transaction_status", key="x"), Happened.SIGNATURE, "", id="unknown-kind-unsigned"
        ),
        pytest.param(
            {"account_id": "1", "account_status": "ENABLED", "signature_key": "x"},
            Happened.KIND_NOT_ENABLED,
            "pay account notification URL",
            id="kind-off",
        ),
    ],
)
def test_what_is_refused_says_why(raw: bytes | dict[str, Any], happened: Happened, said: str) -> None:
    refused = decided(raw)
    assert isinstance(refused, Refused)
    assert refused.happened is happened
    assert said in refused.detail


@pytest.mark.parametrize(("key", "verified"), [("first-key", True), ("x", False)])
def test_a_dashboard_test_is_told_before_the_signature_counts(key: str, verified: bool) -> None:
    order_id = "payment_notif_test_G1_1"
    assert decided(body(key=key, order_id=order_id)) == DashboardTest(order_id, verified)


def test_an_empty_key_verifies_nothing() -> None:
    merchant = Merchant("shop-a", ("",))
    raw = json.dumps(body(key="")).encode()
    assert isinstance(decide(arrival(raw), Keys.of(merchant), new_id=new_id), Refused)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_judgement_fail(raw: bytes) -> None:
    assert isinstance(decided(raw), Refused)


def oddity(raw: bytes, *, cut: int | None = None) -> Oddity:
    return Oddity(
        "shop-a", "signature", NOW, "192.0.2.1", "/notifications/shop-a", {}, raw[:cut], len(raw), ""
    )


def reconsidered(
    kept: Oddity, merchant: Merchant = SHOP, make: Callable[[], UUID] = new_id
) -> NewReceipt | None:
    return reconsider(kept, merchant, new_id=make)


def test_a_refused_body_becomes_a_receipt_when_a_new_key_verifies_it() -> None:
    raw = json.dumps(body(key="new-key")).encode()
    assert reconsidered(oddity(raw)) is None
    receipt = reconsidered(oddity(raw), Merchant("shop-a", ("new-key",)))
    assert receipt is not None
    assert (receipt.raw, receipt.received_at, receipt.answer) == (raw, NOW, 403)


def test_a_body_that_was_cut_is_never_taken_in_later() -> None:
    raw = json.dumps(body()).encode() + b" " * 100
    assert reconsidered(oddity(raw)) is not None
    assert reconsidered(oddity(raw, cut=len(raw) - 50)) is None
