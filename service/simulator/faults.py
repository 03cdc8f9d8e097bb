"""What goes wrong on request, how often, and for whom: data and dice. ``outbox.py`` and ``lagging.py`` act on it."""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


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
    status_lag: float = (
        0.0  # probability: GET status answers as of *lag_s* ago; below 1, as several copies would
    )
    lag_s: float = 10.0
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
        self._thrown: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self._happened: dict[str, Counter[str]] = defaultdict(Counter)
        self._lock = threading.Lock()

    def put(self, faults: Faults, merchant_id: str | None = None) -> None:
        """Have *faults* happen from now on, to one merchant or to all that have none of their own."""
        with self._lock:
            if merchant_id is None:
                self._everyone = faults
                self._thrown.clear()
                self._happened.clear()
            else:
                self._merchants[merchant_id] = faults
                self._thrown.pop(merchant_id, None)
                self._happened.pop(merchant_id, None)

    def of(self, merchant_id: str) -> Faults:
        """Return what a merchant suffers."""
        return self._merchants.get(merchant_id, self._everyone)

    def shown(self) -> dict[str, Any]:
        """Return all that is set, and how often each happened since, as JSON."""
        with self._lock:
            merchants = {merchant: faults.chosen() for merchant, faults in self._merchants.items()}
            happened = {merchant: dict(counts) for merchant, counts in self._happened.items()}
            return {"faults": self._everyone.chosen(), "merchants": merchants, "happened": happened}

    def happens(self, fault: str, merchant_id: str, order_id: str) -> bool:
        """Throw the dice: the n-th throw for a fault and an order is the same in every run."""
        probability: float = getattr(self.of(merchant_id), fault)
        if not probability or self._throw(fault, merchant_id, order_id).random() >= probability:
            return False
        self.count(fault, merchant_id)
        return True

    def pick(self, fault: str, merchant_id: str, order_id: str, kinds: Sequence[T]) -> T:
        """Return one of the kinds in which a fault comes; repeatable like ``happens``."""
        return self._throw(f"{fault} kind", merchant_id, order_id).choice(kinds)

    def count(self, fault: str, merchant_id: str) -> None:
        """Note that a fault happened."""
        with self._lock:
            self._happened[merchant_id][fault] += 1

    def _throw(self, fault: str, merchant_id: str, order_id: str) -> Random:
        with self._lock:
            thrown = self._thrown[merchant_id]
            thrown[fault, order_id] += 1
            number = thrown[fault, order_id]
        return Random(f"{self.of(merchant_id).seed}/{fault}/{order_id}/{number}")  # noqa: S311 - repeatable
