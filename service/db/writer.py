"""The threads that write, one on SQLite: each takes what waits, runs it in savepoints, commits all of it at once.

```text
receive() ─► receipts ─┐            ┌─ all receipts at once ─┐
                       ├─► a batch ─┤  each unit of work     ├─► COMMIT ─► futures ─► listeners
write()   ─► units ────┘            └─ places in the log ────┘
```
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, Transaction
from sqlalchemy.exc import DBAPIError

from service.clock import Clock
from service.db.batch import TRIES, Arrival, Batch, NotAtOnce, Task
from service.db.database import Keeper
from service.db.faults import Fault, classify, describe
from service.db.herald import Herald
from service.db.listeners import Listeners
from service.db.topic import Topic
from service.db.wake import Outcome, wake
from service.errors import StoreBroken, StoreError, StoreOverloaded, StoreUnavailable

log = structlog.get_logger(__name__)

RECEIPTS_A_COMMIT = 1000
UNITS_A_COMMIT = 200
GATHER_S = 0.005
"""How long receipts that keep coming may wait for one another …"""
QUIET_TURNS = 8
"""… and after how many turns of the event loop without another one they wait no longer; some 10 µs each."""

_Item = TypeVar("_Item", Arrival, Task)


class _ConnectionWasLost(Exception):
    """It was lost before the transaction began: nothing was done."""


def _begun(connection: Connection) -> Transaction:
    try:
        return connection.begin()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _ConnectionWasLost from error
        raise


class _Own(threading.local):
    """What each writing thread has for itself."""

    keeper: Keeper
    connection: Connection | None = None


class Writer:
    """The queue in front of the database's writing connections, and the thread behind each: one, or several.

    Several wait for the disk at once; what they write is never two transactions' at a time, the database sees to
    that. *herald* is told after each commit what it may have brought, and answers those who wait for events.
    *on_commit* gets the number of receipts and units of each commit and how long it took, in seconds; *on_trouble*
    why nothing can be stored, once until a commit succeeds again. The callbacks run on the writer's thread.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        keepers: Callable[[], Keeper],
        listeners: Listeners,
        clock: Clock,
        queue_limit: int,
        threads: int = 1,
        herald: Herald | None = None,
        on_broken: Callable[[BaseException], None] | None = None,
        on_commit: Callable[[int, float], None] | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self.trouble: str | None = None  # why nothing could be stored of late; None after a commit
        self.broken: str | None = None  # why nothing will ever be stored again
        self.last_commit_at: datetime | None = None
        self._engine = engine
        self._clock = clock
        self._queue_limit = queue_limit
        self._on_broken = on_broken
        self._on_commit = on_commit
        self._on_trouble = on_trouble
        self._changed = threading.Condition(threading.Lock())
        self._arrivals: deque[Arrival] = deque()
        self._tasks: deque[Task] = deque()
        self._closing = False
        self._is_to_ring = False  # by an event loop, as soon as it has nothing more to read
        self._keepers = keepers
        self._listeners = listeners
        self._herald = herald
        self._own = _Own()
        self._threads = [
            threading.Thread(target=self._run, name="writer", daemon=True) for _ in range(threads)
        ]

    @property
    def waiting(self) -> int:
        """How many receipts and units of work wait to be taken."""
        return len(self._arrivals) + len(self._tasks)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def close(self, timeout_s: float) -> None:
        """Take no more, commit what waits, end the thread; what *timeout_s* does not suffice for is refused."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, until_s - time.monotonic()))
        self._refuse_rest(lambda: StoreUnavailable("the store was closed before this could be stored"))

    def receive(self, arrival: Arrival) -> None:
        """Queue a receipt. Its lane has its own limit, so that a flood does not stop the confirming.

        A thread is woken once some turns of the arrival's event loop bring no more of them, or after `GATHER_S`: what
        comes together shares a commit, where waking one for the first would leave the others to the next. One that
        comes alone waits for one turn.
        """
        with self._changed:
            refusal = self._refusal(len(self._arrivals), self._queue_limit)
            if refusal is None:
                self._arrivals.append(arrival)
                if self._is_to_ring:
                    return
                self._is_to_ring = True
        loop = arrival.future.get_loop()
        if refusal is None:
            loop.call_soon(self._ring, loop, 0, 0, loop.time() + GATHER_S)
        else:
            wake([Outcome(arrival.future, error=refusal)])

    def _ring(self, loop: asyncio.AbstractEventLoop, before: int, quiet: int, until_s: float) -> None:
        """Wake a thread, unless more has come than the *before* of the last look, *quiet* turns of the loop ago."""
        waiting = len(self._arrivals)
        quiet = 0 if waiting > before else quiet + 1
        if quiet < min(waiting, QUIET_TURNS) and loop.time() < until_s:
            loop.call_soon(self._ring, loop, waiting, quiet, until_s)
            return
        with self._changed:
            self._is_to_ring = False
            self._changed.notify()

    def submit(self, task: Task, *, always: bool = False) -> None:
        """Queue a unit of work, *always* for a probe: fullness is no failure of the disk."""
        self._put(self._tasks, task, limit=None if always else self._queue_limit)

    def _put(self, lane: deque[_Item], item: _Item, *, limit: int | None) -> None:
        with self._changed:
            refusal = self._refusal(len(lane), limit)
            if refusal is None:
                lane.append(item)
                self._changed.notify()
                return
        wake([Outcome(item.future, error=refusal)])

    def _refusal(self, waiting: int, limit: int | None) -> StoreError | None:
        if self.broken is not None:
            return StoreBroken(self.broken)
        if self._closing:
            return StoreUnavailable("the store is closed")
        if limit is not None and waiting >= limit:
            return StoreOverloaded(waiting)
        return None

    # What follows runs on the writing threads alone.

    def _run(self) -> None:
        self._own.keeper = self._keepers()
        while self.broken is None and (batch := self._take()) is not None:
            try:
                self._serve(batch)
            except BaseException as error:  # noqa: BLE001  (a bug in here must not end the thread)
                self._stumble(batch, error)
        self._disconnect()

    def _stumble(self, batch: Batch, error: BaseException) -> None:
        """Leave no future waiting, whatever went wrong around the transaction, the logging included."""
        before, self.trouble = self.trouble, describe(error)
        batch.all_fail(lambda: StoreUnavailable("the writer failed"))
        self._turn_red(before)
        _say("error", "writer_failed", exc_info=error)

    def _take(self) -> Batch | None:
        with self._changed:
            while not (self._arrivals or self._tasks):
                if self._closing:
                    return None
                self._changed.wait()
            arrivals = [self._arrivals.popleft() for _ in range(min(len(self._arrivals), RECEIPTS_A_COMMIT))]
            tasks = deque(self._tasks.popleft() for _ in range(self._share()))
        return Batch(arrivals, tasks, alone=self._herald is None)

    def _share(self) -> int:
        """Return how many units one thread takes, so that there are some for the others."""
        waiting, threads = len(self._tasks), len(self._threads)
        return min(waiting, UNITS_A_COMMIT) if threads == 1 else -(-waiting // threads)

    def _serve(self, batch: Batch) -> None:
        while not self._served(batch):
            batch.begin_anew()

    def _served(self, batch: Batch) -> bool:
        """Commit *batch* and answer, or fail; False when others' transactions undid it, and it may be tried again."""
        began = time.perf_counter()
        try:
            connection = self._connect()
            self._fill(batch, connection)
            self._own.keeper.committed()
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is told to all of the batch)
            if self._may_begin_anew(batch, error):
                return False
            self._fail(batch, error.__cause__ or error if isinstance(error, _ConnectionWasLost) else error)
            return True
        self._committed(batch, time.perf_counter() - began)
        self._rest(connection)
        return True

    def _may_begin_anew(self, batch: Batch, error: BaseException) -> bool:
        """Say whether *batch*, of which nothing is kept, can be done again: its waiters never hear of *error*."""
        if batch.tries >= TRIES:
            return False
        if isinstance(error, _ConnectionWasLost):  # before anything was done: the server was restarted since
            self._disconnect()
            return batch.tries == 0
        return classify(error) is Fault.AGAIN

    def _fill(self, batch: Batch, connection: Connection) -> None:
        try:
            with _begun(connection):
                batch.fill(connection, self._clock)
        except NotAtOnce:
            with _begun(connection):
                batch.fill(connection, self._clock)

    def _committed(self, batch: Batch, seconds: float) -> None:
        recovered_from, self.trouble = self.trouble, None
        self.last_commit_at = self._clock()
        wake(batch.outcomes)
        if batch.tasks or batch.later:
            with self._changed:
                self._tasks.extendleft(reversed(batch.tasks))
                self._tasks.extend(batch.later)  # others first: they need not wait for the same lock
                # Whatever goes wrong from here on, they are not of this batch any more.
                batch.tasks, batch.later = deque(), []
                self._changed.notify()
        self._tell(batch)
        if self._on_commit is not None:
            report = self._on_commit
            self._call(lambda: report(len(batch.arrivals) + len(batch.done), seconds))
        if recovered_from is not None:
            _say("info", "store_recovered", reason=recovered_from)

    def _tell(self, batch: Batch) -> None:
        if self._herald is None:
            self._listeners.tell(batch.topics)
            return
        self._listeners.tell(batch.topics - {Topic.EVENTS})  # they have no place yet
        self._herald.tell(batch.topics, batch.to_place)
        batch.to_place = []

    def _fail(self, batch: Batch, error: BaseException) -> None:
        """Answer all of *batch*: nothing of it was stored, or nothing is sure any more."""
        self._disconnect()
        fault = classify(error)
        if fault is Fault.FATAL:
            self._break(batch, error)
            return
        before, self.trouble = self.trouble, describe(error)
        reason = self.trouble
        batch.all_fail(lambda: StoreUnavailable(f"nothing was stored: {reason}"))
        if reason != before:  # once, not with every notification that comes
            _say("error", "store_unavailable", reason=reason, exc_info=error if fault is Fault.OWN else None)
        self._turn_red(before)

    def _turn_red(self, before: str | None) -> None:
        """Tell of trouble that begins; those who waited have their answers already."""
        if before is None and self._on_trouble is not None:
            tell, reason = self._on_trouble, self.trouble or ""
            self._call(lambda: tell(reason))

    def _break(self, batch: Batch | None, error: BaseException) -> None:
        with self._changed:
            self.broken = self.trouble = reason = describe(error)
        if batch is not None:
            batch.all_fail(lambda: StoreBroken(reason))
        self._refuse_rest(lambda: StoreBroken(reason))
        if self._on_broken is not None:
            tell = self._on_broken
            self._call(lambda: tell(error))
        _say("critical", "store_broken", reason=reason)

    def _refuse_rest(self, error: Callable[[], StoreError]) -> None:
        with self._changed:
            rest = Batch(list(self._arrivals), deque(self._tasks))
            self._arrivals.clear()
            self._tasks.clear()
        rest.all_fail(error)

    def _rest(self, connection: Connection) -> None:
        try:
            self._own.keeper.answered(connection)
        except Exception as error:  # noqa: BLE001  (what was answered is safe all the same)
            self._disconnect()
            if classify(error) is Fault.FATAL:
                self._break(None, error)
            else:
                _say("warning", "checkpoint_failed", reason=describe(error))

    def _connect(self) -> Connection:
        own = self._own
        if own.connection is None:
            own.keeper.before_connecting()
            own.connection = self._engine.connect()
            own.keeper.connected()
        return own.connection

    def _disconnect(self) -> None:
        """Close the connection for good: after a failure a fresh one is the surest rollback."""
        connection, self._own.connection = self._own.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.invalidate()
                connection.close()

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001  (it is none of those who wait for the next commit)
            _say("error", "listener_failed", exc_info=error)


def _say(level: str, event: str, **facts: Any) -> None:
    """Log, and go on when even that fails: on a full disk it may well."""
    with contextlib.suppress(Exception):
        getattr(log, level)(event, **facts)
