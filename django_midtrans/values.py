"""Money, times and text as Midtrans writes them, read exactly or not at all."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from math import isfinite
from typing import Any, Final

JAKARTA: Final = timezone(timedelta(hours=7), "GMT+7")
"""Midtrans' times are GMT+7 and do not say so (GET status page). There is no daylight saving."""

# More than two decimals are refused, not rounded: "100.000" may be a hundred thousand in Indonesian writing.
_MONEY: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,2})?")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_UTC_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_DEEPEST: Final = 32
_LONGEST_NUMBER: Final = 64  # a longer one is nobody's number, and costs much to convert
_CENT: Final = Decimal("0.01")


class JsonNumber(str):
    """A JSON number as its source text: the bytes that were signed survive. ``"10000"`` is not this."""

    __slots__ = ()


def number_text(value: object) -> str | None:
    """Return *value*'s text when it is a number, as written where that is known; else None."""
    if isinstance(value, JsonNumber):
        return str.__str__(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return None


def read_money(value: object) -> Decimal | None:
    """Return a two-decimal amount for text or a number; None for all that is not plainly an amount.

    Refused: NaN, infinity, exponents, signs, spaces, more than two decimals.
    """
    text = value if type(value) is str else number_text(value)
    if text is None or _MONEY.fullmatch(text) is None:
        return None
    return Decimal(text).quantize(_CENT)


def money_text(amount: Decimal) -> str:
    """Return *amount* with exactly two decimals, as everywhere outside."""
    return f"{amount:.2f}"


def parse_money_text(text: str) -> Decimal:
    """Return the amount that ``money_text`` wrote; raise ValueError for other text."""
    amount = read_money(text)
    if amount is None:
        raise ValueError("not an amount with two decimals")
    return amount


def read_time(value: object) -> datetime | None:
    """Return the UTC moment of Midtrans' ``YYYY-MM-DD HH:MM:SS``, which is GMT+7; None for anything else."""
    if type(value) is not str or _TIME.fullmatch(value) is None:
        return None
    try:
        return datetime.fromisoformat(value).replace(tzinfo=JAKARTA).astimezone(UTC)
    except (ValueError, OverflowError):  # a 13th month; the first hours of year 1
        return None


def whole_second(moment: datetime) -> datetime:
    """Return *moment* in UTC, cut to the second; raise ValueError when it has no zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC).replace(microsecond=0)


def time_text(moment: datetime) -> str:
    """Return *moment* in UTC with ``Z``, cut to the second; raise ValueError when it has no zone."""
    return whole_second(moment).replace(tzinfo=None).isoformat() + "Z"


def time_text_or_none(moment: datetime | None) -> str | None:
    """Return ``time_text``, or None for None."""
    return None if moment is None else time_text(moment)


def parse_time_text(text: str) -> datetime:
    """Return the moment that ``time_text`` wrote; raise ValueError for other text."""
    if _UTC_TIME.fullmatch(text) is None:
        raise ValueError("not a UTC time to the second with Z")
    return datetime.fromisoformat(text)


def parse_time_text_or_none(text: str | None) -> datetime | None:
    """Return ``parse_time_text``, or None for None."""
    return None if text is None else parse_time_text(text)


def is_storable(text: str) -> bool:
    """Say whether *text* has neither NUL (PostgreSQL refuses it) nor a lone surrogate (UTF-8 does)."""
    return text.isprintable() or _UNSTORABLE.search(text) is None  # neither of them is printable


def storable(text: str) -> str:
    """Return *text* with what no database takes replaced by U+FFFD."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def read_text(body: Mapping[str, Any], name: str) -> str | None:
    """Return the storable text under *name*; None when it is absent, empty or no text."""
    value = body.get(name)
    return storable(value) if type(value) is str and value else None


def plain_json(value: object, *, depth: int = _DEEPEST) -> Any:
    """Return *value* as JSON that can always be written and stored: numbers finite, text storable.

    What lies deeper than *depth*, and what is no JSON, becomes None.
    """
    if depth > 0 and isinstance(value, Mapping):
        return {storable(str(key)): plain_json(item, depth=depth - 1) for key, item in value.items()}
    if depth > 0 and isinstance(value, list | tuple):
        return [plain_json(item, depth=depth - 1) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: object) -> str | float | None:
    if isinstance(value, JsonNumber):
        return _plain_number(str.__str__(value))
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, int) else None  # bool is an int


def _plain_number(text: str) -> float | str:
    if len(text) > _LONGEST_NUMBER:
        return text
    number = int(text) if text.removeprefix("-").isdecimal() else float(text)
    return number if isfinite(number) else text
