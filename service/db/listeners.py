"""Who wants to hear what a commit may have brought."""

import contextlib
from collections.abc import Callable, Collection

import structlog

from service.db.topic import Topic

log = structlog.get_logger(__name__)


class Listeners:
    """Callbacks by topic. They run on the thread that has something to tell, which waits for them."""

    def __init__(self) -> None:
        self._all: dict[object, tuple[Topic, Callable[[], None]]] = {}

    def listen(self, topic: Topic, callback: Callable[[], None]) -> Callable[[], None]:
        """Call *callback* whenever there may be something of *topic*; return what ends that."""
        mark = object()
        self._all[mark] = (topic, callback)

        def unsubscribe() -> None:
            self._all.pop(mark, None)

        return unsubscribe

    def tell(self, topics: Collection[Topic]) -> None:
        """Call those who listen for one of *topics*, each by itself: one that fails is logged."""
        for topic, callback in tuple(self._all.values()):
            if topic in topics:
                try:
                    callback()
                except Exception:
                    with contextlib.suppress(Exception):  # on a full disk even that may fail
                        log.exception("listener_failed")
