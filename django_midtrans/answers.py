"""What an HTTP answer of Midtrans means: the dict to return, or the error to raise.

Decided on the HTTP status first and on the body's ``status_code`` then, for the Core API answers most
errors with HTTP 200. 407 ("expired") is the good answer to ``expire`` and for an expired payment. Snap,
invoice, subscription and BIN have no ``status_code`` and other bodies. Sources:
docs.midtrans.com/reference/code-statuses, /code-4xx, /bin-api, /create-invoice, /update-subscription.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from django_midtrans.endpoints import Endpoint
from django_midtrans.exceptions import (
    MidtransAPIError,
    MidtransAuthenticationError,
    MidtransDuplicateOrderError,
    MidtransError,
    MidtransRateLimitError,
    MidtransTransportError,
    MidtransValidationError,
)
from django_midtrans.redaction import safe_text

EXPIRED = 407
_BIN_RATE_LIMIT = 409
_NO_CONTENT = 204
_HTTP_SUCCESS = range(200, 300)
_FIRST_ERROR = 400
_LONGEST_CODE = 6

_ERROR_OF: Mapping[int, type[MidtransError]] = {
    400: MidtransValidationError,
    401: MidtransAuthenticationError,
    406: MidtransDuplicateOrderError,
    429: MidtransRateLimitError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer as it came, before it is judged: what ``on_answer`` is given.

    *endpoint* is the method's name, *content* the body after HTTP's own encoding, *elapsed_s* the seconds
    from sending to the last byte. The content may hold customers' data and, for the card calls, tokens.
    """

    endpoint: str
    http_status: int
    content: bytes = field(repr=False)
    elapsed_s: float


def judge(
    endpoint: Endpoint,
    http_status: int,
    content: bytes,
    *,
    secrets: Sequence[str] = (),
) -> dict[str, Any] | MidtransError:
    """Return the body, or the error to raise; never raises itself, whatever *content* is.

    *secrets* are masked in the error's message.
    """
    body = _json_object(content)
    code = body_code(body) if body is not None else None
    if _is_success(http_status, code):
        if body is not None:
            return body
        if http_status == _NO_CONTENT and not endpoint.repeatable:
            return {}  # what was asked for is done and there is nothing to say about it
        return _unreadable(endpoint, http_status, content)
    return _error(endpoint, http_status, code, body, secrets=secrets)


def body_code(body: Mapping[str, Any]) -> int | None:
    """Return the body's ``status_code`` as a number (some have it as one), None without one."""
    code = body.get("status_code")
    if isinstance(code, str) and code.isascii() and code.strip().isdigit() and len(code) <= _LONGEST_CODE:
        return int(code)
    if isinstance(code, int | float) and not isinstance(code, bool) and 0 <= code < 10**_LONGEST_CODE:
        return int(code)
    return None


def _is_success(http_status: int, code: int | None) -> bool:
    if code == EXPIRED:
        return http_status in _HTTP_SUCCESS or http_status == EXPIRED
    return http_status in _HTTP_SUCCESS and (code is None or code < _FIRST_ERROR)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        value = _DECODER.decode(content.decode())
    except (ValueError, RecursionError):  # not UTF-8, not JSON, NaN, digits or levels without end
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _unreadable(endpoint: Endpoint, http_status: int, content: bytes) -> MidtransTransportError:
    size = f"{len(content)} bytes that are no JSON object" if content else "nothing"
    return MidtransTransportError(
        f"{endpoint.name}: unreadable answer (HTTP {http_status} with {size})", http_status=http_status
    )


def _error(
    endpoint: Endpoint,
    http_status: int,
    code: int | None,
    body: dict[str, Any] | None,
    *,
    secrets: Sequence[str],
) -> MidtransError:
    decisive = code if http_status in _HTTP_SUCCESS else http_status
    kind = _ERROR_OF.get(decisive or 0, MidtransAPIError)
    if decisive == _BIN_RATE_LIMIT and endpoint.name == "get_bin":
        kind = MidtransRateLimitError
    told = "; ".join(_texts(body)) if body else ""
    what = f"HTTP {http_status}" if code in (None, http_status) else f"HTTP {http_status}, status_code {code}"
    message = f"{endpoint.name}: {what}" + (f": {told}" if told else "")
    return kind(safe_text(message, secrets), code, http_status, body)


def _texts(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield what *body* says of the error, in each of the shapes of the several APIs."""
    for name in ("status_message", "validation_messages", "error_messages", "errors", "message"):
        value = body.get(name)
        for item in value if isinstance(value, list) else [value]:
            text = item.get("message") if isinstance(item, dict) else item
            if isinstance(text, str) and text:
                yield text
