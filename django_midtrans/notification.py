"""What Midtrans posts, parsed strictly, told apart by shape; the signed text survives.

Sources: docs.midtrans.com/docs/https-notification-webhooks for fields and kinds; whether it is really from
Midtrans says ``matching_key``, and what became of the payment only GET status.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from .parsing import NotificationMalformed, NotJson, parse_object
from .signature import signature_matches
from .values import JsonNumber, is_storable, money_text, read_money

__all__ = [
    "JsonNumber",
    "NotJson",
    "NotificationKind",
    "NotificationMalformed",
    "PaymentNotification",
    "SignedBody",
    "Unusable",
    "kind_of",
    "matching_key",
    "parse_object",
    "read_payment",
    "read_signed",
]

MAX_TEXT: Final = 255
"""Longest text in a field that we use. Midtrans' own ids stay under 80, its signatures are 128."""
DASHBOARD_TEST_PREFIX: Final = "payment_notif_test_"
# The signed text has no separators: digits moved from one field to the next leave the signature as it is. Written
# as Midtrans writes them, the three fields can be put together in one way only, but for rare amounts.
_STATUS_CODE: Final = re.compile(r"[1-9][0-9]{2}")
_NO_BEGINNING: Final = re.compile(r"0[0-9]|\.")


class Unusable(NotificationMalformed):
    """A JSON object that we cannot use.

    Reasons: missing_field, wrong_type, empty_field, bad_text, too_long, bad_code, bad_amount.
    """


class NotificationKind(StrEnum):
    """What a body is about, by its shape."""

    PAYMENT = "payment"
    """A payment; also of invoices and Payment Links."""
    PAY_ACCOUNT = "pay_account"
    """A GoPay account linked or unlinked."""
    SUBSCRIPTION = "subscription"
    """A subscription made, or charged; never signed."""
    PAYOUT = "payout"
    """Iris: money out, or a top-up."""
    BI_SNAP = "bi_snap"
    """The national standard's payment and linking notifications."""
    UNKNOWN = "unknown"
    """None of these."""


class Signed(Protocol):
    """What a payment signature covers."""

    @property
    def order_id(self) -> str: ...
    @property
    def status_code(self) -> str: ...
    @property
    def gross_amounts(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def signature_key(self) -> str: ...


class SignedBody(NamedTuple):
    """A body of no known kind that carries the fields of a payment signature."""

    order_id: str
    status_code: str
    gross_amounts: tuple[tuple[str, str], ...]
    """The texts that may have been signed, each with its form: ``text``; ``source`` and ``two_decimals``."""
    signature_key: str
    is_dashboard_test: bool
    body: Mapping[str, Any]


class PaymentNotification(NamedTuple):
    """A payment notification whose fields have the right types. Nothing here is proven yet."""

    order_id: str
    transaction_id: str | None
    transaction_status: str
    payment_type: str | None
    status_code: str
    gross_amounts: tuple[tuple[str, str], ...]
    """The texts that may have been signed, each with its form: ``text``; ``source`` and ``two_decimals``."""
    signature_key: str
    merchant_id: str | None
    is_dashboard_test: bool
    """The dashboard's test button sent it: no such transaction exists."""
    body: Mapping[str, Any]


def kind_of(body: Mapping[str, Any]) -> NotificationKind:
    """Say what *body* is about by the names of its fields; their types are the readers' business."""
    if "signature_key" in body:
        if "order_id" in body and "transaction_status" in body:
            return NotificationKind.PAYMENT
        if "account_id" in body and "account_status" in body and "order_id" not in body:
            return NotificationKind.PAY_ACCOUNT
        return NotificationKind.UNKNOWN
    return _unsigned_kind(body)


def _unsigned_kind(body: Mapping[str, Any]) -> NotificationKind:
    if _is_subscription(body):
        return NotificationKind.SUBSCRIPTION
    if any(
        name in body for name in ("originalReferenceNo", "originalPartnerReferenceNo", "virtualAccountNo")
    ):
        return NotificationKind.BI_SNAP
    details = body.get("additionalInfo")
    if isinstance(details, Mapping) and "accountStatus" in details:
        return NotificationKind.BI_SNAP
    if "transaction_status" not in body and _is_payout(body):
        return NotificationKind.PAYOUT
    return NotificationKind.UNKNOWN


def _is_subscription(body: Mapping[str, Any]) -> bool:
    event = body.get("event_name")
    if type(event) is str and event.startswith("subscription."):
        return True
    return "transaction_id" not in body and body.keys() >= {
        "id",
        "name",
        "status",
        "schedule",
        "amount",
        "token",
    }


def _is_payout(body: Mapping[str, Any]) -> bool:
    if body.keys() >= {"reference_no", "amount", "status"}:
        return True
    return body.get("status") == "topup" and body.keys() >= {"transaction_id", "order_id", "gross_amount"}


def read_payment(body: Mapping[str, Any]) -> PaymentNotification:
    """Return *body* as a payment notification; raise Unusable naming the field that does not fit."""
    return PaymentNotification(
        order_id=_required_text(body, "order_id"),
        transaction_id=_optional_text(body, "transaction_id", strict=True),
        transaction_status=_required_text(body, "transaction_status"),
        payment_type=_optional_text(body, "payment_type"),
        status_code=_status_code(body),
        gross_amounts=_gross_amounts(body),
        signature_key=_required_text(body, "signature_key"),
        merchant_id=_optional_text(body, "merchant_id"),
        is_dashboard_test=_is_dashboard_test(body),
        body=body,
    )


def read_signed(body: Mapping[str, Any]) -> SignedBody:
    """Return what a signature covers in *body* of no known kind; raise Unusable where it is not all there."""
    return SignedBody(
        order_id=_required_text(body, "order_id"),
        status_code=_status_code(body),
        gross_amounts=_gross_amounts(body),
        signature_key=_required_text(body, "signature_key"),
        is_dashboard_test=_is_dashboard_test(body),
        body=body,
    )


def matching_key(notification: Signed, keys: Sequence[str]) -> tuple[int, str] | None:
    """Return the index of the key that signed *notification* and the form of the amount; None if none did.

    Each candidate is compared in constant time; an empty key never matches, since anyone could sign with it.
    """
    for form, amount in notification.gross_amounts:
        for index, key in enumerate(keys):
            if signature_matches(
                notification.order_id, notification.status_code, amount, notification.signature_key, key
            ):
                return index, form
    return None


def _required_text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if type(value) is not str:
        _refuse_type(body, name, "text")
    # What nearly every field is, without a call more: printable, so neither NUL nor a lone surrogate.
    return value if 0 < len(value) <= MAX_TEXT and value.isprintable() else _usable(value, name)


def _optional_text(body: Mapping[str, Any], name: str, *, strict: bool = False) -> str | None:
    value = body.get(name)
    if type(value) is str and value:
        return value if len(value) <= MAX_TEXT and value.isprintable() else _usable(value, name)
    if strict and value is not None and value != "":
        _refuse_type(body, name, "text")
    return None


def _text_or_number(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if isinstance(value, JsonNumber):
        return _usable(str.__str__(value), name)
    if type(value) is not str:
        _refuse_type(body, name, "text or a number")
    return _usable(value, name)


def _status_code(body: Mapping[str, Any]) -> str:
    text = _text_or_number(body, "status_code")
    if _STATUS_CODE.fullmatch(text) is None:
        raise Unusable("bad_code", "status_code is not three digits")
    return text


def _gross_amounts(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    text = _text_or_number(body, "gross_amount")
    if _NO_BEGINNING.match(text):
        raise Unusable("bad_amount", "gross_amount begins with a zero too many, or with its point")
    if not isinstance(body["gross_amount"], JsonNumber):
        return (("text", text),)
    amount = read_money(text)
    if amount is None or money_text(amount) == text:
        return (("source", text),)
    return (("source", text), ("two_decimals", money_text(amount)))


def _refuse_type(body: Mapping[str, Any], name: str, wanted: str) -> NoReturn:
    if name not in body:
        raise Unusable("missing_field", f"{name} is missing")
    raise Unusable("wrong_type", f"{name} is not {wanted}")


def _usable(text: str, name: str) -> str:
    if not text:
        raise Unusable("empty_field", f"{name} is empty")
    if len(text) > MAX_TEXT:
        raise Unusable("too_long", f"{name} is longer than {MAX_TEXT} characters")
    if not is_storable(text):
        raise Unusable("bad_text", f"{name} holds NUL or a lone surrogate")
    return text


def _is_dashboard_test(body: Mapping[str, Any]) -> bool:
    order_id: str = body["order_id"]
    return order_id.startswith(DASHBOARD_TEST_PREFIX)
