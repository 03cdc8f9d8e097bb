"""The schemas: valid themselves, as strict as the events are, and the same text wherever they are read."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from support.contracts import check_event

from django_midtrans.events import DATA_SCHEMA, PaymentEvent
from django_midtrans.status import Outcome, PaymentStatus
from service.contracts.documents import documents
from service.contracts.payment import TYPES
from service.contracts.schemas import SCHEMAS, schema_of

DOCS = Path(__file__).parents[4] / "docs"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "55962584-ce6e-5034-b47e-a1d779885d9b",
    "source": "/midtrans/shop-a",
    "type": "midtrans.payment.partially_refunded",
    "subject": "order-1",
    "time": "2026-11-22T03:04:05Z",
    "datacontenttype": "application/json",
    "dataschema": "urn:midtrans-service:schema:payment:1",
    "partitionkey": "shop-a/tx-1",
    "sequence": "0000000003",
    "data": {
        "merchant": "shop-a",
        "order_id": "order-1",
        "transaction_id": "tx-1",
        "payment_type": "bank_transfer",
        "channel": "bca",
        "status": "partially_refunded",
        "previous_status": "settled",
        "outcome": "paid",
        "outcome_changed": False,
        "finality": "provisional",
        "reversible_until": "2026-11-22T03:19:05Z",
        "irregular": False,
        "amount": {"value": "150000.00", "currency": "IDR"},
        "amount_before_fee": {"value": "149000.00", "currency": "IDR"},
        "refunded": {"value": "50000.00", "currency": "IDR"},
        "refunds": [
            {
                "id": "1",
                "key": None,
                "amount": {"value": "50000.00", "currency": "IDR"},
                "method": None,
                "reason": None,
                "created_at": "2026-11-22T03:04:05Z",
                "bank_confirmed_at": None,
            }
        ],
        "charged_back": {"value": "0.00", "currency": "IDR"},
        "order": {
            "outcome": "paid",
            "paid_payments": 1,
            "expected": {"value": "149000.00", "currency": "IDR"},
            "amount_matches": True,
        },
        "occurred_at": None,
        "confirmed_at": "2026-11-22T03:04:05Z",
        "confirmed_by": "reconcile",
        "midtrans": {"transaction_status": "partial_refund", "fraud_status": None, "status_code": "200"},
        "custom_fields": ["a", None, None],
        "metadata": {"a": [1, {"b": None}]},
    },
}


@pytest.mark.parametrize("which", list(SCHEMAS))
def test_every_schema_is_one_itself(which: tuple[str, int]) -> None:
    Draft202012Validator.check_schema(schema_of(*which))


def test_an_event_that_was_written_out_by_hand_is_valid_and_is_what_the_code_writes() -> None:
    check_event(EVENT)
    assert PaymentEvent.from_dict(EVENT).to_dict() | {"data": None} == EVENT | {"data": None}
    Draft202012Validator(schema_of("payment", 1)).validate(EVENT["data"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data", "amount", "value"), 150000),
        (("data", "amount", "value"), "150000"),
        (("data", "amount", "value"), "1.5e5"),
        (("data", "confirmed_at"), "2026-11-22 03:04:05"),
        (("data", "confirmed_at"), None),
        (("data", "status"), "lost"),
        (("data", "outcome"), None),
        (("data", "custom_fields"), ["a", None]),
        (("data", "refunds"), None),
        (("data", "order", "paid_payments"), -1),
        (("data", "metadata"), []),
        (("sequence",), "3"),
        (("id",), "order-1"),
        (("type",), "midtrans.payment.lost"),
        (("specversion",), "0.3"),
        (("dataschema",), "urn:midtrans-service:schema:payment:2"),
    ],
)
def test_another_shape_is_refused(path: tuple[str, ...], value: Any) -> None:
    event = json.loads(json.dumps(EVENT))
    part = event
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValidationError):
        check_event(event)


def test_a_field_that_is_missing_is_refused_and_one_too_many_is_not() -> None:
    for name in EVENT["data"]:
        less = {key: value for key, value in EVENT["data"].items() if key != name}
        assert not Draft202012Validator(schema_of("payment", 1)).is_valid(less), name
    more = {**EVENT, "traceparent": "x", "data": {**EVENT["data"], "added_later": 1}}
    Draft202012Validator(schema_of("payment-event", 1)).validate(more)
    with pytest.raises(ValidationError):
        check_event(more)


def test_the_words_are_those_of_the_code() -> None:
    schema = schema_of("payment", 1)
    assert schema["$id"] == DATA_SCHEMA
    assert schema["$defs"]["PaymentStatus"]["enum"] == list(PaymentStatus)
    assert schema["$defs"]["Outcome"]["enum"] == list(Outcome)
    assert len(TYPES) == len(PaymentStatus) + 1


def test_the_copies_in_docs_are_these() -> None:
    for name, document in documents().items():
        assert json.loads((DOCS / name).read_text(encoding="utf-8")) == document, f"{name}: run make docs"
