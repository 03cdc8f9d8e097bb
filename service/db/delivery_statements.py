"""The statements on deliveries, built once. The correlated ones run on ix_deliveries_payment.

What is set aside (held, dead, discarded) has an index of its own, whose condition such a statement repeats.
"""

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from service.db.filters import wanted
from service.db.quick import PADDED, Quick
from service.db.tables import LATE, SET_ASIDE, consumers, deliveries, events, log
from service.domain.delivery import DeliveryState as State

_other = deliveries.alias("other")
COLUMNS = (
    deliveries.c.position,
    deliveries.c.merchant,
    deliveries.c.transaction_id,
    deliveries.c.state,
    deliveries.c.attempt,
    deliveries.c.batch,
)


def _blocks(holds: bool) -> ColumnElement[bool]:  # noqa: FBT001 (as below)
    # Not IN: SQLAlchemy would spell its list out anew each time.
    counts = _other.c.state != State.DISCARDED
    return counts if holds else and_(counts, _other.c.state != State.DEAD)


@lru_cache(maxsize=2)
def due(holds: bool) -> Select[Any]:  # noqa: FBT001 (a cache's key)
    """Return what selects deliveries whose time has come; *holds*: dead ones hold later ones."""
    earlier = exists().where(
        _other.c.consumer == deliveries.c.consumer,
        _other.c.merchant == deliveries.c.merchant,
        _other.c.transaction_id == deliveries.c.transaction_id,
        _other.c.position < deliveries.c.position,
        _blocks(holds),
    )
    return (
        select(*COLUMNS, earlier.label("blocked"), events.c.body)
        .join(events, events.c.position == deliveries.c.position)
        .where(deliveries.c.consumer == bindparam("consumer"), deliveries.c.due_at <= bindparam("now"))
        .order_by(deliveries.c.due_at, deliveries.c.position)
        .limit(bindparam("rows"))
    )


@lru_cache(maxsize=256)
def scan(holds: bool, types: tuple[str, ...], merchants: tuple[str, ...]) -> Quick:  # noqa: FBT001
    """Return what selects the events behind a cursor that are wanted, with what holds them back."""
    earlier = exists().where(
        _other.c.consumer == bindparam("consumer"),
        _other.c.merchant == events.c.merchant,
        _other.c.transaction_id == events.c.transaction_id,
        _other.c.position < events.c.position,
        _blocks(holds),
    )
    there = select(_other.c.state).where(
        _other.c.consumer == bindparam("consumer"), _other.c.position == events.c.position
    )
    return Quick(_log(types, merchants).add_columns(earlier.label("blocked"), there.scalar_subquery()))


@lru_cache(maxsize=256)
def scan_free(types: tuple[str, ...], merchants: tuple[str, ...]) -> Quick:
    """Return what selects these events where nothing is outstanding."""
    return Quick(_log(types, merchants))


def _log(types: tuple[str, ...], merchants: tuple[str, ...]) -> Select[Any]:
    return (
        select(events.c.position, events.c.merchant, events.c.transaction_id, events.c.body)
        .where(
            events.c.position > bindparam("after"),
            events.c.position <= bindparam("until"),
            wanted(types, merchants),
        )
        .order_by(events.c.position)
        .limit(bindparam("rows"))
    )


_OURS = deliveries.c.consumer == bindparam("consumer")
_LISTED = deliveries.c.position.in_(bindparam("positions", expanding=True))
ASIDE = (
    select(deliveries.c.position)
    .where(_OURS, deliveries.c.state == bindparam("state"), SET_ASIDE)
    .order_by(deliveries.c.position.desc())
    .limit(bindparam("rows"))
)
ON_ITS_WAY = (
    select(deliveries.c.position)
    .where(_OURS, deliveries.c.due_at.is_not(None))
    .order_by(deliveries.c.due_at.desc())
    .limit(bindparam("rows"))
)
WITH_LEASE = select(deliveries.c.position).where(_OURS, LATE).limit(bindparam("rows"))
FORGET_LEASES = update(deliveries).where(deliveries.c.consumer == bindparam("of"), _LISTED).values(batch=None)
FIRST_OPEN = (
    # + 0: by the index on positions a database would pass over every dead one before the first.
    select(func.min(deliveries.c.position + 0)).where(_OURS, deliveries.c.due_at.is_not(None)),
    select(func.min(deliveries.c.position)).where(_OURS, deliveries.c.state == State.HELD, SET_ASIDE),
)
BY_LEASE = select(*COLUMNS).where(_OURS, deliveries.c.batch == bindparam("batch"), _LISTED)
OF_PAYMENTS = select(
    deliveries.c.position, deliveries.c.merchant, deliveries.c.transaction_id, deliveries.c.state
).where(
    _OURS,
    deliveries.c.merchant == bindparam("merchant"),
    deliveries.c.transaction_id.in_(bindparam("transaction_ids", expanding=True)),
)
NEXT_DUE = select(func.min(deliveries.c.due_at)).where(_OURS, deliveries.c.due_at.is_not(None))
ADD = Quick(insert(deliveries))
LEND_AGAIN = (
    update(deliveries)
    .where(deliveries.c.consumer == bindparam("of"), deliveries.c.position == bindparam("at"))
    .values(
        state=State.LEASED,
        batch=bindparam("new_batch"),
        attempt=bindparam("new_attempt"),
        leased_until=bindparam("new_until"),
        due_at=bindparam("new_due_at"),
        updated_at=bindparam("now"),
    )
)
REMOVE = delete(deliveries).where(_OURS, _LISTED)
CHANGE = (
    update(deliveries)
    .where(deliveries.c.consumer == bindparam("of"), deliveries.c.position == bindparam("at"))
    .values(
        state=bindparam("new_state"),
        due_at=bindparam("new_due_at"),
        leased_until=bindparam("new_until"),
        batch=bindparam("new_batch"),
        reason=bindparam("new_reason"),
        attempt=func.coalesce(bindparam("new_attempt", type_=Integer), deliveries.c.attempt),
        updated_at=bindparam("now"),
    )
)
FREE = (
    update(deliveries)
    .where(deliveries.c.consumer == bindparam("of"), _LISTED)
    .values(state=State.WAITING, due_at=bindparam("now"), updated_at=bindparam("now"))
)


@lru_cache(maxsize=len(PADDED))
def standings(size: int) -> Quick:
    """Return what selects where consumers ``name_0`` and on, *size* at most, stand."""
    ours = deliveries.c.consumer == consumers.c.name
    held = exists().where(ours, deliveries.c.state == literal_column("'held'"), SET_ASIDE)
    return Quick(
        select(
            consumers.c.name,
            select(log.c.last_position).scalar_subquery(),
            select(func.min(deliveries.c.due_at))
            .where(ours, deliveries.c.due_at.is_not(None))
            .scalar_subquery(),
            held.correlate(consumers),
            select(func.min(deliveries.c.position)).where(ours).scalar_subquery(),
        ).where(consumers.c.name.in_([bindparam(f"name_{number}", type_=Text) for number in range(size)]))
    )


_TAKEN = (
    deliveries.c.consumer,
    deliveries.c.batch,
    deliveries.c.position,
    deliveries.c.merchant,
    deliveries.c.transaction_id,
)


@lru_cache(maxsize=len(PADDED))
def take(size: int) -> Quick:
    """Return what removes *size* deliveries at most, ``position_0`` and on, that one lease call lent."""
    positions = [bindparam(f"position_{number}", type_=BigInteger) for number in range(size)]
    return Quick(
        delete(deliveries)
        .where(_OURS, deliveries.c.batch == bindparam("batch"), deliveries.c.position.in_(positions))
        .returning(*_TAKEN)
    )


TAKE_LISTED = Quick(
    text(
        "DELETE FROM deliveries USING unnest(:consumers ::text[], :batches ::text[], :positions ::bigint[])"
        " AS listed (consumer, batch, position)"
        " WHERE deliveries.consumer = listed.consumer AND deliveries.position = listed.position"
        " AND deliveries.batch = listed.batch"
        " RETURNING deliveries.consumer, deliveries.batch, deliveries.position, deliveries.merchant,"
        " deliveries.transaction_id"
    )
)
"""Removes what several lease calls lent: PostgreSQL's own words."""
