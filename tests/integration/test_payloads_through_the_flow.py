"""Our own bodies of every payment type and state go through the whole flow: posted, stored, asked, told."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.contracts import check_event
from support.world import World, make_world

from django_midtrans.values import read_time

KEY = "SB-Mid-server-test"
FOLDER = Path(__file__).parent.parent / "payloads"
STORIES: dict[str, list[dict[str, Any]]] = {
    f"{path.stem}-{story['name']}": story["steps"]
    for path in sorted(FOLDER.glob("*.json"))
    for story in json.loads(path.read_text(encoding="utf-8"))["stories"]
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path, key=KEY) as made:
        yield made


def tell(world: World, body: dict[str, Any]) -> None:
    """Post *body* a minute after what it tells of; Midtrans' status API answers the same."""
    moments = [read_time(body.get(name)) for name in ("transaction_time", "settlement_time")]
    world.clock.now = max([world.clock.now, *(moment for moment in moments if moment)]) + timedelta(minutes=1)
    world.gateway.answers = {body["transaction_id"]: body, body["order_id"]: body}
    assert world.notify(body) == 200
    for claim in world.claim():
        world.confirm(claim)


@pytest.mark.slow
@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES.keys())
def test_a_story_makes_the_reviewed_events(world: World, steps: list[dict[str, Any]]) -> None:
    world.clock.now -= timedelta(days=3650)
    made = 0
    for step in steps:
        tell(world, step["body"])
        events = [check_event(event.to_dict()) for event in world.events()][made:]
        if step["event"] is None:
            assert events == []
        else:
            (event,) = events
            expected = step["event"]["data"]
            assert event["type"] == step["event"]["type"]
            assert {name: event["data"][name] for name in expected} == expected
            assert event["data"]["confirmed_by"] == "notification"
            made += 1
        if step["problem"]:
            assert world.receipt_states()[-1] == ("waiting", step["problem"])
        assert set(step["alarms"]) <= set(world.alarm_names())
    sequences = [event.sequence for event in world.events()]
    assert sequences == list(range(1, made + 1))
    assert len({event.id for event in world.events()}) == made


def test_every_payment_type_of_the_facts_has_stories() -> None:
    types = {step["body"].get("payment_type") for steps in STORIES.values() for step in steps}
    assert types >= {
        "credit_card",
        "bank_transfer",
        "echannel",
        "gopay",
        "qris",
        "shopeepay",
        "ovo",
        "dana",
        "cstore",
        "akulaku",
        "kredivo",
        "bca_klikpay",
        "bca_klikbca",
        "cimb_clicks",
        "danamon_online",
        "bri_epay",
        "mandiri_clickpay",
    }
