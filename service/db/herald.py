"""After the commit, on a database that several processes write: events get their places, everybody is told.

```text
a writer commits ─► tell() ─► the herald's turn ─┬─ places in the log, one process at a time
                                                 ├─ one NOTIFY for all that was committed meanwhile
                                                 └─ our own listeners
```

Events commit without a place. Whoever gives places holds the log's one row until its commit, so that places are
consecutive and given by one process at a time; the database itself ends that hold when the process dies. A reader who
has seen a place has seen all before it: what was not committed when places were given gets a later one.
"""

import contextlib
import secrets
import threading
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from service.clock import Clock
from service.db.faults import describe
from service.db.listeners import Listeners
from service.db.server_clock import ServerClock
from service.db.topic import Topic
from service.db.unit import Unit
from service.db.wake import Outcome, wake

EVERY_S: Final = 0.5
"""So often it looks for events of processes that died before they gave them places."""
CHANNEL: Final = "midtrans"

log = structlog.get_logger(__name__)
_LOOK = text("SELECT clock_timestamp() AS at, EXISTS (SELECT FROM events WHERE position IS NULL) AS unplaced")
_NOTIFY = text("SELECT pg_notify(:channel, :words)")


class Herald:
    """One thread of each process."""

    def __init__(
        self, engine: Engine, *, clock: Clock, listeners: Listeners, server_clock: ServerClock | None
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._listeners = listeners
        self._server_clock = server_clock
        self._changed = threading.Condition()
        self._topics: set[Topic] = set()
        self._words: list[str] = []
        self.name: Final = secrets.token_hex(4)
        """Begins all that is sent from here, so that one need not listen to oneself."""
        self._waiting: list[Outcome] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="herald", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Tell what is to be told and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        wake(self._waiting)
        self._engine.dispose()

    def tell(self, topics: Collection[Topic], outcomes: Sequence[Outcome] = ()) -> None:
        """Have what a commit may have brought told to everybody, soon; *outcomes* wait for their events' places."""
        if not topics:
            return
        with self._changed:
            self._topics.update(topics)
            self._waiting += outcomes
            self._changed.notify()

    def say(self, word: str) -> None:
        """Have *word* sent to whoever listens, ourselves too: who does not hear it does not hear anything."""
        with self._changed:
            self._words.append(word)
            self._changed.notify()

    def _run(self) -> None:
        failing = False
        while True:
            topics, words, waiting, stopping = self._next()
            try:
                self._turn(topics, words)
                failing = False
            except Exception as error:  # noqa: BLE001  (the database is away; the next turn tries again)
                if not failing:
                    with contextlib.suppress(Exception):
                        log.warning("telling_failed", why=describe(error))
                failing = True
                with self._changed:
                    self._topics |= topics
                    if not self._stopping:
                        self._changed.wait(EVERY_S)
            wake(waiting)  # whatever became of the places: what they wait for is committed
            if stopping:
                return

    def _next(self) -> tuple[set[Topic], list[str], list[Outcome], bool]:
        with self._changed:
            if not (self._topics or self._words or self._stopping):
                self._changed.wait(EVERY_S)
            topics, self._topics = self._topics, set()
            words, self._words = self._words, []
            waiting, self._waiting = self._waiting, []
            return topics, words, waiting, self._stopping

    def _turn(self, topics: set[Topic], words: Collection[str]) -> None:
        try:
            self._turn_once(topics, words)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            self._turn_once(topics, words)  # the server was restarted since the last turn

    def _turn_once(self, topics: set[Topic], words: Collection[str]) -> None:
        with self._engine.connect() as connection:
            placed = False
            with connection.begin():
                at, unplaced = connection.execute(_LOOK).one()
                self._note(at)
                if unplaced:
                    placed = Unit(connection, self._clock()).log.sequence_among_others() > 0
                told = topics | ({Topic.EVENTS} if placed else set())
                for word in (*([",".join(sorted(told))] if told else []), *words):
                    connection.execute(_NOTIFY, {"channel": CHANNEL, "words": f"{self.name} {word}"})
        self._listeners.tell(told & {Topic.EVENTS})

    def _note(self, at: datetime) -> None:
        if self._server_clock is not None:
            self._server_clock.note(at)


def now_of(connection: Connection) -> datetime:
    """Return the server's time."""
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment
