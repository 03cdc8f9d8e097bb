"""Relays: the place of each in the log, who relays, and what the log holds behind that place."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Row, Select, and_, bindparam, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.db.filters import wanted
from service.db.tables import events, log, relays
from service.domain.relaying import LEASE, Hold, Message, Reading, RelaySpec, RelayState
from service.errors import NotFound, RelayLost

if TYPE_CHECKING:
    from service.db.unit import Unit

SCANNED = 10_000
"""Positions that one reading passes at most, wanted or not."""


class Relays:
    """The rows of the relays. All times are the unit's own: one clock decides, as it does for claims."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def get(self, name: str) -> RelayState:
        """Return the relay; raise NotFound."""
        row = self._connection.execute(_BY_NAME, {"b_name": name}).first()
        if row is None:
            raise NotFound("relay", name)
        return _state(row)

    def all(self) -> list[RelayState]:
        """Return every relay that there ever was, by name."""
        return [_state(row) for row in self._connection.execute(select(relays).order_by(relays.c.name))]

    def take(
        self, name: str, spec: RelaySpec, *, owner: str, is_dead: Callable[[str], bool] = lambda _: False
    ) -> Hold | None:
        """Hold the relay for a lease, or return None while another owner does.

        A relay that was never there begins where *spec* says. *is_dead* may say of an owner that it is gone
        before its lease is over. The fence is higher than any before.
        """
        now = self._unit.now
        self._unit.hold(f"relay/{name}")  # several may make it at the same moment
        row = self._connection.execute(_BY_NAME, {"b_name": name}).first()
        if row is None:
            return self._make(name, spec, owner)
        held = row.owner is not None and row.owner != owner and not is_dead(row.owner)
        # An end much further off than a lease is long was written before the clock was set back; a little further,
        # by a unit whose time was taken later than this one's, while this one waited for it.
        if held and row.leased_until is not None and now < row.leased_until <= now + 2 * LEASE:
            return None
        epoch, last = self._log()
        position = row.position if row.epoch == epoch else min(row.position, last)
        hold = Hold(row.fence + 1, epoch, position)
        taken = self._connection.execute(
            update(relays)
            .where(relays.c.name == name, relays.c.fence == row.fence)
            .values(
                **_described(spec),
                epoch=epoch,
                position=position,
                owner=owner,
                fence=hold.fence,
                leased_until=now + LEASE,
                updated_at=now,
            )
        )
        return hold if taken.rowcount == 1 else None

    def read(self, name: str, hold: Hold, after: int, *, spec: RelaySpec, limit: int) -> Reading:
        """Return the first *limit* wanted events behind *after*; raise RelayLost when it is another's by now."""
        row = self._connection.execute(_STANDING, {"b_name": name}).first()
        if row is None or (row.fence, row.epoch) != (hold.fence, hold.epoch):
            raise RelayLost(name)
        until = min(row.last_position, after + SCANNED)
        which = {"b_after": after, "b_until": until, "b_limit": limit}
        found = [
            _message(one) for one in self._connection.execute(_wanted(spec.types, spec.merchants), which)
        ]
        if len(found) == limit:
            until = found[-1].position
        return Reading(tuple(found), max(until, after), row.last_position, row.paused)

    def move(self, name: str, hold: Hold, position: int, *, published: bool) -> None:
        """Set the place to *position*, forwards alone, and lengthen the lease; raise RelayLost."""
        now = self._unit.now
        values = {"b_name": name, "b_fence": hold.fence, "b_epoch": hold.epoch, "b_position": position}
        values |= {"b_until": now + LEASE, "b_now": now}
        statement = _PUBLISHED if published else _PASSED
        if self._connection.execute(statement, values).rowcount != 1:
            raise RelayLost(name)

    def fail(self, name: str, hold: Hold, error: str | None) -> None:
        """Note why the relay does not go on, and since when; None: it does. Raise RelayLost."""
        now = self._unit.now
        values = {
            "b_name": name,
            "b_fence": hold.fence,
            "b_epoch": hold.epoch,
            "b_error": error,
            "b_now": now,
        }
        if self._connection.execute(_FAIL if error else _WELL, values).rowcount != 1:
            raise RelayLost(name)

    def release(self, name: str, hold: Hold) -> None:
        """Let another process take the relay at once; nothing happens if one has it already."""
        self._connection.execute(_RELEASE, {"b_name": name, "b_fence": hold.fence, "b_now": self._unit.now})

    def pause(self, name: str, *, paused: bool) -> None:
        """Have nothing published, or go on; raise NotFound."""
        changed = self._connection.execute(
            update(relays).where(relays.c.name == name).values(paused=paused, updated_at=self._unit.now)
        )
        if not changed.rowcount:
            raise NotFound("relay", name)

    def seek(self, name: str, position: int) -> None:
        """Set the place to *position*, whoever relays: his hold ends here. Raise NotFound."""
        epoch, _ = self._log()
        changed = self._connection.execute(
            update(relays)
            .where(relays.c.name == name)
            .values(
                position=position,
                epoch=epoch,
                fence=relays.c.fence + 1,
                owner=None,
                leased_until=None,
                error=None,
                failing_since=None,
                updated_at=self._unit.now,
            )
        )
        if not changed.rowcount:
            raise NotFound("relay", name)

    def ahead(self, state: RelayState) -> int:
        """Return how many wanted events are behind the relay's place."""
        return self._unit.events.ahead(
            state.position, self._unit.log.last_position(), (state.types, state.merchants)
        )

    def _make(self, name: str, spec: RelaySpec, owner: str) -> Hold | None:
        """Make the relay and hold it; None where another process did so at the same moment."""
        now = self._unit.now
        epoch, last = self._log()
        hold = Hold(1, epoch, 0 if spec.start == "beginning" else last)
        row = {"name": name, "epoch": epoch, "position": hold.position, "owner": owner, "fence": hold.fence}
        row |= {"leased_until": now + LEASE, "paused": False, "created_at": now, "updated_at": now}
        made = (
            _INSERT[self._connection.dialect.name](relays).on_conflict_do_nothing().returning(relays.c.name)
        )
        return hold if self._connection.execute(made, {**row, **_described(spec)}).first() else None

    def _log(self) -> tuple[str, int]:
        row = self._connection.execute(select(log.c.epoch, log.c.last_position)).one()
        return row.epoch, row.last_position


_INSERT: Final[Mapping[str, Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

# Made once: making a statement costs more than running it.
_BY_NAME = select(relays).where(relays.c.name == bindparam("b_name"))
_END = select(log.c.last_position).scalar_subquery().label("last_position")
_STANDING = select(relays.c.fence, relays.c.epoch, relays.c.paused, _END).where(
    relays.c.name == bindparam("b_name")
)
_MINE = and_(
    relays.c.name == bindparam("b_name"),
    relays.c.fence == bindparam("b_fence"),
    relays.c.epoch == bindparam("b_epoch"),
)
_PASSED = (
    update(relays)
    .where(_MINE, relays.c.position <= bindparam("b_position"))
    .values(
        position=bindparam("b_position"),
        leased_until=bindparam("b_until"),
        updated_at=bindparam("b_now"),
    )
)
_PUBLISHED = _PASSED.values(last_published_at=bindparam("b_now"), error=None, failing_since=None)
_FAIL = (
    update(relays)
    .where(_MINE)
    .values(
        error=bindparam("b_error"),
        failing_since=case(
            (relays.c.failing_since.is_(None), bindparam("b_now")), else_=relays.c.failing_since
        ),
        updated_at=bindparam("b_now"),
    )
)
_WELL = update(relays).where(_MINE).values(error=None, failing_since=None, updated_at=bindparam("b_now"))
_RELEASE = (
    update(relays)
    .where(relays.c.name == bindparam("b_name"), relays.c.fence == bindparam("b_fence"))
    .values(owner=None, leased_until=None, updated_at=bindparam("b_now"))
)


@lru_cache(maxsize=256)
def _wanted(types: tuple[str, ...], merchants: tuple[str, ...]) -> Select[Any]:
    return (
        select(
            events.c.position,
            events.c.id,
            events.c.type,
            events.c.order_id,
            events.c.merchant,
            events.c.transaction_id,
            events.c.body,
        )
        .where(
            events.c.position > bindparam("b_after"),
            events.c.position <= bindparam("b_until"),
            wanted(types, merchants),
        )
        .order_by(events.c.position)
        .limit(bindparam("b_limit"))
    )


def _message(row: Row[Any]) -> Message:
    return Message(
        position=row.position,
        id=str(row.id),
        type=row.type,
        subject=row.order_id,
        partitionkey=f"{row.merchant}/{row.transaction_id}",
        body=row.body.encode(),
    )


def _described(spec: RelaySpec) -> Mapping[str, str]:
    return {"kind": spec.kind, "types": json.dumps(spec.types), "merchants": json.dumps(spec.merchants)}


def _state(row: Row[Any]) -> RelayState:
    return RelayState(
        name=row.name,
        kind=row.kind,
        types=tuple(json.loads(row.types)),
        merchants=tuple(json.loads(row.merchants)),
        epoch=row.epoch,
        position=row.position,
        paused=row.paused,
        owner=row.owner,
        fence=row.fence,
        leased_until=row.leased_until,
        error=row.error,
        failing_since=row.failing_since,
        last_published_at=row.last_published_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
