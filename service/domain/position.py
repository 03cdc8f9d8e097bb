"""Places in the log as callers write them: positions, the words ``beginning`` and ``now``, and times."""

import re
from datetime import datetime
from typing import Final, Literal

from service.errors import PositionGone, RequestInvalid

Place = int | datetime | Literal["beginning", "now"]
"""Where to begin reading: after a position, at a time, before everything, or after everything."""

_POSITION: Final = re.compile(r"([0-9A-Za-z_]{1,64})-([0-9]{1,18})")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FORMS: Final = 'give "beginning", "now", a position as answered by this service, or an RFC 3339 time'


def format_position(epoch: str, number: int) -> str:
    """Return the text by which callers name place *number* of the log: opaque to them."""
    return f"{epoch}-{number}"


def parse_position(text: str, epoch: str, *, field: str = "position") -> int:
    """Return the number that *text* names.

    Raises RequestInvalid, naming *field*, when it is no position, and PositionGone when it is one of another
    epoch: the log there was another one, and its numbers mean nothing here.
    """
    found = _POSITION.fullmatch(text)
    if found is None:
        raise RequestInvalid(field, "is not a position as answered by this service")
    if found[1] != epoch:
        raise PositionGone(text, epoch)
    return int(found[2])


def parse_place(text: str, epoch: str, *, field: str) -> Place:
    """Return where *text* says to begin; raise RequestInvalid or PositionGone as ``parse_position`` does."""
    if text == "beginning":
        return "beginning"
    if text == "now":
        return "now"
    if _DATE.match(text):
        return _parse_time(text, field)
    if _POSITION.fullmatch(text) is None:
        raise RequestInvalid(field, _FORMS)
    return parse_position(text, epoch, field=field)


def _parse_time(text: str, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestInvalid(field, _FORMS) from error
    if moment.tzinfo is None:
        raise RequestInvalid(field, 'the time needs a zone: "2026-11-22T03:04:05Z"')
    return moment
