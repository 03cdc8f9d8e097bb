"""Cards: what a number is worth here, and the tokens that stand for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

OUTCOMES: Mapping[str, str] = {  # first four digits → what the bank and the fraud check say
    "4811": "accept",
    "5211": "accept",
    "4511": "challenge",
    "4911": "deny",
    "5111": "deny",
    "4611": "fraud",
}
_TOKEN = re.compile(r"(?P<first>\d{6,8})-(?P<last>\d{4})-.+")
_SAVED_TOKEN = re.compile(r"(?P<first>\d{6})[A-Za-z]\w*?(?P<last>\d{4})")


def read_token(token_id: object) -> tuple[str, str] | None:
    """Return ``(masked_card, outcome)`` of a one-time or saved token, None for anything else.

    A number without an entry in ``OUTCOMES`` is accepted.
    """
    text = token_id if isinstance(token_id, str) else ""
    found = _TOKEN.fullmatch(text) or _SAVED_TOKEN.fullmatch(text)
    if found is None:
        return None
    return f"{found['first']}-{found['last']}", OUTCOMES.get(found["first"][:4], "accept")


def make_token(card_number: str, suffix: str) -> str:
    """Return the token of *card_number*: its first eight and last four digits, then *suffix*."""
    return f"{card_number[:8]}-{card_number[-4:]}-{suffix}"


def problems_of_card(query: Mapping[str, str], now: datetime) -> list[str]:
    """Say what ``GET /v2/token`` would refuse about the card."""
    number = query.get("card_number", "")
    problems = []
    if not number.isascii() or not number.isdigit() or not passes_luhn(number):
        problems.append("card_number is not a valid card number")
    if not re.fullmatch(r"[0-9]{3,4}", query.get("card_cvv", "")):
        problems.append("card_cvv is not valid")
    month, year = query.get("card_exp_month", ""), query.get("card_exp_year", "")
    if not re.fullmatch(r"0?[1-9]|1[0-2]", month) or not re.fullmatch(r"20[0-9]{2}", year):
        problems.append("card_exp_month or card_exp_year is not valid")
    elif (int(year), int(month)) < (now.year, now.month):
        problems.append("the card has expired")
    return problems


def passes_luhn(number: str) -> bool:
    """Tell whether the digits of *number* carry a right check digit."""
    if len(number) not in range(12, 20):
        return False
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(number))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0  # noqa: PLR2004 - digit sum
