"""The log of events: written once, in order, and read from a position on."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, func, insert, select

from service.db.filters import Wanted, wanted, wanted_by_any
from service.db.tables import events
from service.db.topic import Topic
from service.domain.records import LoggedEvent

if TYPE_CHECKING:
    from django_midtrans.events import PaymentEvent
    from service.db.unit import Unit

COUNTED = 10_000
"""How many positions are looked at to count what is ahead of a cursor."""
SKEW = 1_000
"""Among how many events around a time the first position is looked for: clocks of two processes may differ."""

_COLUMNS = (
    events.c.position,
    events.c.merchant,
    events.c.transaction_id,
    events.c.order_id,
    events.c.type,
    events.c.body,
)


INSERT = insert(events)
_HAS = select(events.c.number).where(events.c.id == bindparam("b_id"))


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What of the log is asked for. *within*: only what one of these wants; None is everything."""

    types: tuple[str, ...] = ("*",)
    merchants: tuple[str, ...] = ("*",)
    order_id: str | None = None
    within: tuple[Wanted, ...] | None = None


class Events:
    """The log. Positions are given by the sequencer when a unit commits."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def append(
        self, *, event: "PaymentEvent", merchant: str, transaction_id: str, order_id: str, sequence: int
    ) -> None:
        """Add an event; it gets its place in the log with the commit.

        A second event with the same id, or the same sequence of one payment, fails: the unit is undone.
        """
        identity = {
            "merchant": merchant,
            "transaction_id": transaction_id,
            "order_id": order_id,
            "sequence": sequence,
        }
        self._connection.execute(INSERT, identity | row(event, self._unit.now))
        self._unit.announce(Topic.EVENTS)

    def has(self, event_id: uuid.UUID) -> bool:
        """Say whether this has been told, in the log yet or not."""
        return self._connection.execute(_HAS, {"b_id": event_id}).first() is not None

    def after(
        self, position: int, *, limit: int, only: EventFilter | None = None, until: int | None = None
    ) -> list[LoggedEvent]:
        """Return the first *limit* events behind *position*, in order; *until* there when it is given."""
        query = select(*_COLUMNS).where(events.c.position > position)
        if until is not None:
            query = query.where(events.c.position <= until)
        if only is not None:
            query = query.where(wanted(only.types, only.merchants))
            if only.order_id is not None:
                query = query.where(events.c.order_id == only.order_id)
            if only.within is not None:
                query = query.where(wanted_by_any(only.within))
        rows = self._connection.execute(query.order_by(events.c.position).limit(limit))
        return [_event(row) for row in rows]

    def by_id(self, event_id: uuid.UUID, *, within: Sequence[Wanted] | None = None) -> LoggedEvent | None:
        """Return the event, if it is in the log and one of *within* wants it."""
        query = select(*_COLUMNS).where(events.c.id == event_id, events.c.position.is_not(None))
        if within is not None:
            query = query.where(wanted_by_any(within))
        row = self._connection.execute(query).first()
        return None if row is None else _event(row)

    def position_before(self, moment: datetime) -> int | None:
        """Return the position behind which everything made at *moment* or later lies; None: nothing does."""
        near = (
            select(events.c.position)
            .where(events.c.made_at >= moment, events.c.position.is_not(None))
            .order_by(events.c.made_at)
            .limit(SKEW)
            .subquery()
        )
        first: int | None = self._connection.execute(select(func.min(near.c.position))).scalar()
        return None if first is None else first - 1

    def made_at(self, position: int) -> datetime | None:
        """Return when the event at *position* was made."""
        query = select(events.c.made_at).where(events.c.position == position)
        moment: datetime | None = self._connection.execute(query).scalar()
        return moment

    def ahead(self, position: int, head: int, filter_: Wanted) -> int:
        """Return how many events behind *position* are wanted: counted near by, every one further off."""
        until = min(position + COUNTED, head)
        query = select(func.count()).where(
            events.c.position > position, events.c.position <= until, wanted(*filter_)
        )
        return self._connection.execute(query).scalar_one() + head - until

    def first_wanted(self, position: int, until: int, filter_: Wanted) -> int | None:
        """Return the first position behind *position*, up to *until*, that is wanted."""
        query = (
            select(events.c.position)
            .where(events.c.position > position, events.c.position <= until, wanted(*filter_))
            .order_by(events.c.position)
            .limit(1)
        )
        first: int | None = self._connection.execute(query).scalar()
        return first


def row(event: "PaymentEvent", at: datetime) -> dict[str, Any]:
    """Return *event* in the terms of `INSERT`, but for what says whose it is."""
    return {
        "id": uuid.UUID(event.id),
        "type": event.type,
        "made_at": at,
        "body": event.to_json(),
    }


def _event(row: Row[Any]) -> LoggedEvent:
    return LoggedEvent(row.position, row.merchant, row.transaction_id, row.order_id, row.type, row.body)
