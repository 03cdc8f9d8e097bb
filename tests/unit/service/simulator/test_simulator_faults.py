"""Faults: which there are, who suffers them, and that a seed brings the same ones again."""

from dataclasses import fields

import pytest

from service.simulator.faults import NONE, FaultInvalid, Faults, FaultTable

ORDERS = [f"o-{number}" for number in range(400)]


def throws(table: FaultTable, merchant_id: str = "G1", orders: list[str] = ORDERS) -> list[bool]:
    return [table.happens("lost", merchant_id, order_id) for order_id in orders for _ in range(3)]


def test_by_default_nothing_goes_wrong() -> None:
    assert Faults.from_options({}) == NONE
    assert NONE.chosen() == {}
    assert not any(throws(FaultTable()))


def test_options_come_as_numbers_or_as_text() -> None:
    faults = Faults.from_options({"lost": "0.5", "lag_s": 3, "seed": "9"})
    assert faults.chosen() == {"lost": 0.5, "lag_s": 3.0, "seed": 9}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("losst", 1),
        ("lost", 1.01),
        ("lost", -0.1),
        ("lost", "often"),
        ("lost", None),
        ("lost", True),
        ("lost", "nan"),
        ("delay_s", -1),
        ("delay_s", "inf"),
        ("seed", "1.5"),
    ],
)
def test_a_wrong_name_or_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(FaultInvalid, match=name):
        Faults.from_options({name: value})


@pytest.mark.parametrize("name", [each.name for each in fields(Faults)])
def test_every_fault_can_be_chosen_and_is_shown(name: str) -> None:
    assert Faults.from_options({name: 1}).chosen() == {name: 1}


def test_a_seed_brings_the_same_faults_however_the_orders_interleave() -> None:
    first, again = FaultTable(Faults(lost=0.5, seed=3)), FaultTable(Faults(lost=0.5, seed=3))
    forward = dict(zip(ORDERS, [throws(first, orders=[order]) for order in ORDERS], strict=True))
    backward = {order: throws(again, orders=[order]) for order in reversed(ORDERS)}
    assert forward == backward
    assert throws(FaultTable(Faults(lost=0.5, seed=4))) != throws(FaultTable(Faults(lost=0.5, seed=3)))


def test_setting_faults_begins_the_dice_anew() -> None:
    table, faults = FaultTable(), Faults(lost=0.5)
    table.put(faults)
    first = throws(table)
    table.put(faults)
    assert throws(table) == first


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_faults_happen_about_as_often_as_asked(probability: float) -> None:
    happened = throws(FaultTable(Faults(lost=probability)))
    assert abs(sum(happened) / len(happened) - probability) < 0.05


def test_one_is_always() -> None:
    assert all(throws(FaultTable(Faults(lost=1))))


def test_a_merchants_own_faults_stand_in_the_place_of_everyones() -> None:
    table = FaultTable(Faults(lost=1))
    table.put(NONE, "G2")
    assert all(throws(table, "G1"))
    assert not any(throws(table, "G2"))
    assert table.shown() == {
        "faults": {"lost": 1.0},
        "merchants": {"G2": {}},
        "happened": {"G1": {"lost": 3 * len(ORDERS)}},
    }


def test_a_kind_is_the_same_in_every_run() -> None:
    tables = FaultTable(Faults(seed=1)), FaultTable(Faults(seed=1)), FaultTable(Faults(seed=2))
    picked = [[table.pick("status_5xx", "G1", order, range(1_000)) for order in ORDERS] for table in tables]
    assert picked[0] == picked[1] != picked[2]
