"""Keys, card numbers and CVVs stay out of messages and logs.

httpx logs each URL at INFO. The query of the card calls is therefore hidden from the URL's text
(``transport``); this is the second wall: while a call runs, its secrets are masked in whatever httpx,
httpcore or the HTTP/2 libraries log, for example in the headers of an answer that repeats the query.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextvars import ContextVar
from urllib.parse import quote

MASK = "[hidden]"
_LONGEST_MESSAGE = 500

in_flight: ContextVar[tuple[str, ...]] = ContextVar("django_midtrans_in_flight", default=())
"""The secrets of the call that this thread or task is making."""

_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "hpack.hpack",
    "hpack.table",
)
_LIKE_A_KEY = re.compile(r"(?:SB-)?(?:Mid|VT)-(?:server|client)-[\w/+=-]+", re.IGNORECASE)
# 13 to 19 digits, perhaps in groups, of the first digits that card schemes use
_LIKE_A_CARD = re.compile(r"(?<![0-9])[2-6](?:[ -]?[0-9]){12,18}(?![0-9])")


def safe_text(text: str, secrets: Sequence[str]) -> str:
    """Return *text* fit for a message: one short line without *secrets*, keys and card numbers."""
    line = masked(" ".join(text.split()), secrets)  # before it is cut: half a key is still a leak
    line = _LIKE_A_KEY.sub(MASK, line)
    line = _LIKE_A_CARD.sub(lambda match: MASK if _luhn(match[0]) else match[0], line)
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= _LONGEST_MESSAGE else f"{line[:_LONGEST_MESSAGE]}…"


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return *text* with every one of *secrets* masked, also where it is percent-encoded."""
    for secret in secrets:
        for form in {secret, quote(secret, safe="")}:
            # digits only as a whole number: a CVV of 123 is no reason to mask the middle of 71234
            pattern = rf"(?<![0-9]){form}(?![0-9])" if form.isdigit() else re.escape(form)
            text = re.sub(pattern, MASK, text)
    return text


def hide_secrets_in_logs() -> None:
    """Put the filter on the loggers of the libraries below us; doing so again changes nothing."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)


class _MaskInFlight(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        secrets = in_flight.get()
        if secrets:
            text = record.getMessage()
            hidden = masked(text, secrets)
            if hidden != text:
                record.msg, record.args = hidden, ()
        return True


_FILTER = _MaskInFlight()


def _luhn(text: str) -> bool:
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
