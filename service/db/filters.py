"""Patterns of types and merchants as conditions on the log."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, false, literal_column, or_, true

from service.db.tables import events
from service.domain.patterns import EVERYTHING

Wanted = tuple[tuple[str, ...], tuple[str, ...]]
"""(patterns of types, patterns of merchants): both must match."""


def wanted(types: Sequence[str], merchants: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that an event's type and merchant match."""
    return and_(_matches(events.c.type, types), _matches(events.c.merchant, merchants))


def wanted_by_any(filters: Sequence[Wanted]) -> ColumnElement[bool]:
    """Return the condition that one of *filters* wants an event; nothing matches no filter."""
    return or_(false(), *(wanted(types, merchants) for types, merchants in filters))


def _matches(column: ColumnElement[str], patterns: Sequence[str]) -> ColumnElement[bool]:
    if EVERYTHING in patterns:
        return true()
    text = unindexed(column)
    exact = [pattern for pattern in patterns if not pattern.endswith("*")]
    beginnings = [_begins(text, pattern[:-1]) for pattern in patterns if pattern.endswith("*")]
    return or_(*([text.in_(exact)] if exact else []), *beginnings) if patterns else false()


def unindexed(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return *column* as an expression that no index has: another condition, such as a range of positions, leads.

    By an index on the merchant a database would read that merchant's whole history, and sort it, to find the
    few events behind a cursor.
    """
    return column.op("||")(literal_column("''"))


def _begins(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    # A range, not LIKE: SQLite's LIKE takes upper for lower case. Type names are ASCII.
    return and_(column >= text, column < text + "\x7f")
