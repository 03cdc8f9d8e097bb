"""The bodies Midtrans sends, made from a transaction: answers, notifications, errors.

Times are Asia/Jakarta's without a zone, money is text with two decimals, what is not set is left out rather
than null. The ``status_code`` is the one of the body at hand: an expiry is notified with 202 while its status
is 407, and each signs its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from django_midtrans.testing.transaction import Refund, Transaction

Body = dict[str, Any]
JAKARTA = timezone(timedelta(hours=7))  # no daylight saving time; the bodies do not say the zone

_NOTIFIED_CODE: Mapping[str, str] = {
    "pending": "201",
    "deny": "202",
    "cancel": "202",
    "expire": "202",
    "failure": "202",
}
_FOUND_CODE: Mapping[str, str] = {"pending": "201", "expire": "407", "deny": "202", "failure": "202"}
_UNPAID = frozenset({"pending", "deny", "cancel", "expire", "failure", "authorize"})


def local_time(moment: datetime) -> str:
    """Return an aware *moment* as Midtrans writes it: Jakarta's time, no offset."""
    return moment.astimezone(JAKARTA).strftime("%Y-%m-%d %H:%M:%S")


def money(amount: Decimal) -> str:
    """Return *amount* with two decimals, the text that is signed."""
    return f"{amount:.2f}"


def signature(order_id: str, status_code: str, gross_amount: str, server_key: str) -> str:
    """Return Midtrans' ``signature_key``: lower-case hex SHA-512 over the plain concatenation."""
    return hashlib.sha512(f"{order_id}{status_code}{gross_amount}{server_key}".encode()).hexdigest()


def notification(payment: Transaction, *, merchant_id: str, server_key: str) -> Body:
    """Return the signed body that is posted for the payment's present state."""
    code = "201" if payment.challenged else _NOTIFIED_CODE.get(payment.status, "200")
    body = {
        **_common(payment, merchant_id, code, "midtrans payment notification"),
        **_state(payment),
        **payment.echoed,
        "signature_key": signature(payment.order_id, code, money(payment.gross_amount), server_key),
    }
    if payment.status == "expire" and payment.channel == "bni":
        body.pop("va_numbers", None)  # an expired bank transfer may name no bank at all
    return body


def status(payment: Transaction, *, merchant_id: str, server_key: str, signs_charged: bool = False) -> Body:
    """Return what GET status answers.

    A swapped channel (DANA, BI-SNAP virtual accounts) names its transaction_id as order_id. Which of the two
    its signature covers is not documented: *signs_charged* takes the charge's order_id.
    """
    code = "201" if payment.challenged else _FOUND_CODE.get(payment.status, "200")
    word = payment.status
    if payment.payment_type == "dana" and payment.status == "pending":
        code, word = "200", "PENDING"  # as DANA's page shows it
    body = _answer(payment, merchant_id, code, "Success, transaction is found")
    body.update(_state(payment), transaction_status=word, **payment.echoed)
    if word == "PENDING":
        body.update(payment.offered)
    signed_id = payment.order_id if signs_charged else body["order_id"]
    body["signature_key"] = signature(signed_id, code, money(payment.gross_amount), server_key)
    return body


def charge(payment: Transaction, *, merchant_id: str) -> Body:
    """Return what POST charge answers; no answer to a charge carries a signature."""
    code = "201" if payment.challenged else _NOTIFIED_CODE.get(payment.status, "200")
    denied = payment.status == "deny"
    message = "Denied by the bank" if denied else f"Success, {payment.payment_type} transaction is created"
    return {
        **_common(payment, merchant_id, code, message),
        **_state(payment),
        **payment.offered,
    }


def action(payment: Transaction, *, merchant_id: str, code: str, message: str) -> Body:
    """Return what cancel, expire, capture, approve and deny answer."""
    return {**_answer(payment, merchant_id, code, message), **payment.details}


def refused_action(payment: Transaction, *, merchant_id: str, status_word: str) -> Body:
    """Return the bank's no to a capture or refund: 202, with the word that this answer gives the payment."""
    body = action(payment, merchant_id=merchant_id, code="202", message="Denied by the bank")
    body.update(
        transaction_status=status_word,
        channel_response_code="01",
        channel_response_message="Refer to the issuer",
    )
    return body


def refunded(payment: Transaction, refund: Refund, *, merchant_id: str) -> Body:
    """Return what both refund calls answer; ``refund_amount`` is this refund's own."""
    return {
        **_answer(payment, merchant_id, "200", "Success, refund request is approved"),
        "refund_chargeback_id": refund.chargeback_id,
        "refund_chargeback_uuid": refund.chargeback_uuid,
        "refund_amount": money(refund.amount),
        "refund_key": refund.key,
    }


def error(code: str, message: str, request_id: str, problems: list[str] | None = None) -> Body:
    """Return Core API's error body; it comes with HTTP 200 for all but a wrong key."""
    body: Body = {"status_code": code, "status_message": message, "id": request_id}
    if problems is not None:
        body["validation_messages"] = problems
    return body


def _answer(payment: Transaction, merchant_id: str, code: str, message: str) -> Body:
    body = _common(payment, merchant_id, code, message)
    if payment.swapped:
        body["order_id"] = payment.transaction_id
    return body


def _common(payment: Transaction, merchant_id: str, code: str, message: str) -> Body:
    body = {
        "status_code": code,
        "status_message": message,
        "transaction_id": payment.transaction_id,
        "order_id": payment.order_id,
        "merchant_id": merchant_id,
        "gross_amount": money(payment.gross_amount),
        "currency": "IDR",
        "payment_type": payment.payment_type,
        "transaction_time": local_time(payment.transaction_time),
        "transaction_status": payment.status,
    }
    if payment.fraud_status is not None:
        body["fraud_status"] = payment.fraud_status
    return body


def _state(payment: Transaction) -> Body:
    """Return the fields that depend on the payment type and on how far the payment came."""
    body: Body = dict(payment.details)
    if payment.settlement_time is not None or payment.status not in _UNPAID:
        body.update(payment.when_paid)
    if payment.status == "deny" and payment.fraud_status == "accept" and payment.settlement_time is None:
        body.update(payment.when_denied)
    if payment.expiry_time is not None:
        body["expiry_time"] = local_time(payment.expiry_time)
    if payment.settlement_time is not None:
        body["settlement_time"] = local_time(payment.settlement_time)
    if payment.payment_type == "gopay" and payment.status == "expire":
        body["payment_option_type"] = "GOPAY_WALLET"
    if payment.refunds:
        body["refund_amount"] = money(payment.refunded)
        body["refunds"] = [_refund(refund) for refund in payment.refunds]
    return body


def _refund(refund: Refund) -> Body:
    body: Body = {
        "refund_chargeback_id": refund.chargeback_id,
        "refund_chargeback_uuid": refund.chargeback_uuid,
        "refund_amount": money(refund.amount),
        "created_at": local_time(refund.created_at),
        "refund_key": refund.key,
    }
    if refund.reason is not None:
        body["reason"] = refund.reason
    if refund.bank_confirmed_at is not None:
        body["refund_method"] = refund.method
        body["bank_confirmed_at"] = local_time(refund.bank_confirmed_at)
    return body
