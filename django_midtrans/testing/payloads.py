"""Charge payloads by short names: the part that says how the customer pays."""

from __future__ import annotations

from typing import Any

from django_midtrans.testing.charging import STORES, VA_BANKS

CARD_TOKENS = {
    "card": "48111111-1114-simulator",
    "card-challenge": "45111111-1117-simulator",
    "card-deny": "49111111-1113-simulator",
}


def payload_of(kind: str) -> dict[str, Any]:
    """Return the part of a charge's payload that says how to pay.

    *kind* is a bank of a virtual account, ``mandiri``, a store, a payment type, or ``card``, ``card-challenge``
    or ``card-deny``, each with ``-3ds`` or ``-authorize`` where wanted. An unknown one is taken for a payment type.
    """
    if kind in STORES:
        return {"payment_type": "cstore", "cstore": {"store": kind}}
    if kind == "mandiri":
        return {"payment_type": "echannel", "echannel": {"bill_info1": "Payment", "bill_info2": "Online"}}
    if kind in VA_BANKS:
        return {"payment_type": "bank_transfer", "bank_transfer": {"bank": kind}}
    return _card(kind) if kind.startswith("card") else {"payment_type": kind}


def charge_of(kind: str, order_id: str, amount_idr: int) -> dict[str, Any]:
    """Return a whole payload for ``Account.charge``."""
    details = {"order_id": order_id, "gross_amount": amount_idr}
    return {**payload_of(kind), "transaction_details": details}


def _card(kind: str) -> dict[str, Any]:
    name = kind.removesuffix("-3ds").removesuffix("-authorize")
    card: dict[str, Any] = {"token_id": CARD_TOKENS.get(name, "")}
    if kind.endswith("-3ds"):
        card["authentication"] = True
    if kind.endswith("-authorize"):
        card["type"] = "authorize"
    return {"payment_type": "credit_card", "credit_card": card}
