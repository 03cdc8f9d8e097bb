"""What to do with a body that was posted: the whole judgement, in plain functions over bytes and keys.

The order of the checks is the documented one: JSON, shape and kind, dashboard test, signature. What comes before
(method, encoding, merchant, size and time) is the endpoint's.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django_midtrans.notification import (
    NotificationKind,
    NotJson,
    PaymentNotification,
    SignedBody,
    Unusable,
    kind_of,
    matching_key,
    parse_object,
    read_payment,
    read_signed,
)
from service.domain.answers import ANSWERS, Happened
from service.domain.merchant import Merchant, fingerprint
from service.domain.records import NewReceipt, Oddity, ReceiptState

UNKNOWN_MERCHANT: Final = "unknown"
"""What oddities and metrics call every merchant that is not set up: what strangers write costs no memory."""
KIND_UNKNOWN: Final = "kind_unknown"
"""Why a verified body of no known kind is parked."""
_NAMES: Final = {kind: kind.value for kind in NotificationKind}
_URL_OF: Final[Mapping[NotificationKind, str]] = {
    NotificationKind.PAY_ACCOUNT: "the pay account notification URL",
    NotificationKind.SUBSCRIPTION: "the recurring notification URL",
    NotificationKind.PAYOUT: "the notification URL of Iris (payouts)",
    NotificationKind.BI_SNAP: "the BI-SNAP notification URL",
}


class Keys(NamedTuple):
    """What verifies a merchant's notifications, and what tells its keys apart without showing them."""

    keys: tuple[str, ...]
    fingerprints: tuple[str, ...]

    @classmethod
    def of(cls, merchant: Merchant) -> "Keys":
        """Return every key that verifies, server keys first."""
        keys = merchant.keys_that_verify
        return cls(keys, tuple(fingerprint(key) for key in keys))


class Arrival(NamedTuple):
    """A request as far as it was read; *merchant* is a configured name or ``UNKNOWN_MERCHANT``."""

    merchant: str
    raw: bytes
    size: int
    received_at: datetime
    source_address: str
    path: str
    headers: Mapping[str, str]


class Refused(NamedTuple):
    """Not taken in: *detail* says what was wrong and how to mend it."""

    happened: Happened
    detail: str = ""
    kind: str = ""
    order_id: str = ""


class DashboardTest(NamedTuple):
    """Somebody pressed the test button in Midtrans' dashboard."""

    order_id: str
    verified: bool


Decision = NewReceipt | Refused | DashboardTest


def decide(arrival: Arrival, keys: Keys, *, new_id: Callable[[], UUID]) -> Decision:
    """Say what to do with a body that came whole; nothing is raised, whatever the body is."""
    try:
        body = parse_object(arrival.raw)
    except NotJson as error:
        return Refused(Happened.NOT_JSON, f"{error.detail}; the body must be one JSON object in UTF-8")
    kind = kind_of(body)
    if kind in _URL_OF:
        return Refused(Happened.KIND_NOT_ENABLED, _not_enabled(kind), kind)
    try:
        notification = read_payment(body) if kind is NotificationKind.PAYMENT else read_signed(body)
    except Unusable as error:
        return Refused(Happened.UNUSABLE, _unusable(kind, error), kind)
    return _judge(arrival, kind, notification, keys, new_id)


def _judge(
    arrival: Arrival,
    kind: NotificationKind,
    notification: PaymentNotification | SignedBody,
    keys: Keys,
    new_id: Callable[[], UUID],
) -> Decision:
    match = matching_key(notification, keys.keys)
    if notification.is_dashboard_test:
        return DashboardTest(notification.order_id, match is not None)
    if match is None:
        return Refused(Happened.SIGNATURE, "", kind, notification.order_id)
    index, form = match
    return _receipt(arrival, kind, notification, signed=(keys.fingerprints[index], form), receipt_id=new_id())


def _receipt(
    arrival: Arrival,
    kind: NotificationKind,
    notification: PaymentNotification | SignedBody,
    *,
    signed: tuple[str, str],
    receipt_id: UUID,
) -> NewReceipt:
    merchant, raw, _, received_at, source_address, path, headers = arrival
    payment = notification if isinstance(notification, PaymentNotification) else None
    return NewReceipt(
        id=receipt_id,
        merchant=merchant,
        kind=_NAMES[kind],
        digest=hashlib.sha256(raw).digest(),
        raw=raw,
        order_id=notification.order_id,
        transaction_id=payment.transaction_id if payment else None,
        transaction_status=payment.transaction_status if payment else None,
        payment_type=payment.payment_type if payment else None,
        received_at=received_at,
        source_address=source_address,
        path=path,
        headers=headers,
        key_fingerprint=signed[0],
        amount_form=signed[1],
        state=ReceiptState.WAITING if payment else ReceiptState.PARKED,
        reason=None if payment else KIND_UNKNOWN,
    )


def _not_enabled(kind: NotificationKind) -> str:
    return (
        f"this is a notification of kind '{kind}', which is not taken in here; in Midtrans' dashboard give "
        f"{_URL_OF[kind]} another address or none, and point only the payment notification URL here"
    )


def _unusable(kind: NotificationKind, error: Unusable) -> str:
    if kind is NotificationKind.PAYMENT:
        return f"{error.detail}; a payment notification cannot be used without it"
    return (
        f"{error.detail}; a payment notification has order_id, transaction_status, status_code, gross_amount "
        "and signature_key"
    )


def reconsider(oddity: Oddity, merchant: Merchant, *, new_id: Callable[[], UUID]) -> NewReceipt | None:
    """Return the receipt of a body that was answered 403 and that a key of *merchant* now verifies.

    None for one that still does not verify, and for one that was cut when it was kept.
    """
    if oddity.size != len(oddity.body):
        return None
    arrival = Arrival(
        merchant.name,
        oddity.body,
        oddity.size,
        oddity.received_at,
        oddity.source_address,
        oddity.path,
        oddity.headers,
    )
    decision = decide(arrival, Keys.of(merchant), new_id=new_id)
    if not isinstance(decision, NewReceipt):
        return None
    return decision._replace(answer=ANSWERS[Happened.SIGNATURE].status)
