"""What is next in the log, kept in memory for the many consumers that read the same stretch of it one by one.

What has a place in the log never changes and nothing is ever put before it, so a stretch that was read once stays
true for as long as the process lives. Bodies stay packed until somebody wants them.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, bindparam, select, type_coerce
from sqlalchemy.types import LargeBinary

from service.db.packing import unpack
from service.db.quick import Quick
from service.db.tables import events
from service.domain.patterns import matches

STRETCH: Final = 64
"""Positions that are read at once."""
STRETCHES: Final = 32
"""How many stretches are kept: some 2 MB."""
FEW: Final = 16
"""Who wants more rows than this at once reads the log itself."""

Found = tuple[int, str, str, str]
"""(position, merchant, transaction id, body)"""

_READ = Quick(
    select(
        events.c.position,
        events.c.merchant,
        events.c.transaction_id,
        events.c.type,
        type_coerce(events.c.body, LargeBinary),
    )
    .where(events.c.position > bindparam("after"), events.c.position <= bindparam("until"))
    .order_by(events.c.position)
)


@dataclass(slots=True)
class _Event:
    position: int
    merchant: str
    transaction_id: str
    type: str
    packed: bytes
    body: str | None = None

    def found(self) -> Found:
        """Return the event, its body unpacked once for all who read it."""
        if self.body is None:
            self.body = unpack(self.packed).decode()
        return self.position, self.merchant, self.transaction_id, self.body


@dataclass(slots=True)
class _Stretch:
    read_to: int
    events: list[_Event] = field(default_factory=list)


class Ahead:
    """The stretches of one database's log that were read last."""

    def __init__(self) -> None:
        self._stretches: OrderedDict[int, _Stretch] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        connection: Connection,
        wanted: tuple[Sequence[str], Sequence[str]],
        *,
        after: int,
        until: int,
        rows: int,
    ) -> list[Found] | None:
        """Return the first *rows* events behind *after*, up to *until*, that are wanted.

        None when one stretch does not hold enough: somebody who wants little is better served by the database.
        *until* lies no further than what has been committed.
        """
        number = after // STRETCH
        end = min((number + 1) * STRETCH, until)
        types, merchants = wanted
        found: list[Found] = []
        with self._lock:
            for event in self._stretch(connection, number, end).events:
                if event.position <= after or event.position > end:
                    continue
                if matches(types, event.type) and matches(merchants, event.merchant):
                    found.append(event.found())
                    if len(found) == rows:
                        return found
        return found if end == until else None

    def _stretch(self, connection: Connection, number: int, end: int) -> _Stretch:
        stretch = self._stretches.get(number)
        if stretch is None:
            stretch = self._stretches[number] = _Stretch(number * STRETCH)
            if len(self._stretches) > STRETCHES:
                self._stretches.popitem(last=False)
        else:
            self._stretches.move_to_end(number)
        if stretch.read_to < end:
            facts = {"after": stretch.read_to, "until": end}
            stretch.events += [_Event(*row) for row in _READ.rows(connection, facts)]
            stretch.read_to = end
        return stretch


_OF: WeakKeyDictionary[Engine, Ahead] = WeakKeyDictionary()
_NEW = threading.Lock()


def ahead_of(connection: Connection) -> Ahead:
    """Return what is known of the log of the connection's database."""
    found: Any = _OF.get(connection.engine)
    if found is None:
        with _NEW:
            found = _OF.setdefault(connection.engine, Ahead())
    ahead: Ahead = found
    return ahead
