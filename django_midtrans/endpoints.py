"""Every call that the clients make: method, path, what goes in, whether it may be repeated.

Both clients are built on this one description; each function here checks its arguments and returns the
``Call`` to send. Nothing is sent from here. What cannot be sent is a MidtransValidationError with
``http_status`` None. Source: docs.midtrans.com/reference; where the clients of others differ from it, the
documentation is followed.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from django_midtrans.exceptions import MidtransValidationError

Amount = int | str | Decimal
"""Whole rupiah: ``15000``, ``Decimal("15000.00")`` and ``"15000.00"`` are the same."""

Payload = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of the API. ``{}`` in *path* stands for the id."""

    name: str
    method: str
    path: str
    # Only what changes nothing is sent again by itself. The card calls are GETs too, but make a token each
    # time and carry the card number in their query: it should not travel more often than asked for.

    repeatable: bool = False
    with_server_key: bool = True  # the card calls show the client key in the query instead


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send. What could hold a card or a key stays out of the repr."""

    endpoint: Endpoint
    path: str = field(repr=False)
    query: str = field(default="", repr=False)
    body: bytes | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def _reads(name: str, path: str) -> Endpoint:
    return Endpoint(name, "GET", path, repeatable=True)


CHARGE = Endpoint("charge", "POST", "/v2/charge")
GET_STATUS = _reads("get_status", "/v2/{}/status")
GET_STATUS_B2B = _reads("get_status_b2b", "/v2/{}/status/b2b")
CANCEL = Endpoint("cancel", "POST", "/v2/{}/cancel")
EXPIRE = Endpoint("expire", "POST", "/v2/{}/expire")
CAPTURE = Endpoint("capture", "POST", "/v2/capture")
REFUND = Endpoint("refund", "POST", "/v2/{}/refund")
DIRECT_REFUND = Endpoint("direct_refund", "POST", "/v2/{}/refund/online/direct")
APPROVE = Endpoint("approve", "POST", "/v2/{}/approve")
DENY = Endpoint("deny", "POST", "/v2/{}/deny")
GET_CARD_TOKEN = Endpoint("get_card_token", "GET", "/v2/token", with_server_key=False)
REGISTER_CARD = Endpoint("register_card", "GET", "/v2/card/register", with_server_key=False)
POINT_INQUIRY = _reads("point_inquiry", "/v2/point_inquiry/{}")
GET_BIN = _reads("get_bin", "/v1/bins/{}")
CREATE_PAY_ACCOUNT = Endpoint("create_pay_account", "POST", "/v2/pay/account")
GET_PAY_ACCOUNT = _reads("get_pay_account", "/v2/pay/account/{}")
UNBIND_PAY_ACCOUNT = Endpoint("unbind_pay_account", "POST", "/v2/pay/account/{}/unbind")
CREATE_SUBSCRIPTION = Endpoint("create_subscription", "POST", "/v1/subscriptions")
GET_SUBSCRIPTION = _reads("get_subscription", "/v1/subscriptions/{}")
DISABLE_SUBSCRIPTION = Endpoint("disable_subscription", "POST", "/v1/subscriptions/{}/disable")
ENABLE_SUBSCRIPTION = Endpoint("enable_subscription", "POST", "/v1/subscriptions/{}/enable")
CANCEL_SUBSCRIPTION = Endpoint("cancel_subscription", "POST", "/v1/subscriptions/{}/cancel")
UPDATE_SUBSCRIPTION = Endpoint("update_subscription", "PATCH", "/v1/subscriptions/{}")
CREATE_INVOICE = Endpoint("create_invoice", "POST", "/v1/invoices")
GET_INVOICE = _reads("get_invoice", "/v1/invoices/{}")
VOID_INVOICE = Endpoint("void_invoice", "PATCH", "/v1/invoices/{}/void")

ENDPOINTS: Mapping[str, Endpoint] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Endpoint)
}


def with_id(endpoint: Endpoint, identifier: str) -> Call:
    """Return the call of an endpoint that needs nothing but an id."""
    return Call(endpoint, _path(endpoint, identifier))


def with_payload(endpoint: Endpoint, payload: Payload, identifier: str | None = None) -> Call:
    """Return the call that sends *payload* as it is, with *identifier* in the path if given."""
    if not isinstance(payload, Mapping):
        raise MidtransValidationError(f"{endpoint.name}: the payload must be a dict")
    path = endpoint.path if identifier is None else _path(endpoint, identifier)
    return Call(endpoint, path, body=_json(endpoint, payload))


def capture(transaction_id: str, gross_amount: Amount | None) -> Call:
    """Return the call that takes a reserved amount; None takes all of it."""
    _segment(CAPTURE, transaction_id)
    payload: dict[str, Any] = {"transaction_id": transaction_id}
    if gross_amount is not None:
        payload["gross_amount"] = _rupiah(CAPTURE, gross_amount)
    return with_payload(CAPTURE, payload)


def refund(endpoint: Endpoint, order_id: str, refund_key: str, amount: Amount | None, reason: str) -> Call:
    """Return a refund through *endpoint*; amount None gives all of it back. An empty reason is left out."""
    if not refund_key:
        raise MidtransValidationError(f"{endpoint.name}: a refund key is needed, it makes a repeat harmless")
    payload: dict[str, Any] = {"refund_key": refund_key}
    if amount is not None:
        payload["amount"] = _rupiah(endpoint, amount)
    if reason:
        payload["reason"] = reason
    return with_payload(endpoint, payload, order_id)


def card(endpoint: Endpoint, fields: Mapping[str, str | int], client_key: str) -> Call:
    """Return a call that shows *client_key* and the card's *fields* in its query."""
    texts = {name: str(value) for name, value in fields.items()}
    secrets = tuple(texts[name] for name in ("card_number", "card_cvv") if texts.get(name))
    try:
        query = urlencode({"client_key": client_key, **texts}, quote_via=quote, safe="")
    except UnicodeEncodeError:
        query = ""
    if not query:  # raised out here, for the first error's text shows the whole card number
        raise MidtransValidationError(f"{endpoint.name}: the card's fields must be text that can be sent")
    return Call(endpoint, endpoint.path, query, secrets=(*secrets, client_key))


def get_bin(bin_number: str) -> Call:
    """Return the look-up of a card's first digits; a whole card number is refused: paths are logged."""
    if not re.fullmatch("[0-9]{6,8}", str(bin_number)):
        raise MidtransValidationError("get_bin: a BIN is the first 6 to 8 digits of a card number")
    return with_id(GET_BIN, str(bin_number))


def create_invoice(payload: Payload) -> Call:
    """Return the call that makes an invoice, with a fresh idempotency key: Midtrans wants the header."""
    call = with_payload(CREATE_INVOICE, payload)
    return Call(call.endpoint, call.path, body=call.body, headers=(("X-Idempotency-Key", str(uuid.uuid4())),))


def void_invoice(invoice_id: str, void_reason: str) -> Call:
    """Return the call that voids an invoice. The documented body is empty; a given reason is sent."""
    if not void_reason:
        return with_id(VOID_INVOICE, invoice_id)
    return with_payload(VOID_INVOICE, {"void_reason": void_reason}, invoice_id)


def _path(endpoint: Endpoint, identifier: object) -> str:
    return endpoint.path.replace("{}", _segment(endpoint, identifier))


def _segment(endpoint: Endpoint, identifier: object) -> str:
    """Return *identifier* as one path segment; a bare ``/`` or ``#`` would ask for another page."""
    if not (isinstance(identifier, str) and identifier not in {"", ".", ".."}):
        raise MidtransValidationError(f"{endpoint.name}: an id must be text, and not empty, '.' or '..'")
    try:
        segment = quote(identifier, safe="")
    except UnicodeEncodeError:
        segment = ""
    if not segment:
        raise MidtransValidationError(f"{endpoint.name}: the id holds a lone surrogate, which cannot be sent")
    return segment


def _rupiah(endpoint: Endpoint, amount: Amount) -> int:
    """Return *amount* as the whole number that Midtrans wants; it refuses decimals, we refuse to round."""
    if isinstance(amount, str) and re.fullmatch(r"[0-9]{1,18}(\.0+)?", amount, re.ASCII):
        amount = int(amount.partition(".")[0])
    elif isinstance(amount, Decimal) and amount.is_finite() and amount == amount.to_integral_value():
        amount = int(amount)
    if isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
        raise MidtransValidationError(
            f"{endpoint.name}: an amount is a whole number of rupiah above 0, as int, Decimal or text"
        )
    return amount


def _json(endpoint: Endpoint, payload: Payload) -> bytes:
    try:
        return json.dumps(dict(payload), separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        pass  # raised below, so that no text of the payload hangs on the error
    raise MidtransValidationError(
        f"{endpoint.name}: the payload must be what JSON can hold: no Decimal, NaN, bytes or dates"
    )
