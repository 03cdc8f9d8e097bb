"""What one process at a time does: a role is held by lease, and taken over when its holder is gone."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from service.db.store import Store
from service.db.unit import Unit

LEASE_S: Final = 10.0
"""A dead process's work is taken over after it."""
TRUSTED: Final = 0.7
"""Of the lease, counted from before it was asked for: then it is asked for again before anything is done."""


class Role:
    """One role, as one process sees it. Safe under threads."""

    def __init__(
        self,
        store: Store,
        name: str,
        owner: str,
        *,
        lease_s: float = LEASE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._name = name
        self._owner = owner
        self._lease = timedelta(seconds=lease_s)
        self._lease_s = lease_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asked_at_s: float | None = None
        self._held = False

    def held(self) -> bool:
        """Say whether the role is ours just now; asks the database a few times a lease. Raises StoreError."""
        with self._lock:
            now_s = self._monotonic()
            fresh_s = self._lease_s * (TRUSTED if self._held else TRUSTED / 4)
            if self._asked_at_s is None or now_s - self._asked_at_s >= fresh_s:
                self._held = False  # should asking fail
                take = self._store.write(lambda unit: unit.roles.take(self._name, self._owner, self._lease))
                self._held = take.result() is not None
                self._asked_at_s = now_s
            return self._held

    def give_up(self) -> None:
        """Let another process have it at once. Raises StoreError."""
        with self._lock:
            if self._held:
                self._held, self._asked_at_s = False, None
                self._store.write(lambda unit: unit.roles.give_up(self._name, self._owner)).result()


class Share:
    """How much of a limit that all processes share is for this one: all are given the same.

    *bury* is called now and then with the owners that live: what is held by others is anybody's.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        owner: str,
        *,
        bury: Callable[[Unit, set[str]], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._bury = bury
        self._prefix = f"{name}/"
        self._role = f"{self._prefix}{owner}"
        self._owner = owner
        self._monotonic = monotonic
        self._asked_at_s: float | None = None
        self._share = 1.0

    def of_one(self) -> float:
        """Return it, from above 0 to 1; asks the database a few times a lease. Raises StoreError.

        A process that joins is counted by the others within a fifth of a lease, one that died within a lease.
        """
        now_s = self._monotonic()
        if self._asked_at_s is None or now_s - self._asked_at_s >= LEASE_S / 5:
            self._share = 1.0 / max(1, self._store.write(self._look).result())
            self._asked_at_s = now_s
        return self._share

    def counts(self) -> bool:
        """Say whether others surely still count this process among the living."""
        asked_at_s = self._asked_at_s
        return asked_at_s is not None and self._monotonic() - asked_at_s < TRUSTED * LEASE_S

    def leave(self) -> None:
        """Give the share to the others at once. Raises StoreError."""
        self._store.write(lambda unit: unit.roles.give_up(self._role, self._owner)).result()

    def _look(self, unit: Unit) -> int:
        unit.roles.take(self._role, self._owner, timedelta(seconds=LEASE_S))
        living = unit.roles.owners(self._prefix)
        self._bury(unit, living)
        return len(living)
