"""The queue over HTTP: the contract, row by row."""

import asyncio
from typing import Any

import pytest
from support.api import Api

from service.domain.records import Role


def payments(answer: dict[str, Any]) -> list[str]:
    return [one["event"]["data"]["p"] for one in answer["deliveries"]]


def numbers(answer: dict[str, Any]) -> list[int]:
    return [one["event"]["data"]["n"] for one in answer["deliveries"]]


def leases(answer: dict[str, Any]) -> list[str]:
    return [one["lease"] for one in answer["deliveries"]]


async def test_put_makes_with_201_and_changes_with_200(api: Api) -> None:
    spec = {
        "types": ["midtrans.payment.*"],
        "merchants": ["*"],
        "start": "now",
        "lease_seconds": 30,
        "max_attempts": 30,
        "on_dead": "hold",
    }
    made = await api.client.put("/v1/consumers/shipping", json=spec)
    assert made.status_code == 201
    assert made.json()["types"] == ["midtrans.payment.*"]
    changed = await api.client.put("/v1/consumers/shipping", json={**spec, "on_dead": "skip"})
    assert (changed.status_code, changed.json()["on_dead"]) == (200, "skip")


async def test_start_counts_at_creation_only(api: Api) -> None:
    api.append("a", "b")
    await api.make(start="now")
    await api.make(start="beginning")
    assert (await api.lease())["deliveries"] == []
    api.append("c")
    assert payments(await api.lease()) == ["c"]


async def test_a_start_at_a_position_goes_on_behind_it(api: Api) -> None:
    api.append("a", "b", "c")
    await api.make("first")
    place = (await api.lease("first"))["deliveries"][1]["position"]
    await api.make(start=place)
    assert payments(await api.lease()) == ["c"]


async def test_a_delivery_says_all_that_the_contract_names(api: Api) -> None:
    api.append("a")
    await api.make()
    answer = await api.lease()
    assert set(answer) == {"deliveries", "acked", "ended"}
    assert set(answer["deliveries"][0]) == {"lease", "attempt", "leased_until", "position", "event"}
    assert answer["deliveries"][0]["attempt"] == 1
    assert answer["deliveries"][0]["event"]["subject"] == "order-a"


async def test_an_ack_inside_the_next_lease_ends_the_delivery(api: Api) -> None:
    api.append("a", "a")
    await api.make()
    first = await api.lease()
    second = await api.lease(ack=leases(first))
    assert second["acked"] == leases(first)
    assert numbers(second) == [2]


async def test_a_batch_holds_one_event_of_a_payment(api: Api) -> None:
    api.append("a", "a", "b", "a", "b", "c")
    await api.make()
    assert payments(await api.lease()) == ["a", "b", "c"]
    looked = await api.look()
    assert (looked["in_flight"], looked["held"], looked["lag"]) == (3, 3, 0)


async def test_events_of_a_payment_come_in_order(api: Api) -> None:
    api.append(*"abcabcabc")
    await api.make()
    seen: dict[str, list[int]] = {}
    answer = await api.lease(limit=2)
    while answer["deliveries"]:
        for one in answer["deliveries"]:
            seen.setdefault(one["event"]["data"]["p"], []).append(one["event"]["data"]["n"])
        answer = await api.lease(limit=2, ack=leases(answer))
    assert seen == {"a": [1, 4, 7], "b": [2, 5, 8], "c": [3, 6, 9]}


async def test_a_lost_lease_comes_back_after_five_seconds_then_ten(api: Api) -> None:
    api.append("a")
    await api.make(lease_seconds=30)
    await api.lease()
    api.clock.forward(34)
    assert (await api.lease())["deliveries"] == []
    api.clock.forward(2)
    again = await api.lease()
    assert again["deliveries"][0]["attempt"] == 2
    api.clock.forward(39)
    assert (await api.lease())["deliveries"] == []
    api.clock.forward(2)
    assert (await api.lease())["deliveries"][0]["attempt"] == 3


async def test_an_ack_after_the_end_counts_until_the_event_is_lent_again(api: Api) -> None:
    api.append("a", "b")
    await api.make()
    first = leases(await api.lease())
    api.clock.forward(36)
    assert await api.post("ack", leases=first[:1]) == {"acked": first[:1], "ended": []}
    assert payments(await api.lease()) == ["b"]
    assert await api.post("ack", leases=first[1:]) == {"acked": [], "ended": first[1:]}


async def test_an_ack_is_remembered_for_an_hour(api: Api) -> None:
    api.append("a")
    await api.make()
    lent = leases(await api.lease())
    await api.post("ack", leases=lent)
    api.clock.forward(3600)
    assert (await api.post("ack", leases=lent))["acked"] == lent


async def test_old_acks_are_forgotten(api: Api) -> None:
    api.append(*(f"p{n}" for n in range(120)))
    await api.make()
    lent = leases(await api.lease(limit=120))
    await api.post("ack", leases=lent[:10])
    api.clock.forward(2 * 3600)
    again = await api.lease(limit=200)
    await api.post("ack", leases=leases(again))
    ended: list[str] = []
    for _ in range(100):  # nobody waits for the forgetting: another writer may come to it later
        ended = (await api.post("ack", leases=lent[:10]))["ended"]
        if ended:
            break
        await asyncio.sleep(0.05)
    assert ended == lent[:10]


async def test_a_nack_with_a_delay_comes_back_then(api: Api) -> None:
    api.append("a")
    await api.make()
    lent = leases(await api.lease())
    assert await api.post("nack", leases=lent, delay_seconds=60, reason="no stock") == {
        "nacked": lent,
        "ended": [],
    }
    api.clock.forward(59)
    assert (await api.lease())["deliveries"] == []
    api.clock.forward(2)
    assert (await api.lease())["deliveries"][0]["attempt"] == 2


async def test_a_nack_without_a_delay_backs_off(api: Api) -> None:
    api.append("a")
    await api.make()
    await api.post("nack", leases=leases(await api.lease()))
    assert (await api.lease())["deliveries"] == []
    api.clock.forward(6)
    assert payments(await api.lease()) == ["a"]


async def test_extend_moves_the_end(api: Api) -> None:
    api.append("a")
    await api.make(lease_seconds=30)
    lent = leases(await api.lease())
    answer = await api.post("extend", leases=lent, lease_seconds=100)
    assert [one["lease"] for one in answer["extended"]] == lent
    assert answer["ended"] == []
    api.clock.forward(90)
    assert (await api.lease())["deliveries"] == []
    assert (await api.post("ack", leases=lent))["acked"] == lent


async def test_a_dead_event_holds_later_ones_of_its_payment_until_redriven(api: Api) -> None:
    api.append("a", "a", "b")
    await api.make(max_attempts=1)
    first = await api.lease()
    await api.post("nack", leases=leases(first), reason="bug")
    assert (await api.lease())["deliveries"] == []
    letters = (await api.client.get("/v1/consumers/shipping/dead-letters")).json()["dead_letters"]
    assert [(one["attempts"], one["reason"], one["event"]["data"]["n"]) for one in letters] == [
        (1, "bug", 1),
        (1, "bug", 3),
    ]
    assert await api.post("dead-letters/redrive", positions="all") == {"redriven": 2}
    again = await api.lease()
    assert numbers(again) == [1, 3]
    assert numbers(await api.lease(ack=leases(again))) == [2]


async def test_a_discarded_event_lets_the_next_one_go(api: Api) -> None:
    api.append("a", "a")
    await api.make(max_attempts=1)
    first = await api.lease()
    await api.post("nack", leases=leases(first))
    place = first["deliveries"][0]["position"]
    assert await api.post("dead-letters/discard", positions=[place]) == {"discarded": 1}
    assert numbers(await api.lease()) == [2]


async def test_skip_lets_later_events_pass_a_dead_one(api: Api) -> None:
    api.append("a", "a")
    await api.make(max_attempts=1, on_dead="skip")
    await api.post("nack", leases=leases(await api.lease()))
    assert numbers(await api.lease()) == [2]


async def test_changing_to_skip_frees_what_dead_ones_held(api: Api) -> None:
    api.append("a", "a")
    await api.make(max_attempts=1)
    await api.post("nack", leases=leases(await api.lease()))
    assert (await api.lease())["deliveries"] == []
    await api.make(max_attempts=1, on_dead="skip")
    assert numbers(await api.lease()) == [2]


async def test_a_lease_lost_for_the_last_time_is_dead_and_alarmed(api: Api) -> None:
    api.append("a")
    await api.make(max_attempts=1)
    await api.lease()
    api.clock.forward(36)
    assert (await api.lease())["deliveries"] == []
    assert (await api.look())["dead"] == 1
    text = (await api.client.get("/metrics")).text
    assert 'alarm="consumer_dead"' in text


async def test_seek_replays_and_passes_over_the_dead(api: Api) -> None:
    api.append("a", "b", "a")
    await api.make(max_attempts=1)
    first = await api.lease()
    await api.post("nack", leases=leases(first)[:1])
    await api.post("ack", leases=leases(first)[1:])
    await api.post("seek", to="beginning")
    assert numbers(await api.lease()) == [2]
    looked = await api.look()
    assert (looked["dead"], looked["held"]) == (1, 1)


async def test_seek_to_now_leaves_nothing(api: Api) -> None:
    api.append("a", "b")
    await api.make()
    await api.lease(limit=1)
    looked = await api.post("seek", to="now")
    assert (looked["lag"], looked["in_flight"]) == (0, 0)
    api.clock.forward(100)
    assert (await api.lease())["deliveries"] == []


async def test_seek_to_a_time_goes_on_from_there(api: Api) -> None:
    api.append("a")
    api.clock.forward(3600)
    middle = api.clock().isoformat()
    api.clock.forward(3600)
    api.append("b")
    await api.make(start="now")
    await api.post("seek", to=middle)
    assert payments(await api.lease()) == ["b"]


async def test_leases_of_before_a_seek_have_ended(api: Api) -> None:
    api.append("a")
    await api.make()
    lent = leases(await api.lease())
    await api.post("seek", to="beginning")
    assert (await api.post("ack", leases=lent))["ended"] == lent
    assert payments(await api.lease()) == ["a"]


async def test_a_paused_consumer_gets_nothing_until_resumed(api: Api) -> None:
    api.append("a")
    await api.make()
    assert (await api.post("pause"))["paused"] is True
    assert (await api.lease())["deliveries"] == []
    assert (await api.post("resume"))["paused"] is False
    assert payments(await api.lease()) == ["a"]


async def test_a_deleted_consumer_is_gone_with_all_that_was_outstanding(api: Api) -> None:
    api.append("a")
    await api.make()
    await api.lease()
    assert (await api.client.delete("/v1/consumers/shipping")).status_code == 204
    assert (await api.client.get("/v1/consumers/shipping")).status_code == 404
    assert (await api.client.delete("/v1/consumers/shipping")).status_code == 404
    await api.make()
    assert payments(await api.lease()) == ["a"]


async def test_filters_let_through_what_they_name(api: Api) -> None:
    api.append("a", type_="midtrans.payment.pending")
    api.append("b", merchant="other")
    api.append("c")
    await api.make(types=["midtrans.payment.settled"], merchants=["default"])
    assert payments(await api.lease()) == ["c"]


async def test_a_consumer_finds_its_event_behind_thousands_that_it_does_not_want(api: Api) -> None:
    api.append(*(f"p{n}" for n in range(3500)), type_="midtrans.payment.pending")
    api.append("wanted")
    await api.make(types=["midtrans.payment.settled"])
    assert (await api.look())["lag"] == 1
    assert payments(await api.lease()) == ["wanted"]


async def test_a_large_batch_is_lent_whole(api: Api) -> None:
    api.append(*(f"p{n}" for n in range(450)))
    await api.make()
    answer = await api.lease(limit=400)
    assert len(answer["deliveries"]) == 400
    rest = await api.lease(limit=400, ack=leases(answer))
    assert len(rest["acked"]) == 400
    assert len(rest["deliveries"]) == 50


async def test_many_dropped_deliveries_are_read_again(api: Api) -> None:
    api.append(*(f"p{n}" for n in range(1200)))
    await api.make()
    await api.lease(limit=1000)
    await api.lease(limit=200)
    await api.post("seek", to="beginning")
    assert (await api.look())["lag"] == 1200
    assert (await api.client.delete("/v1/consumers/shipping")).status_code == 204


async def test_a_consumers_list_shows_each_its_own(api: Api) -> None:
    await api.make("shipping")
    await api.make("billing")
    everything = (await api.client.get("/v1/consumers")).json()["consumers"]
    assert [one["name"] for one in everything] == ["billing", "shipping"]
    own = (await api.client.get("/v1/consumers", headers=api.auth(Role.CONSUMER))).json()["consumers"]
    assert [one["name"] for one in own] == ["shipping"]


async def test_oldest_seconds_says_how_late_a_consumer_is(api: Api) -> None:
    api.append("a")
    await api.make()
    api.clock.forward(120)
    assert (await api.look())["oldest_seconds"] == pytest.approx(120, abs=5)
    await api.lease(ack=leases(await api.lease()))
    assert (await api.look())["oldest_seconds"] is None
