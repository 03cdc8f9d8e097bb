"""Hears what other processes tell: LISTEN on a connection of its own, or looking often where that does not work."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import psycopg
import structlog

from service.db.faults import describe
from service.db.herald import CHANNEL, Herald
from service.db.listeners import Listeners
from service.db.topic import Topic

POLL_S: Final = 0.25
TEST_S: Final = 2.0
"""A word of our own that is not heard for so long will not be: a pooler in transaction mode swallows it."""
RETRY_S: Final = 15.0
"""So long it does without, before it tries again."""

log = structlog.get_logger(__name__)


class Ear:
    """One thread of each process. Nothing that it hears is needed for anything but speed.

    *url* is of a direct connection.
    """

    def __init__(
        self, url: str, *, herald: Herald, listeners: Listeners, last_position: Callable[[], int]
    ) -> None:
        self._url = url.replace("+psycopg", "", 1)
        self._herald = herald
        self._listeners = listeners
        self._last_position = last_position
        self._stopping = threading.Event()
        self._connection: psycopg.Connection[Any] | None = None
        self.hears = False
        """Whether a word of our own came through."""
        self._thread = threading.Thread(target=self._run, name="ear", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            why = "a pooler in transaction mode stands between: set SERVICE_LISTEN_URL to a direct connection"
            try:
                self._listen()
            except psycopg.Error as error:
                why = describe(error)
            except Exception:
                log.exception("listening_failed")
                why = "see above"
            was, self.hears = self.hears, False
            if not self._stopping.is_set():
                with contextlib.suppress(Exception):
                    log.warning("not_listening", why=why, instead=f"looking every {POLL_S * 1000:.0f} ms")
                self._poll(1.0 if was else RETRY_S)

    def _listen(self) -> None:
        """Hear, and tell the listeners, until told to end; return when our own word is not heard."""
        connection = psycopg.connect(
            self._url, autocommit=True, connect_timeout=5, prepare_threshold=None, client_encoding="utf8"
        )
        with connection:
            connection.execute(f"LISTEN {CHANNEL}".encode())
            self._herald.say("hello")
            said_s = time.monotonic()
            while not self._stopping.is_set():
                for heard in connection.notifies(timeout=POLL_S, stop_after=1):
                    sender, _, words = heard.payload.partition(" ")
                    if sender != self._herald.name:
                        self._listeners.tell(_topics(words))
                    elif not self.hears:
                        self.hears = True
                        self._listeners.tell(set(Topic))  # whatever was missed
                if not self.hears:
                    if time.monotonic() - said_s > TEST_S:
                        return
                    self._listeners.tell({Topic.RECEIPTS})

    def _poll(self, for_s: float) -> None:
        until_s = time.monotonic() + for_s
        last = -1
        while time.monotonic() < until_s and not self._stopping.wait(POLL_S):
            topics = {Topic.RECEIPTS}
            with contextlib.suppress(Exception):  # the store says what is wrong with it
                if (found := self._last_position()) != last:
                    last = found
                    topics.add(Topic.EVENTS)
            self._listeners.tell(topics)


def _topics(words: str) -> set[Topic]:
    known = set(Topic)
    return {topic for topic in known if topic.value in words.split(",")}
