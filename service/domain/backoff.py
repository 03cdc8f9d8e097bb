"""When to try again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits between questions whose answers left a receipt open: the *first* ones, then every *then_s* for *for_s*.

    Answers are counted, not hours: a pause of the merchant or of this service uses nothing up.
    """

    first: tuple[float, ...] = (5.0, 15.0, 60.0, 300.0, 900.0)
    then_s: float = 3600.0
    for_s: float = 86_400.0
