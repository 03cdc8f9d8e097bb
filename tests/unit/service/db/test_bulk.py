"""What goes past SQLAlchemy's way of binding does what SQLAlchemy would have done."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Delete, Insert, Select, Update, bindparam, delete, insert, make_url, select, update
from support.plans import NOW, filled

from service.db.bulk import execute_many
from service.db.tables import claims, transitions
from service.db.unit import Unit

ROWS = [
    {
        "merchant": "default",
        "transaction_id": f"new-{number}",
        "sequence": number,
        "confirmation_id": number,
        "previous_status": None if number % 2 else "pending",
        "status": "settled",
        "irregular": bool(number % 2),
        "event_id": UUID(int=10_000 + number),
        "made_at": NOW + timedelta(microseconds=number),
    }
    for number in range(3)
]
MADE = select(transitions).where(transitions.c.transaction_id.like("new-%")).order_by(transitions.c.sequence)
MOVE = (
    update(transitions)
    .where(transitions.c.transaction_id == bindparam("which"))
    .values(status=bindparam("new_status"), previous_status=None, irregular=True, made_at=bindparam("at"))
)

DIALECTS = [make_url(url).get_dialect()() for url in ("sqlite://", "postgresql+psycopg://")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    with filled(tmp_path_factory.mktemp("bulk") / "bulk.db") as unit:
        yield unit


@pytest.fixture
def unit(made: Unit) -> Iterator[Unit]:
    with made.connection.begin_nested() as savepoint:
        yield made
        savepoint.rollback()


def both(
    unit: Unit, statement: Insert | Update | Delete, rows: list[dict[str, Any]], look: Select[Any]
) -> None:
    """Execute *statement* in either way; the rows seen afterwards and the count must be the same."""
    seen = []
    for ours in (True, False):
        savepoint = unit.connection.begin_nested()
        if ours:
            count = execute_many(unit.connection, statement, rows)
        else:
            count = unit.connection.execute(statement, rows).rowcount
        seen.append((count, unit.connection.execute(look).all()))
        savepoint.rollback()
    assert seen[0] == seen[1]
    assert seen[0][0] == len(rows)


def test_rows_are_inserted_as_sqlalchemy_does(unit: Unit) -> None:
    both(unit, insert(transitions), ROWS, MADE)


def test_rows_are_updated_as_sqlalchemy_does_constants_included(unit: Unit) -> None:
    execute_many(unit.connection, insert(transitions), ROWS)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    changes = [{"which": f"new-{number}", "new_status": f"s{number}", "at": at} for number in (2, 0)]
    both(unit, MOVE, changes, MADE)


def test_rows_are_deleted_as_sqlalchemy_does(unit: Unit) -> None:
    statement = delete(claims).where(claims.c.fence == bindparam("b_fence"))
    both(unit, statement, [{"b_fence": 3}, {"b_fence": 5}], select(claims.c.fence).where(claims.c.fence < 7))


def test_what_is_not_there_is_not_counted(unit: Unit) -> None:
    statement = delete(claims).where(claims.c.fence == bindparam("b_fence"))
    assert execute_many(unit.connection, statement, [{"b_fence": 3}, {"b_fence": 3}]) == 1
    assert execute_many(unit.connection, statement, []) == 0


def test_a_time_without_a_zone_is_refused(unit: Unit) -> None:
    with pytest.raises(ValueError, match="zone"):
        execute_many(unit.connection, insert(transitions), [ROWS[0] | {"made_at": datetime(2026, 1, 1)}])  # noqa: DTZ001


@pytest.mark.parametrize("dialect", DIALECTS, ids=["sqlite", "postgresql"])
def test_each_driver_gets_values_in_its_own_way(dialect: Any) -> None:
    class Driver:
        def __init__(self) -> None:
            self.dialect = dialect
            self.rowcount = 1
            self.got: list[Any] = []

        def exec_driver_sql(self, _text: str, rows: list[Any]) -> "Driver":
            self.got += rows
            return self

    driver: Any = Driver()
    change = {"which": "new-0", "new_status": "settled", "at": NOW}
    execute_many(driver, MOVE, [change])
    values = list(driver.got[0].values()) if dialect.paramstyle == "pyformat" else list(driver.got[0])
    assert "settled" in values
    assert None in values  # the constant
    assert isinstance(driver.got[0], dict if dialect.paramstyle == "pyformat" else tuple)
