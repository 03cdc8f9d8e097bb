"""Lending, decided: waits, turns of a payment, texts that name leases and positions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.delivery import (
    DeliveryState,
    Due,
    Lease,
    Outstanding,
    Scanned,
    back_off,
    next_in_order,
    parse_leases,
    place,
    sort_due,
)
from service.domain.patterns import check_merchants, check_types, matches
from service.domain.position import format_position, parse_place, parse_position
from service.domain.records import ConsumerSpec
from service.errors import PositionGone, RequestInvalid

LEASED, WAITING, HELD, DEAD = (
    DeliveryState.LEASED,
    DeliveryState.WAITING,
    DeliveryState.HELD,
    DeliveryState.DEAD,
)
BATCH = "0" * 32


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (12, 3600), (1_000_000, 3600)],
)
def test_waits_double_from_five_seconds_to_an_hour(attempt: int, seconds: float) -> None:
    assert back_off(attempt, 0.0) == timedelta(seconds=seconds)


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_jitter_adds_a_tenth_at_most(attempt: int, jitter: float) -> None:
    plain, waited = back_off(attempt, 0.0), back_off(attempt, jitter)
    assert plain <= waited <= plain * 1.1 + timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("states", "holds", "turn"),
    [
        pytest.param([HELD, HELD], True, 0, id="the-earliest-goes"),
        pytest.param([LEASED, HELD], True, None, id="while-one-is-lent-nothing-goes"),
        pytest.param([HELD, LEASED], True, None, id="not-even-an-earlier-one"),
        pytest.param([WAITING, HELD], False, None, id="nor-while-one-waits"),
        pytest.param([DEAD, HELD], True, None, id="a-dead-one-holds"),
        pytest.param([DEAD, HELD], False, 1, id="or-is-skipped"),
        pytest.param([HELD, DEAD], True, 0, id="earlier-than-the-dead-goes"),
        pytest.param([DEAD], False, None, id="dead-is-no-turn"),
        pytest.param([], True, None, id="nothing-there"),
    ],
)
def test_whose_turn_it_is(states: list[DeliveryState], holds: bool, turn: int | None) -> None:
    rows = [Outstanding(index, ("m", "t"), state) for index, state in enumerate(states)]
    found = next_in_order(rows[::-1], holds=holds)
    assert (None if found is None else found.position) == turn


def scanned(
    position: int, payment: str, *, blocked: bool = False, there: DeliveryState | None = None
) -> Scanned:
    return Scanned(position, ("m", payment), blocked, there, "{}")


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30), st.integers(1, 6))
def test_a_batch_has_room_and_one_event_of_a_payment(rows: list[tuple[str, bool]], room: int) -> None:
    events = [scanned(index, name, blocked=blocked) for index, (name, blocked) in enumerate(rows)]
    placed = place(events, set(), room)
    lent = [event.payment for event in placed.lend]
    assert len(lent) == len(set(lent)) <= room
    passed = [event for event in events if placed.cursor is None or event.position <= placed.cursor]
    assert sorted((*placed.lend, *placed.hold), key=lambda event: event.position) == passed
    for held in placed.hold:
        assert held.blocked or any(
            earlier.payment == held.payment and earlier.position < held.position for earlier in passed
        )


def test_what_has_a_row_already_is_passed_over() -> None:
    placed = place([scanned(1, "a", there=DEAD), scanned(2, "b")], set(), 5)
    assert [event.position for event in placed.lend] == [2]
    assert placed.hold == ()


def test_due_ones_are_lent_dead_or_held() -> None:
    spec = ConsumerSpec(max_attempts=3)
    due = [
        Due(9, ("m", "c"), 0, None, blocked=False, body="{}"),
        Due(5, ("m", "a"), 3, None, blocked=True, body="{}"),
        Due(7, ("m", "b"), 1, None, blocked=True, body="{}"),
        Due(6, ("m", "d"), 2, None, blocked=False, body="{}"),
    ]
    triage = sort_due(due, spec)
    assert [row.position for row in triage.again] == [6, 9]
    assert [row.position for row in triage.dead] == [5]
    assert [row.position for row in triage.blocked] == [7]


@given(st.integers(0, 10**18 - 1))
def test_a_lease_reads_back(position: int) -> None:
    assert parse_leases([str(Lease(BATCH, position))]) == [Lease(BATCH, position)]


def test_leases_are_named_once_each_in_order() -> None:
    second, first = f"{BATCH}.2", f"{BATCH}.1"
    assert [str(one) for one in parse_leases([second, first, second])] == [second, first]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        BATCH,
        f"{BATCH}.",
        f"{BATCH}.-1",
        f"{BATCH}.1 ",
        f"{BATCH}.\N{ARABIC-INDIC DIGIT ONE}",
        "G" * 32 + ".1",
    ],
)
def test_nonsense_is_no_lease_and_named(text: str) -> None:
    with pytest.raises(RequestInvalid) as raised:
        parse_leases([f"{BATCH}.0", text])
    assert raised.value.field == "leases[1]"


@given(st.integers(0, 10**18 - 1))
def test_a_position_reads_back(number: int) -> None:
    assert parse_position(format_position("9f3c2a10", number), "9f3c2a10") == number


def test_a_position_of_another_epoch_is_gone() -> None:
    with pytest.raises(PositionGone) as raised:
        parse_position("00000000-7", "9f3c2a10")
    assert raised.value.epoch == "9f3c2a10"


@pytest.mark.parametrize(
    "text", ["", "7", "-7", "9f3c2a10-", "9f3c2a10-x", "9f3c2a10-7\n", "9f3c2a10-" + "9" * 19]
)
def test_nonsense_is_no_position(text: str) -> None:
    with pytest.raises(RequestInvalid):
        parse_position(text, "9f3c2a10")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("beginning", "beginning"),
        ("now", "now"),
        ("9f3c2a10-7", 7),
        ("2026-11-22T03:04:05Z", datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)),
        ("2026-11-22T10:04:05+07:00", datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_place_is_a_word_a_position_or_a_time(text: str, meant: object) -> None:
    assert parse_place(text, "9f3c2a10", field="to") == meant


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-11-22", "2026-11-22T03:04:05", "2026-13-01T00:00:00Z", "now "]
)
def test_nonsense_is_no_place(text: str) -> None:
    with pytest.raises(RequestInvalid):
        parse_place(text, "9f3c2a10", field="to")


@pytest.mark.parametrize(
    ("pattern", "value", "wanted"),
    [
        ("*", "midtrans.payment.settled", True),
        ("midtrans.payment.*", "midtrans.payment.settled", True),
        ("midtrans.payment.settled", "midtrans.payment.settled", True),
        ("midtrans.payment", "midtrans.payment.settled", False),
        ("midtrans.payout.*", "midtrans.payment.settled", False),
    ],
)
def test_patterns_match_whole_names_or_beginnings(pattern: str, value: str, wanted: bool) -> None:
    assert matches([pattern], value) is wanted


@pytest.mark.parametrize("pattern", ["", "a b", "*.settled", "mid*trans", "ü"])
def test_what_no_type_can_match_is_refused(pattern: str) -> None:
    with pytest.raises(RequestInvalid):
        check_types([pattern])


@pytest.mark.parametrize("pattern", ["", "Shop", "shop-*", "-shop"])
def test_what_no_merchant_is_called_is_refused(pattern: str) -> None:
    with pytest.raises(RequestInvalid):
        check_merchants([pattern])
