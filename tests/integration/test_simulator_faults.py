"""Faults and scenarios over HTTP: what is asked for happens, and nothing else does."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from django_midtrans.testing import SCENARIOS, Account
from service.simulator.app import create_app
from service.simulator.faults import Faults
from service.simulator.server import running_simulator
from service.simulator.simulator import Simulator

KEY = "SB-Mid-server-faults"
SHOP = "http://shop.test/notifications"


class Clock:
    """Stands still until told to move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Scene:
    """A simulator with a shop behind it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.taken: list[dict[str, Any]] = []
        self.app = create_app(
            notify_url=SHOP,
            server_keys=[KEY, "another-key"],
            clock=self.clock,
            transport=httpx.MockTransport(self._take),
        )
        self.simulator: Simulator = self.app.state.simulator
        self.api = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://sim.test", auth=(KEY, "")
        )

    def _take(self, request: httpx.Request) -> httpx.Response:
        self.taken.append(json.loads(request.content))
        return httpx.Response(200)

    @property
    def account(self) -> Account:
        return self.simulator.midtrans.account(KEY)

    def charge(self, order_id: str = "o-1", kind: str = "qris") -> str:
        payload = {
            "payment_type": kind,
            "transaction_details": {"order_id": order_id, "gross_amount": 10_000},
        }
        answer = self.account.charge(payload, same_order=True)
        return str(answer["transaction_id"])

    async def sent(self) -> list[str]:
        await self.simulator.sender.idle()
        return [body["transaction_status"] for body in self.taken]

    async def said(self, id_: str = "o-1") -> str:
        body = (await self.api.get(f"/v2/{id_}/status")).json()
        return str(body.get("transaction_status", body["status_code"]))

    async def put(self, merchant_id: str | None = None, **faults: float) -> dict[str, Any]:
        params = {} if merchant_id is None else {"merchant": merchant_id}
        response = await self.api.put("/simulator/faults", json=faults, params=params)
        assert response.status_code == 200, response.text
        shown: dict[str, Any] = response.json()
        return shown


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.simulator.runs.aclose()
    await made.simulator.sender.aclose()
    await made.api.aclose()


async def test_a_lost_notification_is_never_sent_and_shown_as_lost(scene: Scene) -> None:
    await scene.put(lost=1)
    scene.charge()
    assert await scene.sent() == []
    (shown,) = (await scene.api.get("/simulator/notifications")).json()["notifications"]
    assert (shown["state"], shown["attempts"]) == ("lost", [])


async def test_a_doubled_notification_comes_twice_with_the_same_bytes(scene: Scene) -> None:
    await scene.put(twice=1)
    scene.charge()
    assert await scene.sent() == ["pending", "pending"]
    assert scene.taken[0] == scene.taken[1]


async def test_a_reordered_notification_comes_after_the_orders_next_one(scene: Scene) -> None:
    await scene.put(reordered=1, reorder_s=60)
    scene.charge()
    scene.account.pay("o-1")
    assert await asyncio.wait_for(scene.sent(), 5) == ["settlement", "pending"]


async def test_a_reordered_notification_without_a_next_one_comes_all_the_same(scene: Scene) -> None:
    await scene.put(reordered=1, reorder_s=0.01)
    scene.charge()
    assert await asyncio.wait_for(scene.sent(), 5) == ["pending"]


async def test_a_delayed_notification_comes_later(scene: Scene) -> None:
    await scene.put(delayed=1, delay_s=0.05)
    started = time.monotonic()
    scene.charge()
    assert await scene.sent() == ["pending"]
    assert time.monotonic() - started >= 0.05


async def test_one_merchants_faults_are_not_anothers(scene: Scene) -> None:
    shown = await scene.put(scene.account.merchant_id, lost=1)
    own = scene.account.merchant_id
    assert shown == {"faults": {}, "merchants": {own: {"lost": 1.0}}, "happened": {}}
    scene.charge()
    shown = (await scene.api.get("/simulator/faults")).json()
    assert shown == {"faults": {}, "merchants": {own: {"lost": 1.0}}, "happened": {own: {"lost": 1}}}
    payload = {"payment_type": "qris", "transaction_details": {"order_id": "o-2", "gross_amount": 1}}
    scene.simulator.midtrans.account("another-key").charge(payload)
    await scene.sent()
    assert [body["order_id"] for body in scene.taken] == ["o-2"]


async def test_faults_that_are_none_are_refused_and_change_nothing(scene: Scene) -> None:
    await scene.put(twice=1)
    response = await scene.api.put("/simulator/faults", json={"twice": 7})
    assert (response.status_code, response.json()["error"]) == (422, "option_invalid")
    assert (await scene.api.get("/simulator/faults")).json()["faults"] == {"twice": 1.0}


async def test_a_5xx_is_json_or_html_and_the_state_stays_what_it_was(scene: Scene) -> None:
    await scene.put(status_5xx=1)
    scene.charge()
    answers = [await scene.api.get("/v2/o-1/status") for _ in range(40)]
    kinds = {(each.status_code, each.headers["content-type"].split(";")[0]) for each in answers}
    assert kinds == {(500, "application/json"), (502, "text/html"), (503, "application/json")}
    await scene.put()
    assert await scene.said() == "pending"


async def test_a_slow_status_comes_late_and_holds_up_no_other_call(scene: Scene) -> None:
    await scene.put(status_slow=1, slow_s=0.1)
    scene.charge()
    started = time.monotonic()
    slow = asyncio.create_task(scene.said())
    await scene.api.get("/simulator/payments")
    assert time.monotonic() - started < 0.1
    assert await slow == "pending"
    assert time.monotonic() - started >= 0.1


def test_a_reset_breaks_the_answer_off() -> None:
    with running_simulator(server_keys=[KEY], faults=Faults(status_reset=1)) as running:
        payload = {"payment_type": "qris", "transaction_details": {"order_id": "o-1", "gross_amount": 1}}
        running.simulator.midtrans.account(KEY).charge(payload)
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{running.url}/v2/o-1/status", auth=(KEY, ""))
        running.simulator.suffer(Faults())
        assert httpx.get(f"{running.url}/v2/o-1/status", auth=(KEY, "")).json()["status_code"] == "201"


async def test_a_lagging_status_answers_as_of_then(scene: Scene) -> None:
    await scene.put(status_lag=1, lag_s=10)
    own = scene.charge()
    assert await scene.said(own) == "404"
    scene.clock.now += timedelta(seconds=10)
    assert await scene.said(own) == "pending"
    scene.account.pay(own)
    assert await scene.said(own) == "pending"
    scene.clock.now += timedelta(seconds=9)
    assert await scene.said() == "pending"
    scene.clock.now += timedelta(seconds=1)
    assert await scene.said() == "settlement"
    happened = (await scene.api.get("/simulator/faults")).json()["happened"]
    assert happened == {scene.account.merchant_id: {"status_lag": 5}}


async def test_a_lag_that_begins_knows_what_was_before(scene: Scene) -> None:
    own = scene.charge()
    scene.clock.now += timedelta(seconds=60)
    await scene.put(status_lag=1, lag_s=10)
    scene.account.pay(own)
    assert await scene.said(own) == "pending"


async def test_a_status_that_lags_now_and_then_goes_back_and_forth(scene: Scene) -> None:
    await scene.put(status_lag=0.5, lag_s=10)
    own = scene.charge()
    scene.clock.now += timedelta(seconds=10)
    scene.account.pay(own)
    said = [await scene.said(own) for _ in range(40)]
    assert {("pending", "settlement"), ("settlement", "pending")} <= set(itertools.pairwise(said))


async def test_a_lagging_answer_about_an_order_is_its_earlier_payment(scene: Scene) -> None:
    await scene.put(status_lag=1, lag_s=10)
    first = scene.charge()
    scene.clock.now += timedelta(seconds=10)
    scene.charge()
    assert (await scene.api.get("/v2/o-1/status")).json()["transaction_id"] == first


async def test_a_payment_is_unknown_for_a_while_after_its_charge(scene: Scene) -> None:
    await scene.put(status_404_s=10)
    own = scene.charge()
    scene.account.pay(own)
    answer = await scene.api.get(f"/v2/{own}/status")
    assert (answer.status_code, answer.json()["status_code"]) == (200, "404")
    assert await scene.said() == "404"
    scene.clock.now += timedelta(seconds=10)
    assert await scene.said() == "settlement"


async def test_a_swapped_channel_stays_unknown_by_its_order_under_lag(scene: Scene) -> None:
    await scene.put(status_404_s=1)
    own = scene.charge(kind="dana")
    scene.clock.now += timedelta(seconds=2)
    assert await scene.said() == "404"
    assert await scene.said(own) == "PENDING"


async def test_scenarios_are_listed_with_what_they_do_and_how_they_end(scene: Scene) -> None:
    listed = (await scene.api.get("/simulator/scenarios")).json()
    assert [(each["name"], tuple(each["ends"])) for each in listed["scenarios"]] == [
        (name, scenario.ends) for name, scenario in SCENARIOS.items()
    ]
    assert all(each["does"] for each in listed["scenarios"])
    assert listed["runs"] == []


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_call_plays_a_scenario_to_its_end(scene: Scene, name: str) -> None:
    begun = await scene.api.post(f"/simulator/scenarios/{name}", json={"order_id": "o-1", "pause_s": 0})
    assert (begun.json()["state"], begun.json()["order_id"]) == ("running", "o-1")
    assert begun.json()["detail"]
    await scene.simulator.runs.idle()
    (run,) = (await scene.api.get("/simulator/scenarios")).json()["runs"]
    assert (run["scenario"], run["state"]) == (name, "ended")
    assert tuple(payment.status for payment in scene.account.transactions()) == SCENARIOS[name].ends


async def test_a_scenario_that_cannot_go_on_says_why(scene: Scene) -> None:
    await scene.api.post("/simulator/scenarios/expired", json={"order_id": "o-1", "pause_s": 0.01})
    scene.account.pay("o-1")
    await scene.simulator.runs.idle()
    (run,) = scene.simulator.runs.kept
    assert (run.state, "412" in run.detail) == ("broken", True)
    again = await scene.api.post("/simulator/scenarios/paid", json={"order_id": "o-1"})
    assert (again.status_code, "406" in again.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("path", "payload", "code"),
    [
        ("/simulator/scenarios/payed", {}, 404),
        ("/simulator/scenarios/paid", {"pause_s": "long"}, 422),
        ("/simulator/scenarios/paid", {"pause_s": -1}, 422),
        ("/simulator/scenarios/paid", {"pause_s": float("1e9")}, 422),
        ("/simulator/scenarios/paid?merchant=G0", {}, 409),
    ],
)
async def test_a_scenario_that_is_none_is_refused(
    scene: Scene, path: str, payload: dict[str, Any], code: int
) -> None:
    assert (await scene.api.post(path, json=payload)).status_code == code
    assert scene.account.transactions() == ()


async def test_the_page_plays_scenarios_and_names_the_faults(scene: Scene) -> None:
    await scene.put(lost=0.5)
    html = (await scene.api.get("/")).text
    assert "Faults on request: all: lost 0.5" in html
    action = html.split('formaction="/simulator/scenarios/expired')[1].split('"')[0]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    pressed = await scene.api.post(f"/simulator/scenarios/expired{action}", headers=headers)
    assert (pressed.status_code, pressed.headers["location"]) == (303, "/")
    assert [run.scenario for run in scene.simulator.runs.kept] == ["expired"]
