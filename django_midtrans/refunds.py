"""Refunds: one entry each, known by Midtrans' number or the merchant's key, confirmed by the bank later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from .values import (
    money_text,
    number_text,
    parse_money_text,
    parse_time_text_or_none,
    read_money,
    read_text,
    read_time,
    time_text_or_none,
)


@dataclass(frozen=True, slots=True)
class Refund:
    """One entry of ``refunds[]`` (docs.midtrans.com/reference/get-transaction-status)."""

    id: str | None
    """Midtrans' number for it as text: it passes 2**53."""
    key: str | None
    """The merchant's refund_key."""
    amount: Decimal
    method: str | None
    """``online`` or ``offline``, filled in about a day later."""
    reason: str | None
    created_at: datetime | None
    bank_confirmed_at: datetime | None
    """None until the bank confirmed it, which has a notification of its own."""


def read_refunds(value: object) -> tuple[tuple[Refund, ...], bool]:
    """Return the readable refunds in a body's ``refunds``, and whether those are all of them."""
    entries = value if isinstance(value, list) else []
    refunds = tuple(refund for refund in map(_read_refund, entries) if refund is not None)
    return refunds, len(refunds) == len(entries)


def _read_refund(entry: object) -> Refund | None:
    if not isinstance(entry, Mapping):
        return None
    amount = read_money(entry.get("refund_amount"))
    if amount is None:
        return None
    number = read_text(entry, "refund_chargeback_id") or number_text(entry.get("refund_chargeback_id"))
    return Refund(
        id=number or read_text(entry, "refund_chargeback_uuid"),
        key=read_text(entry, "refund_key"),
        amount=amount,
        method=read_text(entry, "refund_method"),
        reason=read_text(entry, "reason"),
        created_at=read_time(entry.get("created_at")),
        bank_confirmed_at=read_time(entry.get("bank_confirmed_at")),
    )


def confirmed(refunds: Sequence[Refund]) -> int:
    """Return how many of *refunds* the bank confirmed."""
    return sum(refund.bank_confirmed_at is not None for refund in refunds)


def merge_refunds(known: Sequence[Refund], seen: Sequence[Refund]) -> tuple[Refund, ...]:
    """Return *known* with the detail of *seen*; what *seen* leaves out stays, a confirmation too."""
    merged = list(known)
    for refund, position in _pairs(known, seen):
        if position is None:
            merged.append(refund)
        else:
            merged[position] = _merge_refund(known[position], refund)
    return tuple(merged)


def takes_back_confirmation(known: Sequence[Refund], seen: Sequence[Refund]) -> bool:
    """Say whether *seen* shows as unconfirmed what the bank is known to have confirmed."""
    return any(
        position is not None
        and refund.bank_confirmed_at is None
        and known[position].bank_confirmed_at is not None
        for refund, position in _pairs(known, seen)
    )


def _pairs(known: Sequence[Refund], seen: Sequence[Refund]) -> list[tuple[Refund, int | None]]:
    """Give each of *seen* the position of the same one in *known*; no position is given twice."""
    free = dict(enumerate(known))
    pairs: list[tuple[Refund, int | None]] = []
    for refund in seen:
        position = _position(free, refund)
        if position is not None:
            del free[position]
        pairs.append((refund, position))
    return pairs


def _position(free: Mapping[int, Refund], wanted: Refund) -> int | None:
    """Look by Midtrans' number, then by the merchant's key, then by time and amount where one has neither."""
    for is_same in (_same_id, _same_key, _same_detail):
        for position, refund in free.items():
            if is_same(refund, wanted):
                return position
    return None


def _same_id(one: Refund, other: Refund) -> bool:
    return one.id is not None and one.id == other.id


def _same_key(one: Refund, other: Refund) -> bool:
    return one.key is not None and one.key == other.key and not (one.id and other.id)


def _same_detail(one: Refund, other: Refund) -> bool:
    if (one.id and other.id) or (one.key and other.key):
        return False
    return (one.created_at, one.amount) == (other.created_at, other.amount)


def _merge_refund(known: Refund, seen: Refund) -> Refund:
    return Refund(
        id=seen.id or known.id,
        key=seen.key or known.key,
        amount=seen.amount,
        method=seen.method or known.method,
        reason=seen.reason or known.reason,
        created_at=seen.created_at or known.created_at,
        bank_confirmed_at=seen.bank_confirmed_at or known.bank_confirmed_at,
    )


def refund_to_dict(refund: Refund, currency: str) -> dict[str, Any]:
    """Return *refund* as events show it and states keep it."""
    return {
        "id": refund.id,
        "key": refund.key,
        "amount": {"value": money_text(refund.amount), "currency": currency},
        "method": refund.method,
        "reason": refund.reason,
        "created_at": time_text_or_none(refund.created_at),
        "bank_confirmed_at": time_text_or_none(refund.bank_confirmed_at),
    }


def refund_from_dict(data: Mapping[str, Any]) -> Refund:
    """Return what ``refund_to_dict`` wrote; raise KeyError, TypeError or ValueError for anything else."""
    return Refund(
        id=data["id"],
        key=data["key"],
        amount=parse_money_text(data["amount"]["value"]),
        method=data["method"],
        reason=data["reason"],
        created_at=parse_time_text_or_none(data["created_at"]),
        bank_confirmed_at=parse_time_text_or_none(data["bank_confirmed_at"]),
    )
