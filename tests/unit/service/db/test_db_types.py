"""Times in the database: UTC, to the microsecond, never without a zone."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Dialect, make_url

from service.db.types import UtcTime

DIALECTS = [
    pytest.param(make_url("sqlite://").get_dialect()(), id="sqlite"),
    pytest.param(make_url("postgresql+psycopg://").get_dialect()(), id="postgresql"),
]
moments = st.datetimes(
    min_value=datetime(1900, 1, 1),  # noqa: DTZ001  (the zone is drawn beside it)
    max_value=datetime(2900, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(moment=moments)
def test_a_time_comes_back_as_the_same_instant_in_utc(dialect: Dialect, moment: datetime) -> None:
    kind = UtcTime()
    back = kind.process_result_value(kind.process_bind_param(moment, dialect), dialect)
    assert back == moment
    assert back is not None
    assert back.tzinfo is UTC


@given(moments, moments)
def test_times_sort_in_the_database_as_they_do_here(first: datetime, second: datetime) -> None:
    kind, dialect = UtcTime(), make_url("sqlite://").get_dialect()()
    as_numbers = [kind.process_bind_param(moment, dialect) for moment in (first, second)]
    assert (as_numbers[0] < as_numbers[1]) == (first < second)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_time_without_a_zone_is_refused(dialect: Dialect) -> None:
    with pytest.raises(ValueError, match="without zone"):
        UtcTime().process_bind_param(datetime(2026, 11, 22), dialect)  # noqa: DTZ001  (the point of it)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_time_stays_none(dialect: Dialect) -> None:
    assert UtcTime().process_bind_param(None, dialect) is None
    assert UtcTime().process_result_value(None, dialect) is None
