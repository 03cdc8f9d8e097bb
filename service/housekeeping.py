"""Housekeeping: one thread that cuts away what was kept long enough, a little at a time."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

import structlog

from service.db.retention import Page, Retention
from service.db.store import Store
from service.db.unit import Unit
from service.domain.retention import Keep
from service.errors import StoreError
from service.owner import new_owner
from service.roles import Role

EVERY_S: Final = 3600.0
"""Seconds between two rounds."""
PAUSE_S: Final = 0.05
"""Seconds between two cuts, so that notifications hardly notice a round."""

log = structlog.get_logger(__name__)
Key = TypeVar("Key", UUID, int)


class Housekeeper:
    """Cuts what is older than *keep* says, by the store's clock. A failed round is logged and comes again.

    *on_cut* gets the table and how many rows each cut took.
    """

    def __init__(
        self,
        store: Store,
        keep: Keep,
        *,
        on_cut: Callable[[str, int], None],
        every_s: float = EVERY_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._store = store
        self._keep = keep
        self._on_cut = on_cut
        self._every_s = every_s
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._role = Role(store, "housekeeping", new_owner())
        self._answers_cut = 0  # up to here no confirmation holds an answer
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin with a round."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the cut under way."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def round(self) -> None:
        """Cut everything that is old by now; raise StoreError when the store does not take it."""
        if self._keep.bodies is not None:
            self._bodies(self._keep.bodies)
        if self._keep.answers is not None:
            self._answers(self._keep.answers)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._store.shared or self._role.held():  # one process at a time
                    self.round()
            except StoreError as error:
                log.warning("housekeeping_failed", why=str(error))
            except Exception:
                log.exception("housekeeping_failed")
            self._stopping.wait(self._every_s)

    def _bodies(self, kept: timedelta) -> None:
        """Begin at the oldest body each time: what was passed over may have ended since."""
        after: UUID | None = None
        while not self._stopping.is_set():
            page = self._old_bodies(kept, after)
            self._cut("bodies", page, lambda unit, keys: Retention(unit).cut_bodies(keys))
            after = page.after
            if after is None:
                return

    def _answers(self, kept: timedelta) -> None:
        while not self._stopping.is_set():
            page = self._old_answers(kept, self._answers_cut)
            self._cut("confirmations", page, lambda unit, keys: Retention(unit).cut_answers(keys))
            if page.after is None:
                return
            self._answers_cut = page.after

    def _old_bodies(self, kept: timedelta, after: UUID | None) -> Page[UUID]:
        return self._store.read(lambda unit: Retention(unit).old_bodies(unit.now - kept, after=after))

    def _old_answers(self, kept: timedelta, after: int) -> Page[int]:
        return self._store.read(lambda unit: Retention(unit).old_answers(unit.now - kept, after=after))

    def _cut(self, table: str, page: Page[Key], cut: Callable[[Unit, tuple[Key, ...]], int]) -> None:
        if page.keys:
            self._on_cut(table, self._store.write(lambda unit: cut(unit, page.keys)).result())
            self._stopping.wait(self._pause_s)
