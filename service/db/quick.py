"""Statements of the hottest paths, past SQLAlchemy's execution: made text once, then handed to the driver.

SQLAlchemy still writes the text, for each database in its own words, and its column types still convert what goes in
and comes out. What is left out is the rest of an execution: looking for the compiled form, contexts, events, result
objects (measured: 21 µs for a row by its key; 7 µs this way). Errors are the driver's own, without the row's values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from sqlalchemy import ClauseElement, Connection, Dialect, Insert, TextClause

from service.db.postgres_faults import leave_values_out

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

_Converter = Callable[[Any], Any]


class _Made(NamedTuple):
    """A statement for one database."""

    text: str
    names: tuple[str, ...]
    """Of the parameters, in order."""
    binders: tuple[_Converter | None, ...]
    fixed: Mapping[str, Any]
    """Values that the statement itself brings."""
    positional: bool
    loaders: tuple[tuple[int, _Converter], ...]
    """Of the columns that need one, by their number."""


class Quick:
    """A statement that is run past SQLAlchemy. It has no list whose length is known only when it is run."""

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._made: dict[str, _Made] = {}
        self._arrays: tuple[str, Sequence[str]] | None = None

    def rows(self, connection: Connection, params: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """Return what it selects, or what it returns of what it changes."""
        made = self._for(connection.dialect)
        cursor = _execute(connection, made.text, _bound(made, params))
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return [_loaded(made.loaders, row) for row in found] if made.loaders else found

    def run(self, connection: Connection, params: Mapping[str, Any]) -> int:
        """Return how many rows it changed."""
        made = self._for(connection.dialect)
        count: int = _execute(connection, made.text, _bound(made, params)).rowcount
        return count

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each of *rows*."""
        if len(rows) == 1:
            self.run(connection, rows[0])
        elif rows and _takes_arrays(self._statement, connection.dialect):
            made = self._for(connection.dialect)
            text, columns = self._arrays or self._make_arrays(made, connection.dialect)
            given = {name: [row[name] for row in rows] for name in columns}
            _execute(connection, text, given).close()
        elif rows:
            made = self._for(connection.dialect)
            cursor = _driver(connection).cursor()
            try:
                cursor.executemany(made.text, _all_bound(made, rows))
            except Exception as error:
                leave_values_out(error)
                raise
            cursor.close()

    def _for(self, dialect: Dialect) -> _Made:
        made = self._made.get(dialect.name)
        if made is None:
            made = self._made[dialect.name] = _make(self._statement, dialect)
        return made

    def _make_arrays(self, made: _Made, dialect: Dialect) -> tuple[str, Sequence[str]]:
        """Make the insert of many rows that PostgreSQL reads and plans once: a row is a place in every array."""
        table = cast("Insert", self._statement).table
        words = dialect.type_compiler_instance
        types = {  # an array is of a type, however its column is sorted
            column.name: words.process(column.type).partition(" COLLATE ")[0] for column in table.columns
        }
        arrays = ", ".join(f"%({name})s::{types[name]}[]" for name in made.names)
        text = f"INSERT INTO {table.name} ({', '.join(made.names)}) SELECT * FROM unnest({arrays})"  # noqa: S608
        self._arrays = (text, made.names)
        return self._arrays


def _takes_arrays(statement: ClauseElement, dialect: Dialect) -> bool:
    return dialect.name == "postgresql" and isinstance(statement, Insert)


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _execute(connection: Connection, text: str, params: Any) -> Any:
    try:
        return _driver(connection).execute(text, params)
    except Exception as error:
        leave_values_out(error)  # SQLAlchemy, which does so elsewhere, hears nothing of it
        raise


def _make(statement: ClauseElement, dialect: Dialect) -> _Made:
    compiled = cast("SQLCompiler", statement.compile(dialect=dialect))  # it is no DDL
    state = compiled.construct_expanded_state(
        {name: None for name, bind in compiled.binds.items() if bind.required}
    )
    names = tuple(state.positiontup or state.parameters)
    return _Made(
        state.statement,
        names,
        tuple(_binder(compiled, name, dialect) for name in names),
        {name: value for name, value in state.parameters.items() if value is not None},
        compiled.positional,
        _loaders(statement, dialect),
    )


def _binder(compiled: "SQLCompiler", name: str, dialect: Dialect) -> _Converter | None:
    bind = compiled.binds.get(name)  # an item of a list has none: these are texts and numbers
    return None if bind is None else bind.type.dialect_impl(dialect).bind_processor(dialect)


def _loaders(statement: ClauseElement, dialect: Dialect) -> tuple[tuple[int, _Converter], ...]:
    columns = () if isinstance(statement, TextClause) else getattr(statement, "exported_columns", ())
    loaders = (column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns)
    return tuple((number, loader) for number, loader in enumerate(loaders) if loader is not None)


def _bound(made: _Made, params: Mapping[str, Any]) -> Any:
    given = {**made.fixed, **params} if made.fixed else params
    if made.positional:
        return [
            given[name] if binder is None else binder(given[name])
            for name, binder in zip(made.names, made.binders, strict=True)
        ]
    return {
        name: given[name] if binder is None else binder(given[name])
        for name, binder in zip(made.names, made.binders, strict=True)
    }


def _all_bound(made: _Made, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return what `_bound` would for each of *rows*; what they share is converted once."""
    columns = [
        _column(binder, [made.fixed.get(name) if name not in row else row[name] for row in rows])
        for name, binder in zip(made.names, made.binders, strict=True)
    ]
    bound = list(zip(*columns, strict=True))
    return bound if made.positional else [dict(zip(made.names, row, strict=True)) for row in bound]


def _column(binder: _Converter | None, values: list[Any]) -> list[Any]:
    if binder is None:
        return values
    seen, bound = values[0], binder(values[0])
    converted: list[Any] = []
    for value in values:
        if value is not seen:
            seen, bound = value, binder(value)
        converted.append(bound)
    return converted


def _loaded(loaders: tuple[tuple[int, _Converter], ...], row: tuple[Any, ...]) -> tuple[Any, ...]:
    values = list(row)
    for number, loader in loaders:
        values[number] = loader(values[number])
    return tuple(values)


PADDED: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Lengths of lists that have a statement each: a driver keeps a few dozen prepared ones."""


def padded(values: Sequence[Any]) -> Sequence[Any]:
    """Return *values*, which are some, with the last one repeated until there are as many as one of `PADDED`."""
    size = next(size for size in PADDED if size >= len(values))
    return [*values, *[values[-1]] * (size - len(values))]
