"""What somebody tries who holds genuine signed bodies, and may alter all that the signature does not cover."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.world import World, make_world

from django_midtrans.testing import signature
from service.db.claim_statements import MOST_RECEIPTS
from service.domain.receiving import Arrival

Body = dict[str, Any]


@pytest.fixture
def world(stored_at: str, tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path, url=stored_at) as made:
        yield made


def charge(world: World, order_id: str, *, payment_type: str = "gopay", amount: int = 150_000) -> str:
    details = {"order_id": order_id, "gross_amount": amount}
    answer = world.account.charge({"payment_type": payment_type, "transaction_details": details})
    transaction_id: str = answer["transaction_id"]
    return transaction_id


def flood(world: World, bodies: Iterable[Body]) -> None:
    """Post many at once, as a client with many connections would."""

    async def post() -> None:
        raws = [json.dumps(body).encode() for body in bodies]
        arrivals = [
            Arrival("default", raw, len(raw), world.clock(), "", "/notifications", {}) for raw in raws
        ]
        answers = await asyncio.gather(*(world.receiver.receive(arrival) for arrival in arrivals))
        assert {answer.status for answer in answers} == {200}

    asyncio.run(post())


def moved(body: Body, digits: int) -> Body:
    """Move digits between the fields that are signed without separators; the signature stays good."""
    text = f"{body['order_id']}{body['status_code']}{body['gross_amount']}"
    end = len(body["order_id"]) + digits
    parts = {"order_id": text[:end], "status_code": text[end : end + 3], "gross_amount": text[end + 3 :]}
    assert parts["gross_amount"]
    return {**body, **parts}


class TestMovedDigits:
    def test_an_amount_cannot_be_made_smaller_to_pay_a_dear_order_with_a_cheap_transaction(
        self, world: World
    ) -> None:
        dear = charge(world, "DEAR", payment_type="dana", amount=150_345)
        genuine = world.account.notification(dear)
        cheap = charge(world, "CHEAP", payment_type="dana", amount=345)
        altered = {**genuine, "status_code": "201150", "gross_amount": "345.00", "transaction_id": cheap}
        assert genuine["status_code"] + genuine["gross_amount"] == "201150345.00"
        assert world.notify(altered) == 422
        world.account.pay(cheap)
        world.run_for(hours=1)
        assert world.types("DEAR") == []

    @pytest.mark.parametrize("digits", [*range(-8, 0), *range(1, 9)])
    def test_a_body_of_one_order_does_not_speak_for_another_with_a_longer_or_shorter_id(
        self, world: World, digits: int
    ) -> None:
        charge(world, "SHOP-1000")
        body = moved(world.account.pay("SHOP-1000"), digits)
        assert (
            signature(body["order_id"], body["status_code"], body["gross_amount"], world.account.server_key)
            == (body["signature_key"])
        )
        assert world.notify(body) == 422

    @pytest.mark.parametrize("code", ["20", "2001", "020", " 200", "2e2", "٢٠٠", "200.0"])
    def test_a_status_code_is_three_digits(self, world: World, code: str) -> None:
        charge(world, "A-1")
        body = {**world.account.pay("A-1"), "status_code": code}
        body["signature_key"] = signature("A-1", code, body["gross_amount"], world.account.server_key)
        assert world.notify(body) == 422


class TestUnsignedFields:
    def test_a_wrong_merchant_id_beside_the_genuine_body_stops_nothing(self, world: World) -> None:
        charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.notify({**paid, "merchant_id": "G000000666"})
        world.notify(paid)
        world.confirm_due()
        assert world.types() == ["settled"]
        assert world.receipt_states() == [("anomaly", "other_merchant"), ("applied", None)]
        assert world.alarm_names() == ["anomaly"]

    def test_a_wrong_merchant_id_leaves_the_proof_of_a_channel_that_swaps_ids_alone(
        self, world: World
    ) -> None:
        transaction_id = charge(world, "D-1", payment_type="dana")
        paid = world.account.pay(transaction_id)
        for body in ({**paid, "merchant_id": "G000000666"}, paid):
            world.notify(body)
        world.confirm_due()
        assert world.types("D-1") == ["settled"]
        assert world.gateway.asked == [transaction_id, "D-1"]

    def test_a_made_up_transaction_under_an_order_does_not_keep_reconcile_from_the_true_one(
        self, world: World
    ) -> None:
        transaction_id = charge(world, "D-1", payment_type="dana")
        pending = world.account.notification(transaction_id)
        world.notify(pending)
        world.confirm_due()
        world.notify({**pending, "transaction_id": "made-up"})
        world.account.pay(transaction_id)  # and its notification is lost
        world.run_for(hours=1)
        assert world.receipt_states() == [("applied", None), ("waiting", "not_found")]
        assert world.types() == ["pending", "settled"]


class TestFloods:
    def test_made_up_transactions_of_one_order_do_not_stand_before_the_others(self, world: World) -> None:
        charge(world, "A-1")
        pending = world.account.notification("A-1")
        world.notify(pending)
        world.confirm_due()
        flood(world, ({**pending, "transaction_id": f"made-up-{number}"} for number in range(300)))
        world.clock.pass_time(seconds=1)
        charge(world, "TRUE")
        world.notify(world.account.pay("TRUE"))
        assert [claim.order_id for claim in world.claim(limit=16)] == ["TRUE"]

    def test_repeats_of_one_order_leave_room_for_those_of_others(self, world: World) -> None:
        charge(world, "A-1")
        pending = world.account.notification("A-1")
        world.notify(pending)
        flood(world, ({**pending, "transaction_id": f"made-up-{number}"} for number in range(50)))
        charge(world, "LATE")
        late = world.account.notification("LATE")
        world.notify(late)
        world.notify({**late, "transaction_id": "unknown"})
        firsts = 0
        while claims := world.claim():
            for claim in claims:
                world.confirm(claim)
            firsts += len(claims)
        assert firsts == 2  # what was left is in the lane of repeats
        taken = world.claim(repeat=True, limit=4) + world.claim(repeat=True, limit=4)
        assert {claim.order_id for claim in taken} == {"A-1", "LATE"}

    def test_a_claim_holds_a_bounded_number_of_receipts_and_none_is_forgotten(self, world: World) -> None:
        charge(world, "A-1")
        paid = world.account.pay("A-1")
        count = 2 * MOST_RECEIPTS + 10
        flood(world, ({**paid, "custom_field1": str(number)} for number in range(count)))
        (claim,) = world.claim()
        assert len(claim.receipts) == MOST_RECEIPTS
        world.confirm(claim)
        assert world.types() == ["settled"]
        world.confirm_due()
        assert world.types() == ["settled"]
        ended = {("applied", None): MOST_RECEIPTS, ("unchanged", None): count - MOST_RECEIPTS}
        assert Counter(world.receipt_states()) == ended
        assert len(world.gateway.asked) == 3

    def test_altered_bodies_that_stay_open_are_each_asked_about_in_turn(self, world: World) -> None:
        charge(world, "A-1")
        pending = world.account.notification("A-1")
        count = MOST_RECEIPTS + 10
        ahead = {**pending, "transaction_status": "settlement"}
        flood(world, ({**ahead, "custom_field1": str(number)} for number in range(count)))
        world.confirm_due()
        assert len(world.gateway.asked) == 2
        assert world.receipt_states() == [("waiting", "behind")] * count

    def test_an_anomaly_sent_again_and_again_is_asked_about_in_the_lane_of_repeats(
        self, world: World
    ) -> None:
        charge(world, "A-1")
        charge(world, "B-1")
        other = world.account.pay("B-1")
        forged = {**world.account.pay("A-1"), "transaction_id": other["transaction_id"]}
        world.notify(forged)
        world.confirm_due()
        world.notify(forged)
        assert world.claim() == []
        assert [claim.order_id for claim in world.claim(repeat=True)] == ["A-1"]
