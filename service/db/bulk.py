"""Statements for many rows, past what SQLAlchemy does anew for each row, which takes longer than the database.

What a statement and a kind of database share is made once: the text, and what turns values into the driver's terms.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Delete, Dialect, Insert, Update

Statement = Insert | Update | Delete


class _Value(NamedTuple):
    name: str
    given: bool
    """By the rows; else it is a constant of the statement."""
    convert: Callable[[Any], Any] | None
    constant: Any


class _Prepared(NamedTuple):
    text: str
    values: tuple[_Value, ...]
    positions: tuple[int, ...] | None
    """Which of the values each ``?`` stands for; None where the driver takes names."""


def execute_many(connection: Connection, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> int:
    """Execute *statement* for each of *rows*, which have the same keys; return how many rows of the table it touched.

    Columns that a row leaves out get what the database itself has for them, never a default of ``tables.py``.
    """
    if not rows:
        return 0
    text, values, positions = _prepare(statement, tuple(rows[0]), connection.dialect)
    columns = [_column(value, rows) for value in values]
    if positions is None:
        names = [value.name for value in values]
        made: list[Any] = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    else:
        made = list(zip(*(columns[position] for position in positions), strict=True))
    return connection.exec_driver_sql(text, made).rowcount


def _column(value: _Value, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    name, convert = value.name, value.convert
    if not value.given:
        return [value.constant] * len(rows)
    if convert is None:
        return [row[name] for row in rows]
    return [convert(row[name]) for row in rows]


@lru_cache(maxsize=256)
def _prepare(statement: Statement, given: tuple[str, ...], dialect: Dialect) -> _Prepared:
    if isinstance(statement, Insert):
        statement = statement.inline()  # else some databases would be asked for the new row's number
    compiled = statement.compile(dialect=dialect, column_keys=list(given))
    values = tuple(_value(name, bind, given, dialect) for name, bind in compiled.binds.items())
    order = {value.name: position for position, value in enumerate(values)}
    names: Sequence[str] | None = compiled.positiontup
    return _Prepared(str(compiled), values, None if names is None else tuple(order[name] for name in names))


def _value(name: str, bind: Any, given: tuple[str, ...], dialect: Dialect) -> _Value:
    convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if name in given:
        return _Value(name, True, convert, None)  # noqa: FBT003
    constant = bind.value if convert is None else convert(bind.value)
    return _Value(name, False, None, constant)  # noqa: FBT003
