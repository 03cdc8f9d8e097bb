"""What a database needs to live again from an older copy of itself: a new epoch, and questions about what it missed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, func, insert, literal, select, update

from service.db.tables import checks, claims, consumers, deliveries, events, log, payments, receipts, relays
from service.domain.records import ReceiptState

if TYPE_CHECKING:
    from service.db.unit import Unit


@dataclass(frozen=True, slots=True)
class Reborn:
    """What was made of a log: its new *epoch*, its *last_position*, and how many *questions* are due."""

    epoch: str
    last_position: int
    questions: int


class Rebirth:
    """Turns a copy into a database of its own."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def begin(self, *, ask_again: timedelta) -> Reborn:
        """Begin a new epoch, and have asked again what may have changed since the copy was made.

        Numbers go on from the log's end, so cursors stay what they are. What lies beyond the end speaks of events
        that are no more: such a cursor, or a relay's place, steps back to the end, or new events would be skipped;
        such deliveries go.
        Each planned question is due now, and one about each payment that changed within *ask_again*, which may
        have been refunded meanwhile. Nobody holds a claim any more.
        """
        self._connection.execute(delete(log))
        epoch = self._unit.log.open()
        last: int = self._connection.execute(
            select(func.coalesce(func.max(events.c.position), 0))
        ).scalar_one()
        self._connection.execute(update(log).values(last_position=last))
        self._connection.execute(update(consumers).where(consumers.c.cursor > last).values(cursor=last))
        self._connection.execute(delete(deliveries).where(deliveries.c.position > last))
        self._free_claims()
        self._free_relays(epoch, last)
        return Reborn(epoch, last, self._ask(ask_again))

    def _free_claims(self) -> None:
        """Make due what was being asked about when the copy was made: those who asked are gone."""
        self._connection.execute(
            update(receipts)
            .where(receipts.c.state == ReceiptState.WAITING.value)
            .values(due_at=self._unit.now, fence=None)
        )
        self._connection.execute(delete(claims))

    def _free_relays(self, epoch: str, last: int) -> None:
        """Have each relay go on from where the copy says, with nobody's hold on it; repeats bear the same ids."""
        rows = self._connection.execute(select(relays.c.name, relays.c.position, relays.c.fence)).all()
        for row in rows:
            self._connection.execute(
                update(relays)
                .where(relays.c.name == row.name)
                .values(
                    epoch=epoch,
                    position=min(row.position, last),
                    fence=row.fence + 1,
                    owner=None,
                    leased_until=None,
                )
            )

    def _ask(self, ask_again: timedelta) -> int:
        """Plan the questions; return how many are due now."""
        now = self._unit.now
        planned = exists().where(
            checks.c.merchant == payments.c.merchant,
            checks.c.order_id == payments.c.order_id,
            checks.c.transaction_id == payments.c.transaction_id,
        )
        changed = select(
            payments.c.merchant,
            payments.c.order_id,
            payments.c.transaction_id,
            literal(now, checks.c.due_at.type),
            literal(0),
        ).where(payments.c.updated_at >= now - ask_again, ~planned)
        columns = ["merchant", "order_id", "transaction_id", "due_at", "failures"]
        self._connection.execute(update(checks).values(due_at=now))
        self._connection.execute(insert(checks).from_select(columns, changed))
        return self._connection.execute(select(func.count()).select_from(checks)).scalar_one()
