"""What was refused, kept in memory and written now and then: a stranger costs neither disk nor a wait.

Of each merchant and reason the newest 200 wait here, in bodies cut at 16 KiB, until they are written: once a
second, a few dozen at a time, so that the writer is never held for long. Whoever posts more than that pushes
out what nobody has seen yet of the same merchant and reason, and nothing else.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Final, Protocol

import structlog

from service.db.oddities import KEPT
from service.db.unit import Unit
from service.domain.records import Oddity

LONGEST_BODY: Final = 16 * 1024
BATCH: Final = 32
"""Most that one second writes: half a MiB, some milliseconds of the writer's time."""
PAUSE_S: Final = 1.0

log = structlog.get_logger()
Work = Callable[[Unit], None]


class Writer(Protocol):
    """The store's lane for units of work."""

    def write(self, work: Work) -> Future[None]:
        """Run *work* in the shared transaction; the future is done after the commit."""


class Later(Protocol):
    """Has something called after a while, on any thread."""

    def __call__(self, delay_s: float, call: Callable[[], None], /) -> None:
        """Return at once; *call* follows."""


class OddityRings:
    """The newest oddities of each merchant and reason, on their way to the store. Safe under threads.

    `keep` never waits and starts the writing by itself; `close` writes what is left. *on_keep* counts.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        on_keep: Callable[[Oddity], None] | None = None,
        later: Later | None = None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._writer = writer
        self._on_keep = on_keep
        self._later = later or _after
        self._pause_s = pause_s
        self._rings: dict[tuple[str, str], deque[Oddity]] = {}
        self._lock = threading.Lock()
        self._scheduled = False
        self._closing = False
        self._handing = 0  # batches taken from the rings and not settled yet
        self._settled = threading.Condition(self._lock)

    @property
    def waiting(self) -> int:
        """How many are not written yet."""
        with self._lock:
            return sum(len(ring) for ring in self._rings.values())

    def keep(self, oddity: Oddity) -> None:
        """Keep *oddity* until it is written, or pushed out by 200 newer ones like it.

        Merchant and reason must come from a bounded set of names, never from what was posted.
        """
        if self._on_keep is not None:
            self._on_keep(oddity)
        with self._lock:
            self._put(oddity, newest=True)
        self._schedule()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is left, waiting *timeout_s* for each batch at most; to be called before the store closes.

        A batch that the timer has taken, and perhaps not handed to the store yet, is waited for like any other.
        """
        with self._lock:
            self._closing = True  # nobody needs to come back for what this call writes
            self._settled.wait_for(lambda: not self._handing, timeout_s)
        while batch := self._take():
            try:
                self._write(batch).result(timeout_s)
            except Exception as error:  # noqa: BLE001  (closing goes on, whatever the store has run into)
                log.warning("oddities_lost", count=len(batch) + self.waiting, error=str(error))
                return

    def _schedule(self) -> None:
        with self._lock:
            if self._scheduled or self._closing or not self._rings:
                return
            self._scheduled = True
        self._later(self._pause_s, self._flush)

    def _flush(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._handing += 1
        batch = self._take()
        try:
            written = self._write(batch)
        except Exception as error:  # noqa: BLE001  (a store that is full or red: tried again in a second)
            self._written(batch, error)
        else:
            written.add_done_callback(lambda future: self._written(batch, future.exception()))

    def _written(self, batch: Sequence[Oddity], error: BaseException | None) -> None:
        with self._lock:
            if error is not None:
                for oddity in reversed(batch):
                    self._put(oddity, newest=False)
            self._scheduled = False
            self._handing -= 1
            self._settled.notify_all()
        self._schedule()

    def _write(self, batch: Sequence[Oddity]) -> Future[None]:
        return self._writer.write(lambda unit: unit.oddities.add_many(batch))

    def _put(self, oddity: Oddity, *, newest: bool) -> None:
        if len(oddity.body) > LONGEST_BODY:
            oddity = replace(oddity, body=oddity.body[:LONGEST_BODY])
        ring = self._rings.setdefault((oddity.merchant, oddity.reason), deque(maxlen=KEPT))
        if newest:
            ring.append(oddity)
        elif len(ring) < KEPT:  # what failed to be written makes no room for itself
            ring.appendleft(oddity)

    def _take(self) -> list[Oddity]:
        """Take the oldest of each ring in turn, so that a flood in one does not hold the others back."""
        taken: list[Oddity] = []
        with self._lock:
            while self._rings and len(taken) < BATCH:
                for key in list(self._rings)[: BATCH - len(taken)]:
                    ring = self._rings.pop(key)
                    taken.append(ring.popleft())
                    if ring:
                        self._rings[key] = ring  # at the end: whoever was served waits longest
        return taken


def _after(delay_s: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(delay_s, call)
    timer.daemon = True  # what is left is written by close
    timer.start()
