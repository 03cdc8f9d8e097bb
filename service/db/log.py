"""The log's one row, and the sequencer that gives events their places."""

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select, text, update

from service.db.tables import events, log
from service.db.types import UtcTime

if TYPE_CHECKING:
    from service.db.unit import Unit

_COUNT = select(func.count()).where(events.c.position.is_(None)).scalar_subquery()
_PLACES = (
    select(
        events.c.number,
        (func.row_number().over(order_by=events.c.number) - func.count().over()).label("from_last"),
    )
    .where(events.c.position.is_(None))
    .subquery("places")
)

# Made once: making these two costs more than running them.
_ADVANCE = update(log).values(last_position=log.c.last_position + _COUNT).returning(log.c.last_position)
_PLACE = (
    update(events)
    .values(position=bindparam("b_last") + _PLACES.c.from_last)
    .where(events.c.number == _PLACES.c.number)
)

MOST_PLACES = 5_000
"""Given by one transaction."""
_OPEN = text(
    "INSERT INTO log (id, epoch, last_position, probes, created_at) VALUES (1, :epoch, 0, 0, :created_at)"
    " ON CONFLICT (id) DO NOTHING"
).bindparams(bindparam("created_at", type_=UtcTime))
_HOLD = select(log.c.last_position).with_for_update()
_SET = update(log).values(last_position=bindparam("b_last"))
_NEXT = (
    select(events.c.number)
    .where(events.c.position.is_(None))
    .order_by(events.c.number)
    .limit(MOST_PLACES)
    .subquery("next")
)
_IN_ORDER = select(_NEXT.c.number, func.row_number().over(order_by=_NEXT.c.number).label("place")).subquery(
    "in_order"
)
_PLACE_SOME = (
    update(events)
    .values(position=bindparam("b_last") + _IN_ORDER.c.place)
    .where(events.c.number == _IN_ORDER.c.number)
)


class Log:
    """The epoch, the last position and the sequencer."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def open(self) -> str:
        """Return the log's epoch, 8 hex digits; a new database gets one that no other has."""
        epoch: str | None = self._connection.scalar(select(log.c.epoch))
        if epoch is None:
            row = {"epoch": secrets.token_hex(4), "created_at": self._unit.now}
            self._connection.execute(_OPEN, row)  # another process may do so at the same moment
            epoch = self._connection.scalars(select(log.c.epoch)).one()
        return epoch

    def last_position(self) -> int:
        """Return the position of the newest event; 0 before the first, also where nothing ever ran."""
        return self._connection.scalar(select(log.c.last_position)) or 0

    def sequence(self) -> int:
        """Give consecutive positions to the events without one, in order of insertion; return how many.

        Within one payment that is the order of its transitions. Runs in the same commit as the events, so a
        reader who has seen a position has seen all before it.
        """
        last: int = self._connection.scalars(_ADVANCE).one()
        return self._connection.execute(_PLACE, {"b_last": last}).rowcount

    def sequence_among_others(self) -> int:
        """Give consecutive positions to events that are committed and have none; return how many.

        The log's row is held first, by a statement of its own: only the next one sees what whoever held it before
        has done, and all that was committed meanwhile. An event of a payment is made on top of the earlier one's
        commit, with a higher number: it never comes before it.
        """
        last: int = self._connection.scalars(_HOLD).one()
        placed = self._connection.execute(_PLACE_SOME, {"b_last": last}).rowcount
        if placed:
            self._connection.execute(_SET, {"b_last": last + placed})
        return placed

    def probe(self) -> None:
        """Change something that nobody reads, so that the commit has something to bring to the disk."""
        self._connection.execute(update(log).values(probes=log.c.probes + 1))
