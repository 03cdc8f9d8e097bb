"""What outlives a restart of a merchant's account: ever confirmed, paused or not."""

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from service.db.tables import merchant_states
from service.domain.records import MerchantState

if TYPE_CHECKING:
    from service.db.unit import Unit


class MerchantStates:
    """The states of the merchants, by name."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def get(self, merchant: str) -> MerchantState | None:
        """Return the state that was kept last."""
        query = select(merchant_states).where(merchant_states.c.merchant == merchant)
        row = self._connection.execute(query).one_or_none()
        if row is None:
            return None
        return MerchantState(
            merchant=row.merchant,
            access_fingerprint=row.access_fingerprint,
            confirmed=row.confirmed_at is not None,
            pause_reason=row.pause_reason,
            paused_at=row.paused_at,
        )

    def put(self, state: MerchantState) -> None:
        """Keep *state* in the place of the earlier one."""
        self._unit.hold(f"merchant/{state.merchant}")
        self._connection.execute(delete(merchant_states).where(merchant_states.c.merchant == state.merchant))
        self._connection.execute(
            insert(merchant_states).values(
                merchant=state.merchant,
                access_fingerprint=state.access_fingerprint,
                confirmed_at=self._unit.now if state.confirmed else None,
                paused_at=self._unit.now if state.pause_reason else None,
                pause_reason=state.pause_reason,
                updated_at=self._unit.now,
            )
        )
