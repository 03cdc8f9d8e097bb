"""What one commit covers: receipts all at once, then units of work, each in a savepoint of its own."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection

from service.clock import Clock
from service.db.faults import Fault, TransactionLost, classify
from service.db.topic import Topic
from service.db.unit import Unit
from service.db.wake import AnyFuture, Outcome, wake
from service.domain.records import NewReceipt
from service.errors import StoreError, StoreUnavailable

UNITS_FOR_S = 0.005  # then what has been done is committed, and receipts get their turn
PUT_OFF = 2  # so many units wait for others' locks before what has been done is committed
TRIES = 50
"""So often a unit is put off because another transaction holds what it needs; each time it waits a little for it."""


class Arrival(NamedTuple):
    """A receipt in the bulk lane."""

    future: asyncio.Future[Any]
    new: NewReceipt


@dataclass(slots=True)
class Task:
    """A unit of work; what it returns becomes the future's result. It may be done *tries* times and undone again."""

    future: AnyFuture
    work: Callable[[Unit], Any]
    tries: int = 0

    def begins(self) -> bool:
        """Say whether the work is still wanted; from here on it can no longer be cancelled."""
        if not isinstance(self.future, Future) or self.future.running():
            return True
        return self.future.set_running_or_notify_cancel()


class NotAtOnce(Exception):
    """Receipts cannot be stored all at once: the transaction is to be undone and the batch to be filled anew."""


@dataclass(slots=True)
class Batch:
    """What was taken from the queue for one commit, what became of it, and what it brought."""

    arrivals: Sequence[Arrival]
    tasks: deque[Task]
    done: list[Task] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    topics: set[Topic] = field(default_factory=set)
    by_halves: bool = False
    alone: bool = True
    """Whether nobody else writes to the database: then events get their places before the commit."""
    tries: int = 0
    later: list[Task] = field(default_factory=list)
    """What could not be had just now."""
    to_place: list[Outcome] = field(default_factory=list)
    """What is answered once events have their places, where others give them."""

    def fill(self, connection: Connection, clock: Clock) -> None:
        """Do the work inside the open transaction; those *tasks* stay for which there was no time.

        Raises only what concerns the whole transaction; one that fails by itself is undone by itself.

        Raises:
            NotAtOnce: Nothing was done so far; the next time it takes receipts by halves.
        """
        if self.arrivals and self.by_halves:
            self._store_by_halves(connection, clock, self.arrivals)
        elif self.arrivals:
            self._store_at_once(connection, clock)
        end = time.monotonic() + UNITS_FOR_S
        while self.tasks:
            task = self.tasks.popleft()
            self.done.append(task)
            waited = len(self.later)
            if task.begins():
                self._do(Unit(connection, clock()), task)
            if len(self.later) > waited:  # what it waited for is no work
                end = time.monotonic() + UNITS_FOR_S
            if time.monotonic() > end or len(self.later) == PUT_OFF:
                break
        if self.alone and Topic.EVENTS in self.topics:
            Unit(connection, clock()).log.sequence()

    def begin_anew(self) -> None:
        """Forget what was done: all of it was undone, because of what other transactions did meanwhile."""
        self.tasks.extendleft(reversed([*self.done, *self.later]))
        self.later = []
        self.done, self.outcomes, self.to_place, self.topics = [], [], [], set()
        self.tries += 1

    def all_fail(self, error: Callable[[], StoreError]) -> None:
        """Have every one fail with an error of its own: a shared one would gather all their tracebacks."""
        everyone: Iterable[Arrival | Task] = (*self.arrivals, *self.done, *self.later, *self.tasks)
        wake([Outcome(one.future, error=error()) for one in everyone])

    def _store_at_once(self, connection: Connection, clock: Clock) -> None:
        """Store all receipts, without a savepoint: nothing else has been done that would have to be kept."""
        try:
            self._store(connection, clock, self.arrivals)
        except Exception as error:
            if classify(error) is not Fault.OWN:
                raise
            self.by_halves = True
            raise NotAtOnce from error

    def _store_by_halves(self, connection: Connection, clock: Clock, arrivals: Sequence[Arrival]) -> None:
        """Store *arrivals* in one go; if that fails, by halves, until the one at fault stands alone."""
        try:
            with _savepoint(connection):
                self._store(connection, clock, arrivals)
        except Exception as error:
            if classify(error) is not Fault.OWN:
                raise
            if len(arrivals) == 1:
                self.outcomes.append(Outcome(arrivals[0].future, error=error))
                return
            middle = len(arrivals) // 2
            self._store_by_halves(connection, clock, arrivals[:middle])
            self._store_by_halves(connection, clock, arrivals[middle:])

    def _store(self, connection: Connection, clock: Clock, arrivals: Sequence[Arrival]) -> None:
        unit = Unit(connection, clock())
        stored = unit.receipts.add_many([arrival.new for arrival in arrivals])
        self.topics |= unit.topics
        self.outcomes += [Outcome(one.future, was) for one, was in zip(arrivals, stored, strict=True)]

    def _do(self, unit: Unit, task: Task) -> None:
        try:
            with _savepoint(unit.connection):
                value = task.work(unit)
        except BaseException as error:
            fault = classify(error)
            if fault is Fault.AGAIN:
                self._put_off(task)
                return
            if fault is not Fault.OWN:
                raise
            self.outcomes.append(Outcome(task.future, error=error))
            return
        self.topics |= unit.topics
        answered = self.outcomes if self.alone or Topic.EVENTS not in unit.topics else self.to_place
        answered.append(Outcome(task.future, value))

    def _put_off(self, task: Task) -> None:
        """Have *task* done in the next transaction: another one holds what it needs.

        It was undone alone. Nobody waits for long while others wait for him: so there is no circle of waiting.
        """
        task.tries += 1
        if task.tries >= TRIES:
            error = StoreUnavailable("nothing was stored: another transaction holds what this needs")
            self.outcomes.append(Outcome(task.future, error=error))
            return
        self.done.remove(task)
        self.later.append(task)


@contextlib.contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Undo what the body did if it raises, and that alone.

    Raises:
        TransactionLost: SQLite undid the whole transaction, which some errors make it do.
    """
    _tell(connection, "SAVEPOINT unit")
    try:
        yield
    except BaseException as error:
        if classify(error) in (Fault.OWN, Fault.AGAIN):
            _leave(connection, "ROLLBACK TO unit", "RELEASE unit")
        raise
    _leave(connection, "RELEASE unit")


def _leave(connection: Connection, *statements: str) -> None:
    try:
        for statement in statements:
            _tell(connection, statement)
    except Exception as error:  # there is no savepoint any more: what ran before it is undone as well
        raise TransactionLost("one of those who shared the transaction ended it") from error


def _tell(connection: Connection, statement: str) -> None:
    """Run *statement* without SQLAlchemy, to which every unit of work would pay as much as for a query."""
    driver: Any = connection.connection.driver_connection
    driver.execute(statement).close()
