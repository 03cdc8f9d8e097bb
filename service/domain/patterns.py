"""Which events a consumer wants: exact names, or beginnings that end in ``*``."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from service.domain.merchant import NAME_PATTERN
from service.errors import RequestInvalid

EVERYTHING: Final = "*"
_TYPE: Final = re.compile(r"[A-Za-z0-9_.-]{0,120}\*?")


def matches(patterns: Iterable[str], value: str) -> bool:
    """Say whether one of *patterns* is *value*, or its beginning followed by ``*``."""
    return any(
        value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern for pattern in patterns
    )


def covers(patterns: Iterable[str], pattern: str) -> bool:
    """Say whether one of *patterns* matches all that *pattern* does."""
    return any(pattern == one or (one.endswith("*") and pattern.startswith(one[:-1])) for one in patterns)


def check_types(patterns: Sequence[str], *, field: str = "types") -> None:
    """Raise RequestInvalid for a pattern that no type of event could match."""
    for pattern in patterns:
        if not pattern or _TYPE.fullmatch(pattern) is None:
            raise RequestInvalid(
                field, f'{pattern!r} is not a type; use "midtrans.payment.settled" or "midtrans.*"'
            )


def check_merchants(patterns: Sequence[str], *, field: str = "merchants") -> None:
    """Raise RequestInvalid for what is neither a merchant's name nor ``*``."""
    for pattern in patterns:
        if pattern != EVERYTHING and NAME_PATTERN.fullmatch(pattern) is None:
            raise RequestInvalid(field, f'{pattern!r} is neither a merchant\'s name nor "*"')
