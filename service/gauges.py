"""Gauges of what stands in the database and on its disk, read when somebody scrapes."""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from service.db.gauges import Gauges, Standing
from service.db.store import Store
from service.db.unit import Unit
from service.domain.relaying import RelayState
from service.metrics import Metrics

FRESH_S: Final = 1.0
"""How long one reading of the database serves: the gauges of one scrape share it."""


class _Reading:
    """The database's standing, read at most once in a while."""

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: tuple[float, Standing] | None = None

    def __call__(self) -> Standing:
        with self._lock:
            if self._last is None or self._monotonic() - self._last[0] >= FRESH_S:
                standing = self._store.read(lambda unit: Gauges(unit).standing())
                self._last = (self._monotonic(), standing)
            return self._last[1]


def watch(
    metrics: Metrics,
    store: Store,
    *,
    merchants: Iterable[str],
    file: Path | None,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Have *metrics* read what waits, is held, is due and is left. *merchants* are shown with 0 too.

    *file* is SQLite's; the disk of a server is its own business.
    """
    read = _Reading(store, monotonic)
    names = tuple(merchants)

    def each(found: Mapping[str, float]) -> Mapping[str, float]:
        return {**dict.fromkeys(names, 0.0), **found}

    metrics.watch(
        "receipts_waiting", "Receipts to be confirmed.", lambda: each(read().waiting), label="merchant"
    )
    metrics.watch(
        "receipts_oldest_waiting_seconds",
        "Age of the oldest receipt to be confirmed.",
        lambda: each(read().oldest_waiting_s),
        label="merchant",
    )
    metrics.watch("receipts_held", "Receipts that wait for a person.", lambda: read().held, label="state")
    metrics.watch(
        "checks_due",
        "Questions of reconcile that are due.",
        lambda: each(read().checks_due),
        label="merchant",
    )
    metrics.watch(
        "merchant_paused",
        "1 while confirming is paused for the merchant.",
        lambda: each(dict.fromkeys(read().paused, 1)),
        label="merchant",
    )
    metrics.watch(
        "consumer_lag", "Events that a consumer has not come to.", lambda: read().lag, label="consumer"
    )
    metrics.watch(
        "push_failing_seconds",
        "How long every push to a consumer has failed.",
        lambda: read().push_failing_s,
        label="consumer",
    )
    metrics.watch(
        "push_paused",
        "1 while a consumer is paused since its endpoint failed for long or is gone.",
        lambda: {**dict.fromkeys(read().push_failing_s, 0.0), **dict.fromkeys(read().push_paused, 1.0)},
        label="consumer",
    )
    if file is None:
        metrics.watch(
            "database_bytes",
            "Size of the database.",
            lambda: store.read(lambda unit: Gauges(unit).database_bytes()),
        )
        return
    metrics.watch("database_bytes", "Size of the database.", lambda: _size(file))
    metrics.watch("wal_bytes", "Size of the write-ahead log.", lambda: _size(Path(f"{file}-wal")))
    metrics.watch(
        "disk_free_bytes", "Free space under the database.", lambda: shutil.disk_usage(file.parent).free
    )


def watch_relays(metrics: Metrics, store: Store, relays: Iterable[str]) -> None:
    """Have *metrics* read how far each of *relays* is."""
    names = tuple(relays)
    if not names:
        return

    def states(unit: Unit) -> dict[str, RelayState]:
        return {state.name: state for state in unit.relays.all() if state.name in names}

    def lag() -> Mapping[str, float]:
        return store.read(
            lambda unit: {name: unit.relays.ahead(state) for name, state in states(unit).items()}
        )

    def failing() -> Mapping[str, float]:
        return store.read(
            lambda unit: {name: _failing_s(unit, state) for name, state in states(unit).items()}
        )

    metrics.watch("relay_lag", "Events that a broker has not confirmed.", lag, label="relay")
    metrics.watch(
        "relay_failing_seconds",
        "How long a relay has been failing; 0 when all is well.",
        failing,
        label="relay",
    )


def _failing_s(unit: Unit, state: RelayState) -> float:
    since = state.failing_since
    return 0.0 if since is None else max(0.0, (unit.now - since).total_seconds())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
