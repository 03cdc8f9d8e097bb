"""The log's one row, and the sequencer that gives events their places."""

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, insert, select, update

from service.db.tables import events, log

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


class Log:
    """The epoch, the last position and the sequencer."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def open(self) -> str:
        """Return the log's epoch, 8 hex digits; a new database gets one that no other has."""
        epoch: str | None = self._connection.scalar(select(log.c.epoch))
        if epoch is None:
            epoch = secrets.token_hex(4)
            row = {"id": 1, "epoch": epoch, "last_position": 0, "created_at": self._unit.now}
            self._connection.execute(insert(log).values(row))
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

    def probe(self) -> None:
        """Change something that nobody reads, so that the commit has something to bring to the disk."""
        self._connection.execute(update(log).values(probes=log.c.probes + 1))
