"""What can go wrong when talking to Midtrans.

::

    MidtransError
    ├── MidtransAPIError               any other 3xx, 4xx, 5xx
    │   └── MidtransTransportError     no answer, or one that cannot be read: it may or may not have been done
    ├── MidtransAuthenticationError    401: wrong key, or the other environment's
    ├── MidtransValidationError        400, or refused here before any call
    ├── MidtransDuplicateOrderError    406: order_id or refund_key was used before
    ├── MidtransRateLimitError         429, and 409 of the BIN API
    ├── MidtransSignatureError         a notification that Midtrans did not sign
    └── MidtransConfigurationError     no usable key or setting

No message holds a key, a card number or a CVV.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MidtransError(Exception):
    """The root: whatever this package raises on purpose.

    ``status_code`` is Midtrans' own code from the body as a number, None where the body has none;
    ``http_status`` is that of the HTTP answer, None when there was no answer. They differ: the Core API
    answers business errors with HTTP 200. ``data`` is the answer's body, ``{}`` when it is no JSON object:
    it is as Midtrans wrote it, so do not log it. ``retry_after_s`` are the seconds that the answer's
    Retry-After asked for, or None.
    """

    def __init__(
        self,
        message: str = "",
        status_code: int | None = None,
        http_status: int | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.http_status = http_status
        self.data: dict[str, Any] = dict(data or {})
        self.retry_after_s = retry_after_s


class MidtransAPIError(MidtransError):
    """Midtrans answered with an error that has no class of its own, such as 404, 412 or 500."""


class MidtransTransportError(MidtransAPIError):
    """No whole, readable answer came: timeout, refused, reset, HTML, cut short, not a JSON object.

    For a call that moves money this leaves open whether Midtrans did it: ask ``get_status`` before trying
    again.
    """


class MidtransAuthenticationError(MidtransError):
    """The key was not accepted (401)."""


class MidtransValidationError(MidtransError):
    """An argument was not accepted (400). With ``http_status`` None it was refused here: nothing was sent."""


class MidtransDuplicateOrderError(MidtransError):
    """The order_id or the refund key was used before (406)."""


class MidtransRateLimitError(MidtransError):
    """Too many calls (429; the BIN API says 409). ``retry_after_s`` may say how long to wait."""


class MidtransSignatureError(MidtransError):
    """A notification whose signature no key of ours makes."""


class MidtransConfigurationError(MidtransError):
    """A key or setting is missing or unusable; the message names the places that were looked at."""
