"""Consumers: named readers of the log, each with a cursor."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, delete, insert, select, update

from service.db.quick import PADDED, Quick, padded
from service.db.tables import consumers
from service.domain.delivery import Consumer
from service.domain.push import Streak
from service.domain.records import ConsumerSpec, PushSpec
from service.errors import NotFound

if TYPE_CHECKING:
    from service.db.unit import Unit

_COLUMNS = (
    consumers.c.types,
    consumers.c.merchants,
    consumers.c.push,
    consumers.c.start,
    consumers.c.lease_seconds,
    consumers.c.max_attempts,
    consumers.c.on_dead,
    consumers.c.name,
    consumers.c.paused,
    consumers.c.cursor,
    consumers.c.created_at,
    consumers.c.updated_at,
    consumers.c.pause_reason,
    consumers.c.failures,
    consumers.c.failing_since,
    consumers.c.last_failure,
)
_SPEC = 7
"""So many of the columns make the spec."""
_ALL = select(*_COLUMNS).order_by(consumers.c.name)
_ONE = select(*_COLUMNS).where(consumers.c.name == bindparam("name"))
_BY_NAME = Quick(_ONE)
_LOCKED = Quick(_ONE.with_for_update())
_MOVE = Quick(
    update(consumers).where(consumers.c.name == bindparam("which")).values(cursor=bindparam("position"))
)


@lru_cache(maxsize=len(PADDED))
def _all_locked(size: int) -> Quick:
    names = [bindparam(f"name_{number}", type_=Text) for number in range(size)]
    return Quick(_ALL.where(consumers.c.name.in_(names)).with_for_update())


class Consumers:
    """The rows of the consumers. Who changes what a consumer has outstanding locks its row first."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def get(self, name: str) -> Consumer:
        """Return the consumer; raise NotFound."""
        return self._one(_BY_NAME, name)

    def lock(self, name: str) -> Consumer:
        """Return the consumer, nobody else's until the transaction ends; raise NotFound."""
        return self._one(_LOCKED, name)

    def lock_all(self, names: Collection[str]) -> dict[str, Consumer]:
        """Return those of *names* that there are, nobody else's until the transaction ends.

        Locked in order of their names, so that two who lock several do not wait for each other for ever.
        """
        listed = padded(sorted(names))
        facts = {f"name_{number}": name for number, name in enumerate(listed)}
        found = (_consumer(row) for row in _all_locked(len(listed)).rows(self._connection, facts))
        return {consumer.name: consumer for consumer in found}

    def find(self, name: str) -> Consumer | None:
        """Return the consumer, nobody else's until the transaction ends, or None: nobody else makes it then."""
        self._unit.hold(f"consumer/{name}")
        rows = _LOCKED.rows(self._connection, {"name": name})
        return _consumer(rows[0]) if rows else None

    def all(self) -> list[Consumer]:
        """Return every consumer, by name."""
        return [_consumer(row) for row in self._connection.execute(_ALL)]

    def pushed(self) -> list[Consumer]:
        """Return every consumer whose events are pushed, by name."""
        query = _ALL.where(consumers.c.push.is_not(None))
        return [_consumer(row) for row in self._connection.execute(query)]

    def named(self, names: tuple[str, ...]) -> list[Consumer]:
        """Return those among *names* that there are."""
        query = _ALL.where(consumers.c.name.in_(names))
        return [_consumer(row) for row in self._connection.execute(query)]

    def add(self, name: str, spec: ConsumerSpec, *, cursor: int) -> None:
        """Make a consumer that has passed *cursor*."""
        now = self._unit.now
        row = {"name": name, "cursor": cursor, "paused": False, "start": spec.start, "created_at": now}
        self._connection.execute(insert(consumers).values(**row, **self._changeable(spec)))

    def change(self, name: str, spec: ConsumerSpec) -> None:
        """Write *spec* over what the consumer was; its start and its cursor stay."""
        self._connection.execute(
            update(consumers).where(consumers.c.name == name).values(**self._changeable(spec))
        )

    def move(self, name: str, cursor: int) -> None:
        """Set the last position that the consumer has passed."""
        _MOVE.run(self._connection, {"which": name, "position": cursor})

    def move_all(self, cursors: Mapping[str, int]) -> None:
        """Set the last positions that several consumers have passed."""
        _MOVE.many(
            self._connection, [{"which": name, "position": cursor} for name, cursor in cursors.items()]
        )

    def pause(self, name: str, *, paused: bool, reason: str | None = None) -> None:
        """Stop or go on lending to the consumer; *reason* is why this service does it by itself."""
        self._connection.execute(
            update(consumers)
            .where(consumers.c.name == name)
            .values(paused=paused, pause_reason=reason, updated_at=self._unit.now)
        )

    def note(self, name: str, streak: Streak) -> None:
        """Keep how many pushes have failed in a row."""
        self._connection.execute(
            update(consumers)
            .where(consumers.c.name == name)
            .values(failures=streak.failures, failing_since=streak.since, last_failure=streak.reason)
        )

    def remove(self, name: str) -> None:
        """Forget the consumer; its deliveries are the caller's business."""
        self._connection.execute(delete(consumers).where(consumers.c.name == name))

    def _changeable(self, spec: ConsumerSpec) -> Mapping[str, Any]:
        return {
            "types": json.dumps(spec.types),
            "merchants": json.dumps(spec.merchants),
            "lease_seconds": spec.lease_seconds,
            "max_attempts": spec.max_attempts,
            "on_dead": spec.on_dead,
            "push": None if spec.push is None else json.dumps(asdict(spec.push)),
            "updated_at": self._unit.now,
        }

    def _one(self, statement: Quick, name: str) -> Consumer:
        rows = statement.rows(self._connection, {"name": name})
        if not rows:
            raise NotFound("consumer", name)
        return _consumer(rows[0])


def _consumer(row: Sequence[Any]) -> Consumer:
    name, paused, cursor, created_at, updated_at, pause_reason, *streak = row[_SPEC:]
    spec = _spec(*row[:_SPEC])
    return Consumer(name, spec, paused, cursor, created_at, updated_at, pause_reason, Streak(*streak))


@lru_cache(maxsize=256)
def _spec(types: str, merchants: str, push: str | None, *rest: Any) -> ConsumerSpec:
    spec = ConsumerSpec(tuple(json.loads(types)), tuple(json.loads(merchants)), *rest)
    return spec if push is None else replace(spec, push=_push(**json.loads(push)))


def _push(secrets: list[str], **rest: Any) -> PushSpec:
    return PushSpec(secrets=tuple(secrets), **rest)
