"""The statements on deliveries, built once. The correlated ones run on ix_deliveries_payment.

What is set aside (held, dead, discarded) has an index of its own, whose condition such a statement repeats.
"""

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from service.db.filters import wanted
from service.db.tables import SET_ASIDE, deliveries, events
from service.domain.delivery import DeliveryState as State

_other = deliveries.alias("other")
COLUMNS = (
    deliveries.c.id,
    deliveries.c.position,
    deliveries.c.merchant,
    deliveries.c.transaction_id,
    deliveries.c.state,
    deliveries.c.attempt,
    deliveries.c.batch,
    deliveries.c.number,
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
def scan(holds: bool, types: tuple[str, ...], merchants: tuple[str, ...]) -> Select[Any]:  # noqa: FBT001
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
    return (
        select(
            events.c.position,
            events.c.merchant,
            events.c.transaction_id,
            events.c.body,
            earlier.label("blocked"),
            there.scalar_subquery().label("there"),
        )
        .where(
            events.c.position > bindparam("after"),
            events.c.position <= bindparam("until"),
            wanted(types, merchants),
        )
        .order_by(events.c.position)
        .limit(bindparam("rows"))
    )


ASIDE = (
    select(deliveries.c.id, deliveries.c.position)
    .where(
        deliveries.c.consumer == bindparam("consumer"),
        deliveries.c.state == bindparam("state"),
        SET_ASIDE,
    )
    .order_by(deliveries.c.position.desc())
    .limit(bindparam("rows"))
)
ON_ITS_WAY = (
    select(deliveries.c.id, deliveries.c.position)
    .where(deliveries.c.consumer == bindparam("consumer"), deliveries.c.due_at.is_not(None))
    .order_by(deliveries.c.due_at.desc())
    .limit(bindparam("rows"))
)
WITH_LEASE = (
    select(deliveries.c.id)
    .where(deliveries.c.consumer == bindparam("consumer"), deliveries.c.batch.is_not(None))
    .limit(bindparam("rows"))
)
FORGET_LEASES = (
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
    .values(batch=None, number=None)
)
FIRST_OPEN = (
    # + 0: by the index on positions a database would pass over every dead one before the first.
    select(func.min(deliveries.c.position + 0)).where(
        deliveries.c.consumer == bindparam("consumer"), deliveries.c.due_at.is_not(None)
    ),
    select(func.min(deliveries.c.position)).where(
        deliveries.c.consumer == bindparam("consumer"),
        deliveries.c.state == State.HELD,
        SET_ASIDE,
    ),
)
_FOLLOWED = exists().where(
    _other.c.consumer == deliveries.c.consumer,
    _other.c.merchant == deliveries.c.merchant,
    _other.c.transaction_id == deliveries.c.transaction_id,
    _other.c.state == State.HELD,
)
BY_LEASE = select(*COLUMNS, _FOLLOWED.label("followed")).where(
    deliveries.c.consumer == bindparam("consumer"),
    deliveries.c.batch == bindparam("batch"),
    deliveries.c.number.in_(bindparam("numbers", expanding=True)),
)
SIBLINGS = (
    select(
        _other.c.id,
        _other.c.position,
        _other.c.merchant,
        _other.c.transaction_id,
        _other.c.state,
    )
    .join(
        deliveries,
        and_(
            _other.c.consumer == deliveries.c.consumer,
            _other.c.merchant == deliveries.c.merchant,
            _other.c.transaction_id == deliveries.c.transaction_id,
        ),
    )
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
    .distinct()
)
ADD = insert(deliveries)
LEND_AGAIN = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("row_id"))
    .values(
        state=State.LEASED,
        batch=bindparam("new_batch"),
        number=bindparam("new_number"),
        attempt=bindparam("new_attempt"),
        leased_until=bindparam("new_until"),
        due_at=bindparam("new_due_at"),
        updated_at=bindparam("at"),
    )
)
REMOVE = delete(deliveries).where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
CHANGE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("row_id"))
    .values(
        state=bindparam("new_state"),
        due_at=bindparam("new_due_at"),
        leased_until=bindparam("new_until"),
        batch=bindparam("new_batch"),
        number=bindparam("new_number"),
        reason=bindparam("new_reason"),
        attempt=func.coalesce(bindparam("new_attempt", type_=Integer), deliveries.c.attempt),
        updated_at=bindparam("at"),
    )
)
FREE = (
    update(deliveries)
    .where(deliveries.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=State.WAITING, due_at=bindparam("at"), updated_at=bindparam("at"))
)
NEXT_DUE = select(func.min(deliveries.c.due_at)).where(
    deliveries.c.consumer == bindparam("consumer"), deliveries.c.due_at.is_not(None)
)
