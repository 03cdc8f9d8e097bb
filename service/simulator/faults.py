"""What goes wrong on request, how often, and for whom: data and dice. ``outbox.py`` and ``lagging.py`` act on it."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from random import Random
from typing import Any


class FaultInvalid(Exception):
    """A fault has a name that there is none of, or a value out of its range."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Probabilities are 0 (never) to 1 (always); seconds are this machine's, whatever the time factor.

    The same *seed* and the same order ids bring the same faults, however the calls interleave.
    """

    lost: float = 0.0  # probability: a notification is never sent
    twice: float = 0.0  # probability: it is sent twice
    delayed: float = 0.0  # probability: it is sent *delay_s* later
    delay_s: float = 5.0
    reordered: float = 0.0  # probability: it waits until the order's next one was sent, *reorder_s* at most
    reorder_s: float = 5.0
    status_5xx: float = 0.0  # probability: GET status answers 500, 502 (HTML) or 503
    status_reset: float = 0.0  # probability: GET status breaks the connection off
    status_slow: float = 0.0  # probability: GET status answers *slow_s* later
    slow_s: float = 5.0
    status_lag_s: float = 0.0  # GET status answers as of so long ago
    status_404_s: float = 0.0  # GET status does not know a payment for so long after its charge
    seed: int = 0

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Faults:
        """Read names and values, numbers or their text; what is not named is left at its default.

        Raises FaultInvalid.
        """
        values: dict[str, Any] = {name: _value(name, value) for name, value in options.items()}
        return cls(**values)

    def chosen(self) -> dict[str, float]:
        """Return what differs from "nothing goes wrong"."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if getattr(self, each.name) != each.default
        }


NONE = Faults()
_NAMES = {each.name for each in fields(Faults)}


def _value(name: str, value: object) -> float:
    if name not in _NAMES:
        raise FaultInvalid(f"there is no fault {name!r}; there are {', '.join(sorted(_NAMES))}")
    try:
        number = int(str(value)) if name == "seed" else float(str(value))
    except ValueError as error:
        raise FaultInvalid(f"{name} must be a number") from error
    if name != "seed" and not (math.isfinite(number) and number >= 0):
        raise FaultInvalid(f"{name} must be a number from 0 on")
    if name != "seed" and not name.endswith("_s") and number > 1:
        raise FaultInvalid(f"{name} is a probability: 0 to 1")
    return number


class FaultTable:
    """The faults of each merchant, or else of all, and the dice that decide. Safe under threads."""

    def __init__(self, everyone: Faults = NONE) -> None:
        self._everyone = everyone
        self._merchants: dict[str, Faults] = {}
        self._drawn: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def put(self, faults: Faults, merchant_id: str | None = None) -> None:
        """Have *faults* happen from now on, to one merchant or to all that have none of their own."""
        with self._lock:
            if merchant_id is None:
                self._everyone = faults
            else:
                self._merchants[merchant_id] = faults
            self._drawn.clear()

    def of(self, merchant_id: str) -> Faults:
        """Return what a merchant suffers."""
        return self._merchants.get(merchant_id, self._everyone)

    def shown(self) -> dict[str, Any]:
        """Return all that is set, as JSON."""
        with self._lock:
            merchants = {merchant: faults.chosen() for merchant, faults in self._merchants.items()}
            return {"faults": self._everyone.chosen(), "merchants": merchants}

    def happens(self, fault: str, merchant_id: str, order_id: str) -> bool:
        """Throw the dice: the n-th throw for a fault and an order is the same in every run."""
        probability: float = getattr(self.of(merchant_id), fault)
        return self.draw(fault, merchant_id, order_id) < probability

    def draw(self, fault: str, merchant_id: str, order_id: str) -> float:
        """Return the next number from 0 to 1 for a fault and an order."""
        faults = self.of(merchant_id)
        if not getattr(faults, fault):
            return 1.0
        with self._lock:
            self._drawn[fault, merchant_id, order_id] += 1
            throw = self._drawn[fault, merchant_id, order_id]
        return Random(f"{faults.seed}/{fault}/{order_id}/{throw}").random()  # noqa: S311 - repeatable on purpose
