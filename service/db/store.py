"""The store: one writer, many readers, and no other way to the database."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.clock import Clock
from service.db.batch import Arrival, Task
from service.db.engine import database_of, writer_engine
from service.db.faults import Fault, classify, describe
from service.db.herald import Herald, now_of
from service.db.listeners import Listeners
from service.db.migrate import check_head
from service.db.server_clock import ServerClock
from service.db.topic import Topic
from service.db.unit import Unit
from service.db.writer import Writer
from service.domain.records import NewReceipt, StoredReceipt
from service.errors import StoreBroken, StoreUnavailable

if TYPE_CHECKING:
    from service.db.ear import Ear

T = TypeVar("T")
PROBE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether the last try to commit succeeded; *detail* says why not."""

    ok: bool
    detail: str
    last_commit_at: datetime | None


class Store:
    """The database behind functions: hand one in, get a future that is resolved after its commit.

    Futures fail with `StoreOverloaded` (more than *queue_limit* wait), `StoreUnavailable` (nothing was stored),
    `StoreBroken` (nothing will be stored again: *on_broken* is called once and should end the process), or with
    what the work itself raised, of which then nothing was kept. *on_commit* gets the size of each commit and its
    seconds, *on_trouble* why nothing can be stored just now: once, until a commit succeeds again. The callbacks
    run on the writer's thread.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None,
        writers: int = 2,
        readers: int = 10,
        listens: bool = True,
        listen_url: str | None = None,
        queue_limit: int = 5000,
        on_broken: Callable[[BaseException], None] | None = None,
        on_commit: Callable[[int, float], None] | None = None,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self._url = url
        database = database_of(url)
        self._readers = database.reader_engine(readers=readers)
        self._write_engine = writer_engine(url, writers=writers)
        self._listeners = Listeners()
        self._server_clock = ServerClock() if clock is None else None
        self._clock: Clock = self._server_clock or clock or ServerClock()
        self._herald: Herald | None = None
        self._ear: Ear | None = None
        if database.shared:
            self._herald = Herald(
                database.writer_engine(),
                clock=self._clock,
                listeners=self._listeners,
                server_clock=self._server_clock,
            )
        if self._herald is not None and listens:
            self._ear = self._make_ear(self._herald, listen_url or url)
        self._writer = Writer(
            self._write_engine,
            keepers=database.keeper,
            listeners=self._listeners,
            herald=self._herald,
            threads=writers if database.shared else 1,
            clock=self._clock,
            queue_limit=queue_limit,
            on_broken=on_broken,
            on_commit=on_commit,
            on_trouble=on_trouble,
        )
        self._epoch = ""
        self._probe_lock = threading.Lock()
        self._probe: Future[None] | None = None
        self._probed_at = 0.0

    def _make_ear(self, herald: Herald, url: str) -> "Ear":
        from service.db.ear import Ear  # noqa: PLC0415  (it needs the driver, which takes memory)

        return Ear(
            url,
            herald=herald,
            listeners=self._listeners,
            last_position=lambda: self.read(lambda unit: unit.log.last_position()),
        )

    def start(self) -> None:
        """Check that the schema is this version's, open the log, start the writer.

        Raises:
            SettingsInvalid: The database has not been migrated.
            StoreError: The database cannot be written.
        """
        check_head(self._url)
        if self._server_clock is not None:
            self._server_clock.note(self._read(now_of))
        self._writer.start()
        if self._herald is not None:
            self._herald.start()
        try:
            self._epoch = self.write(_open_log).result()
        except BaseException:
            self.close()
            raise
        if self._ear is not None:
            self._ear.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Commit everything that waits, then let go of the file. Later writes fail with `StoreUnavailable`."""
        self._writer.close(timeout_s)
        if self._ear is not None:
            self._ear.stop(timeout_s)
        if self._herald is not None:
            self._herald.stop(timeout_s)
        self._readers.dispose()
        self._write_engine.dispose()

    @property
    def shared(self) -> bool:
        """Whether other processes may write to the database too."""
        return self._herald is not None

    @property
    def epoch(self) -> str:
        """The log's epoch: 8 hex digits, for ever the same of this database."""
        return self._epoch

    @property
    def waiting(self) -> int:
        """How many receipts and units of work wait for the writer."""
        return self._writer.waiting

    def write(self, work: Callable[[Unit], T]) -> Future[T]:
        """Have *work* done by the writer; the future is resolved after the commit. Cancelled in time, it is not."""
        future: Future[T] = Future()
        self._writer.submit(Task(future, work))
        return future

    def write_async(self, work: Callable[[Unit], T]) -> asyncio.Future[T]:
        """Have *work* done by the writer; cancelling the future only means that nobody looks at the result."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writer.submit(Task(future, work))
        return future

    def receive(self, new: NewReceipt) -> asyncio.Future[StoredReceipt]:
        """Store a receipt; once the future is resolved it is on the disk. It is stored even if cancelled."""
        future: asyncio.Future[StoredReceipt] = asyncio.get_running_loop().create_future()
        self._writer.receive(Arrival(future, new))
        return future

    def read(self, query: Callable[[Unit], T]) -> T:
        """Run *query* on a connection of its own, in a transaction that sees one state; never waits for the writer.

        Raises:
            StoreUnavailable: The database cannot be read just now.
            StoreBroken: The database is damaged.
        """
        return self._read(lambda connection: query(Unit(connection, self._clock())))

    def _read(self, query: Callable[[Connection], T]) -> T:
        try:
            try:
                return self._read_once(query)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return self._read_once(query)  # the server was restarted since: there are fresh ones now
        except Exception as error:
            fault = classify(error)
            if fault is Fault.OWN:
                raise
            kind = StoreBroken if fault is Fault.FATAL else StoreUnavailable
            raise kind(f"nothing was read: {describe(error)}") from error

    def _read_once(self, query: Callable[[Connection], T]) -> T:
        with self._readers.connect() as connection, connection.begin():
            return query(connection)

    def listen(self, topic: Topic, callback: Callable[[], None]) -> Callable[[], None]:
        """Have *callback* called once after each commit with something of *topic*; return the unsubscriber.

        It runs on the writer's thread, which waits for it: it must do no more than wake someone.
        """
        return self._listeners.listen(topic, callback)

    def health(self) -> StoreHealth:
        """Say how the last try to commit went, without trying."""
        trouble = self._writer.trouble
        return StoreHealth(trouble is None, trouble or "ok", self._writer.last_commit_at)

    def probe(self) -> Future[None]:
        """Try a commit that reaches the disk; at most one a second is made, callers in between share it."""
        with self._probe_lock:
            probe = self._probe
            if probe is None or (probe.done() and time.monotonic() - self._probed_at >= PROBE_EVERY_S):
                probe = self._probe = Future()
                probe.set_running_or_notify_cancel()  # shared: one caller that goes must not take it along
                self._probed_at = time.monotonic()
                self._writer.submit(Task(probe, _try), always=True)
            return probe


def _open_log(unit: Unit) -> str:
    epoch = unit.log.open()
    unit.announce(Topic.EVENTS)  # gives places to events that a restore may have brought without
    return epoch


def _try(unit: Unit) -> None:
    unit.log.probe()
