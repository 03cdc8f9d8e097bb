"""What stands where just now, read cheaply: for gauges and for ``doctor``. Nothing is written here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from service.db.tables import IS_NOTABLE, checks, merchant_states, receipts
from service.domain.delivery import Consumer
from service.domain.records import HELD, ReceiptState

if TYPE_CHECKING:
    from service.db.unit import Unit


@dataclass(frozen=True, slots=True)
class Standing:
    """How much waits, is held or is due. Mappings are by merchant unless they say otherwise."""

    waiting: Mapping[str, int]
    oldest_waiting_s: Mapping[str, float]
    held: Mapping[str, int]
    """Held receipts by state, each state there is, 0 too."""
    checks_due: Mapping[str, int]
    paused: Mapping[str, str]
    """Why confirming is paused; without those that are not."""
    lag: Mapping[str, int]
    """Events that a consumer has not come to yet, by consumer."""
    push_failing_s: Mapping[str, float]
    """How long every push has failed, by push consumer; 0 for those that are well."""
    push_paused: Mapping[str, str]
    """Why the service paused a push consumer by itself; without those that it did not."""


class Gauges:
    """Counts. Each runs on an index that holds nothing else."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def standing(self) -> Standing:
        """Return all of it as one state of the database."""
        waiting = self._waiting()
        pushed = self._unit.consumers.pushed()
        return Standing(
            waiting={merchant: count for merchant, (count, _) in waiting.items()},
            oldest_waiting_s={merchant: oldest_s for merchant, (_, oldest_s) in waiting.items()},
            held=self._held(),
            checks_due=self._checks_due(),
            paused=self._paused(),
            lag=self._lag(),
            push_failing_s={consumer.name: self._failing_s(consumer) for consumer in pushed},
            push_paused={
                consumer.name: consumer.pause_reason
                for consumer in pushed
                if consumer.paused and consumer.pause_reason is not None
            },
        )

    def waiting(self) -> dict[str, int]:
        """Return how many receipts wait, by merchant, whether the settings name it or not."""
        return {merchant: count for merchant, (count, _) in self._waiting().items()}

    def database_bytes(self) -> int:
        """Return how large the database of a server is."""
        size: int = self._connection.scalars(text("SELECT pg_database_size(current_database())")).one()
        return size

    def _waiting(self) -> dict[str, tuple[int, float]]:
        query = (
            select(
                receipts.c.merchant,
                func.count().label("rows"),
                func.min(receipts.c.received_at).label("first"),
            )
            .where(receipts.c.state == ReceiptState.WAITING.value)
            .group_by(receipts.c.merchant)
        )
        return {
            row.merchant: (row.rows, max(0.0, (self._unit.now - row.first).total_seconds()))
            for row in self._connection.execute(query)
        }

    def _held(self) -> dict[str, int]:
        query = (
            select(receipts.c.state, func.count().label("rows")).where(IS_NOTABLE).group_by(receipts.c.state)
        )
        found = {row.state: row.rows for row in self._connection.execute(query)}
        return {state.value: found.get(state.value, 0) for state in sorted(HELD)}

    def _checks_due(self) -> dict[str, int]:
        query = (
            select(checks.c.merchant, func.count().label("rows"))
            .where(checks.c.due_at <= self._unit.now)
            .group_by(checks.c.merchant)
        )
        return {row.merchant: row.rows for row in self._connection.execute(query)}

    def _paused(self) -> dict[str, str]:
        query = select(merchant_states.c.merchant, merchant_states.c.pause_reason)
        rows = self._connection.execute(query.where(merchant_states.c.pause_reason.is_not(None)))
        return {row.merchant: row.pause_reason for row in rows}

    def _failing_s(self, consumer: Consumer) -> float:
        since = consumer.streak.since
        return 0.0 if since is None else max(0.0, (self._unit.now - since).total_seconds())

    def _lag(self) -> dict[str, int]:
        head = self._unit.log.last_position()
        return {
            consumer.name: self._unit.events.ahead(
                consumer.cursor, head, (consumer.spec.types, consumer.spec.merchants)
            )
            for consumer in self._unit.consumers.all()
        }
