"""Roles: work that one process at a time does, and the processes that share a limit. Rows are leases with a fence."""

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, text

from service.db.tables import roles
from service.db.types import UtcTime

if TYPE_CHECKING:
    from service.db.unit import Unit

# As text: both databases take it, and one statement decides, whoever else asks at the same moment.
_TAKE = text(
    "INSERT INTO roles (name, owner, fence, leased_until) VALUES (:name, :owner, 1, :until)"
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, leased_until = excluded.leased_until,"
    " fence = roles.fence + CASE WHEN roles.owner = excluded.owner THEN 0 ELSE 1 END"
    " WHERE roles.owner = excluded.owner OR roles.leased_until <= :now OR roles.leased_until > :until"
    " RETURNING fence"
).bindparams(bindparam("until", type_=UtcTime), bindparam("now", type_=UtcTime))


class Roles:
    """The rows of the roles. All times are the unit's own: one clock decides."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def take(self, name: str, owner: str, lease: timedelta) -> int | None:
        """Hold role *name* for *lease* from now, again or anew; return the fence, None while another one holds it."""
        now = self._unit.now
        fence: int | None = self._connection.execute(
            _TAKE, {"name": name, "owner": owner, "until": now + lease, "now": now}
        ).scalar()
        return fence

    def give_up(self, name: str, owner: str) -> None:
        """Let another one have the role at once."""
        self._connection.execute(delete(roles).where(roles.c.name == name, roles.c.owner == owner))

    def owners(self, prefix: str) -> set[str]:
        """Return who holds roles whose names begin with *prefix*; forget those that ended long ago."""
        begins = roles.c.name.startswith(prefix, autoescape=True)
        self._connection.execute(
            delete(roles).where(begins, roles.c.leased_until < self._unit.now - timedelta(hours=1))
        )
        held = select(roles.c.owner).where(begins, roles.c.leased_until > self._unit.now)
        return set(self._connection.execute(held).scalars())
