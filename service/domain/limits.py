"""How fast a merchant's account may be asked: a token bucket, a share for repeats, a breaker."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one merchant's questions to Midtrans.

    *repeat_share* of the rate is all that repeated questions after a 404 or an unproven pair may use together;
    the first question about an order is never held back by them.
    """

    rate_per_s: float = 200.0
    burst: int = 400
    in_flight: int = 16
    repeat_share: float = 0.1
