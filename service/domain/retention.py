"""How long what holds customers' data is kept."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Keep:
    """How long raw *bodies* and Midtrans' raw *answers* are kept; None is for ever."""

    bodies: timedelta | None = timedelta(days=400)
    answers: timedelta | None = timedelta(days=400)
