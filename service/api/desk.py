"""Where lease calls come together: those that wait for the same commit are one unit of work."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

from service.db.store import Store
from service.db.unit import Unit
from service.errors import ServiceError, StoreError
from service.flow import lease

MOST_TOGETHER: Final = 200
"""How many events are asked for and acked by one unit of work, unless one call alone asks for more."""

Answer = tuple[lease.Lent, datetime]
"""What was lent, and when."""
_Answers = tuple[Sequence[lease.Lent | ServiceError], datetime]


@dataclass
class _Group:
    """Calls that are still taken in, until the writer begins with them."""

    dice: Callable[[], float]
    asks: list[lease.Ask] = field(default_factory=list)
    futures: list[asyncio.Future[Answer]] = field(default_factory=list)
    begun: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def join(self, ask: lease.Ask, future: asyncio.Future[Answer]) -> bool:
        """Take *ask* in; False when it is too late, or too much."""
        with self.lock:
            size = sum(one.limit + len(one.acks) for one in (*self.asks, ask))
            if self.begun or (self.asks and size > MOST_TOGETHER):
                return False
            self.asks.append(ask)
            self.futures.append(future)
            return True

    def close(self) -> None:
        """Take no more in."""
        with self.lock:
            self.begun = True

    def serve(self, unit: Unit) -> _Answers:
        """Do what is asked for; called by the writer."""
        self.close()
        return lease.lend_each(unit, self.asks, dice=self.dice), unit.now


class Desk:
    """Hands lease calls to the store."""

    def __init__(self, store: Store, dice: Callable[[], float]) -> None:
        self._store = store
        self._dice = dice
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, _Group] = WeakKeyDictionary()

    def lend(self, ask: lease.Ask) -> asyncio.Future[Answer]:
        """Do what `lease.lend` does, and raise what it raises; resolved after the commit."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        group = self._open.get(loop)
        if group is None or not group.join(ask, future):
            group = self._open[loop] = _Group(self._dice)
            group.join(ask, future)
            self._send(group)
        return future

    def _send(self, group: _Group) -> None:
        self._store.write_async(group.serve).add_done_callback(partial(self._tell, group))

    def _tell(self, group: _Group, done: asyncio.Future[_Answers]) -> None:
        group.close()  # where nothing could be written the writer never began with it
        error = done.exception()
        if error is None:
            answers, now = done.result()
            for future, answer in zip(group.futures, answers, strict=True):
                _resolve(future, answer, now)
        elif len(group.asks) == 1 or isinstance(error, StoreError):
            for future in group.futures:
                if not future.done():
                    future.set_exception(copy(error))
        else:  # one of them is at fault, and the others must not suffer for it
            for ask, future in zip(group.asks, group.futures, strict=True):
                self._send(_Group(self._dice, [ask], [future], begun=True))


def _resolve(future: asyncio.Future[Answer], answer: lease.Lent | ServiceError, now: datetime) -> None:
    if future.done():
        return
    if isinstance(answer, ServiceError):
        future.set_exception(answer)
    else:
        future.set_result((answer, now))
