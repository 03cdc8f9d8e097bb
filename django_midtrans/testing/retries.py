"""How often Midtrans posts a notification again, and when, by what the receiver answered. No HTTP, no clock.

Source: docs.midtrans.com/docs/https-notification-webhooks and
docs.midtrans.com/reference/best-practices-to-handle-notification; the older reference/handle-notifications
names the same numbers with one-minute waits and a timeout of 30 seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RETRIES: Mapping[int, int] = MappingProxyType(
    {  # the answer's HTTP status → how many more attempts it allows; any 2xx is success
        500: 1,
        503: 4,
        400: 2,
        404: 2,
        301: 0,  # never followed: the merchant gets an e-mail
        302: 0,
        303: 0,
    }
)
RETRIES_OTHERWISE = 5  # 401, 403, 409, 422, 429, 502, 504, 507, timeouts, refused connections, too many hops
WAITS_S = (120.0, 600.0, 1_800.0, 5_400.0, 12_600.0)  # before each retry, from the previous attempt
SHIFT_S = 87.0
"""The widest random shift of a wait, either way. Published is one example: the first retry may come after 33 s."""
TIMEOUT_S = 15.0
FOLLOWED = frozenset({307, 308})  # with POST and the same body
MOST_HOPS = 5


def is_success(http_status: int | None) -> bool:
    """Say whether the answer ends the notification; None is no answer at all."""
    return http_status is not None and 200 <= http_status < 300  # noqa: PLR2004 - any 2xx


def retries_after(http_status: int | None) -> int:
    """Return how many retries an answer that is no success allows in all; None is no answer at all."""
    return RETRIES_OTHERWISE if http_status is None else RETRIES.get(http_status, RETRIES_OTHERWISE)


def wait_before_retry_s(retry: int, *, shift: float) -> float:
    """Return the wait before retry number *retry* (from 1); *shift* is 0 to 1, the middle shifts nothing."""
    return WAITS_S[retry - 1] + SHIFT_S * (2 * shift - 1)


def next_attempt_in_s(http_status: int | None, *, attempts: int, shift: float) -> float | None:
    """Return the wait after the last of *attempts*, or None when that was the last one or a success.

    Where the answers differ from attempt to attempt the latest counts: that is not documented.
    """
    if is_success(http_status) or attempts > retries_after(http_status):
        return None
    return wait_before_retry_s(attempts, shift=shift)
