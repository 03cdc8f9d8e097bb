"""The simulator over HTTP: Midtrans' own paths and manners, the control calls, the page, the demo."""

import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest

from django_midtrans.testing import signature
from service.simulator.app import create_app
from service.simulator.demo import run_demo
from service.simulator.server import running_simulator
from service.simulator.simulator import Simulator

KEY = "SB-Mid-server-http"
SHOP = "http://shop.test/notifications"


class Shop:
    """Receives notifications and answers what it was told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[httpx.Request] = []
        self.answer = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.taken.append((str(request.url), json.loads(request.content)))
        return httpx.Response(self.answer, text="noted")

    def statuses(self, order_id: str) -> list[str]:
        return [body["transaction_status"] for _, body in self.taken if body["order_id"] == order_id]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def app(shop: Shop) -> Any:
    return create_app(
        notify_url=SHOP, server_keys=[KEY], time_factor=1e9, transport=httpx.MockTransport(shop)
    )


@pytest.fixture
def simulator(app: Any) -> Simulator:
    found = app.state.simulator
    assert isinstance(found, Simulator)
    return found


@pytest.fixture
async def api(app: Any, simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sim.test", auth=(KEY, "")) as client:
        yield client
    await simulator.sender.aclose()


async def charge(api: httpx.AsyncClient, order_id: str = "o-1", **more: Any) -> dict[str, Any]:
    details = {"order_id": order_id, "gross_amount": 10_000}
    headers = more.pop("headers", {})
    payload = {"payment_type": "gopay", "transaction_details": details, **more}
    response = await api.post("/v2/charge", json=payload, headers=headers)
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


async def answered(api: httpx.AsyncClient, method: str, path: str, **more: Any) -> tuple[int, str]:
    response = await api.request(method, path, **more)
    return response.status_code, response.json()["status_code"]


async def test_a_payment_is_charged_paid_and_notified_with_its_signature(
    api: httpx.AsyncClient, simulator: Simulator, shop: Shop
) -> None:
    await charge(api)
    paid = await api.post("/simulator/pay/o-1")
    await simulator.sender.idle()
    assert sorted(shop.statuses("o-1")) == ["pending", "settlement"]
    body = paid.json()["notification"]
    assert (SHOP, body) in shop.taken
    assert body["signature_key"] == signature("o-1", "200", "10000.00", KEY)
    assert (await api.get("/v2/o-1/status")).json()["transaction_status"] == "settlement"


async def test_a_notification_comes_as_midtrans_sends_it(
    api: httpx.AsyncClient, simulator: Simulator, shop: Shop
) -> None:
    await charge(api)
    await simulator.sender.idle()
    sent = shop.requests[0]
    assert (sent.method, sent.headers["content-type"], sent.headers["accept"]) == (
        "POST",
        "application/json",
        "application/json",
    )
    assert sent.headers["user-agent"] == "Veritrans"
    assert "authorization" not in sent.headers


async def test_business_errors_come_with_http_200(api: httpx.AsyncClient) -> None:
    await charge(api)
    assert await answered(api, "GET", "/v2/ghost/status") == (200, "404")
    assert await answered(api, "GET", "/v2/ghost/status/b2b") == (200, "404")
    assert (await charge(api))["status_code"] == "406"
    assert await answered(api, "POST", "/v2/o-1/approve") == (200, "412")
    assert await answered(api, "POST", "/v2/charge", json={}) == (200, "400")
    assert await answered(api, "POST", "/v2/o-1/expire", json={}) == (200, "407")


@pytest.mark.parametrize("content", [b"{", b"[1]", b'"x"', b'{"a": NaN}', b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_object_is_413(api: httpx.AsyncClient, content: bytes) -> None:
    assert await answered(api, "POST", "/v2/charge", content=content) == (200, "413")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer " + KEY,
        "Basic " + KEY,
        "Basic %%%",
        "Basic " + base64.b64encode(b"other:").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"\xff:").decode(),
    ],
)
async def test_a_wrong_key_is_http_401(app: Any, authorization: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sim.test") as stranger:
        headers = {"Authorization": authorization} if authorization else {}
        assert await answered(stranger, "GET", "/v2/o-1/status", headers=headers) == (401, "401")


@pytest.mark.parametrize("order_id", ["a/b", "a b", "a#b?c", "ü:+%", "status"])
async def test_an_id_is_percent_encoded_whole(api: httpx.AsyncClient, order_id: str) -> None:
    await charge(api, order_id)
    encoded = "".join(f"%{byte:02X}" for byte in order_id.encode())
    assert (await api.get(f"/v2/{encoded}/status")).json()["order_id"] == order_id
    assert (await api.post(f"/simulator/pay/{encoded}")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/a/b/status"),
        ("POST", "/v2/a/b/cancel"),
        ("GET", "/v2//status"),
        ("GET", "/v2/o-1/cancel"),
        ("PUT", "/v2/charge"),
        ("GET", "/v2/"),
        ("GET", "/v3/o-1/status"),
    ],
)
async def test_a_path_that_midtrans_does_not_have_is_an_html_404(
    api: httpx.AsyncClient, method: str, path: str
) -> None:
    response = await api.request(method, path)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")


async def test_a_lone_surrogate_comes_back_as_it_came(api: httpx.AsyncClient, simulator: Simulator) -> None:
    content = json.dumps(
        {
            "payment_type": "gopay",
            "custom_field1": "\ud800",
            "transaction_details": {"order_id": "o-1", "gross_amount": 1},
        }
    )
    assert await answered(api, "POST", "/v2/charge", content=content.encode()) == (200, "201")
    assert (await api.get("/v2/o-1/status")).json()["custom_field1"] == "\ud800"
    await simulator.sender.idle()
    assert (await api.get("/simulator/notifications")).status_code == 200


async def test_a_card_token_takes_the_client_key_alone(app: Any) -> None:
    card = {
        "card_number": "4811111111111114",
        "card_cvv": "123",
        "card_exp_month": "12",
        "card_exp_year": "2040",
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sim.test") as browser:
        made = await browser.get("/v2/token", params={**card, "client_key": "SB-Mid-client-x"})
        assert made.json()["token_id"].startswith("48111111-1114-")
        assert await answered(browser, "GET", "/v2/token", params=card) == (401, "401")


async def test_the_links_of_a_charge_lead_somewhere(api: httpx.AsyncClient) -> None:
    actions = {each["name"]: httpx.URL(each["url"]).path for each in (await charge(api))["actions"]}
    image = await api.get(actions["generate-qr-code"])
    assert image.headers["content-type"].startswith("image/svg+xml")
    assert (await api.get(actions["deeplink-redirect"])).headers["location"] == "/"
    assert (await api.get(actions["get-status"])).json()["order_id"] == "o-1"


@pytest.mark.parametrize(
    ("headers", "urls"),
    [
        ({}, [SHOP]),
        ({"X-Append-Notification": "http://a.test/"}, [SHOP, "http://a.test/"]),
        ({"X-Override-Notification": "http://a.test/, http://b.test/"}, ["http://a.test/", "http://b.test/"]),
        (
            {"X-Append-Notification": "http://a.test/", "X-Override-Notification": "http://b.test/"},
            ["http://b.test/"],
        ),
        ({"X-Override-Notification": ",".join(f"http://{name}.test/" for name in "abcd")}, 3),
    ],
)
async def test_headers_of_the_charge_choose_where_all_its_notifications_go(
    api: httpx.AsyncClient, simulator: Simulator, shop: Shop, headers: dict[str, str], urls: list[str] | int
) -> None:
    await charge(api, headers=headers)
    await api.post("/simulator/pay/o-1")
    await charge(api, "o-2")
    await simulator.sender.idle()
    for status in ("pending", "settlement"):
        gone = [
            url
            for url, body in shop.taken
            if (body["order_id"], body["transaction_status"]) == ("o-1", status)
        ]
        assert sorted(gone) == sorted(urls) if isinstance(urls, list) else len(gone) == urls
    assert [url for url, body in shop.taken if body["order_id"] == "o-2"] == [SHOP]


async def test_test_only_headers_repeat_an_order_and_raise_the_amount(api: httpx.AsyncClient) -> None:
    await charge(api)
    again = await charge(api, headers={"X-Simulator-Same-Order": "1", "X-Simulator-Customer-Fee": "500"})
    assert (again["status_code"], again["gross_amount"]) == ("201", "10500.00")


async def test_what_was_sent_and_answered_is_shown(
    api: httpx.AsyncClient, simulator: Simulator, shop: Shop
) -> None:
    shop.answer = 500
    await charge(api)
    await simulator.sender.idle()
    (shown,) = (await api.get("/simulator/notifications")).json()["notifications"]
    assert (shown["url"], shown["state"], shown["body"]["order_id"]) == (SHOP, "failed", "o-1")
    assert [(each["http_status"], each["answer"]) for each in shown["attempts"]] == [(500, "noted")] * 2


async def test_the_outside_steps_are_calls(api: httpx.AsyncClient, simulator: Simulator, shop: Shop) -> None:
    await charge(api)
    await api.post("/simulator/pay/o-1", json={"amount_paid": 12_000})
    await api.post("/simulator/refund/o-1", json={"refund_key": "k", "amount": 2_000})
    confirmed = await api.post("/simulator/confirm-refund/o-1", json={"refund_key": "k"})
    assert confirmed.json()["notification"]["refunds"][0]["bank_confirmed_at"]
    repeated = await api.post("/simulator/repeat/o-1")
    assert repeated.json() == confirmed.json()
    await simulator.sender.idle()
    assert sorted(shop.statuses("o-1")) == ["partial_refund"] * 3 + ["pending", "settlement"]
    (payment,) = (await api.get("/simulator/payments")).json()["payments"]
    assert (payment["gross_amount"], payment["history"]) == (
        "12000.00",
        ["pending", "settlement", "partial_refund"],
    )


@pytest.mark.parametrize(
    ("path", "payload", "code"),
    [
        ("/simulator/reverse/o-1", {}, 409),
        ("/simulator/pay/ghost", {}, 409),
        ("/simulator/pay/o-1", {"amount_paid": "much"}, 422),
        ("/simulator/pay/o-1", [1], 422),
        ("/simulator/dance/o-1", {}, 404),
        ("/simulator/charge", {"kind": "gopay"}, 422),
        ("/simulator/charge", {"kind": "gopay", "amount": "-5"}, 422),
        ("/simulator/charge", {"kind": "gopay", "amount": "Infinity"}, 422),
    ],
)
async def test_a_step_that_cannot_be_taken_says_why(
    api: httpx.AsyncClient, path: str, payload: object, code: int
) -> None:
    await charge(api)
    response = await api.post(path, json=payload)
    assert (response.status_code, set(response.json())) == (code, {"error", "detail"})


async def test_one_order_id_in_two_accounts_needs_the_merchant(shop: Shop) -> None:
    app = create_app(transport=httpx.MockTransport(shop))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sim.test") as client:
        payload = {"payment_type": "gopay", "transaction_details": {"order_id": "o-1", "gross_amount": 1}}
        await client.post("/v2/charge", json=payload, auth=("key-a", ""))
        merchant_id = (await client.post("/v2/charge", json=payload, auth=("key-b", ""))).json()[
            "merchant_id"
        ]
        assert (await client.post("/simulator/pay/o-1")).status_code == 409
        paid = await client.post("/simulator/pay/o-1", params={"merchant": merchant_id})
        assert paid.json()["notification"]["merchant_id"] == merchant_id
    assert not shop.taken  # no URL was given


async def test_the_page_escapes_and_works_by_plain_forms(
    api: httpx.AsyncClient, simulator: Simulator
) -> None:
    order_id = "<script>alert(1)</script>&'\""
    await charge(api, order_id)
    html = (await api.get("/")).text
    assert "<script" not in html
    assert order_id in unescape(html)
    assert KEY not in html
    action = "/simulator/pay/" + html.split('action="/simulator/pay/')[1].split('"')[0]
    pressed = await api.post(action, data={}, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (pressed.status_code, pressed.headers["location"]) == (303, "/")
    account = simulator.midtrans.account(KEY)
    assert account.find(order_id).status == "settlement"


async def test_every_kind_on_the_page_can_be_charged(api: httpx.AsyncClient, simulator: Simulator) -> None:
    html = (await api.get("/")).text
    kinds = [part.split("<")[0] for part in html.split("<option>")[1:]]
    for kind in kinds:
        form = {"kind": kind, "amount": "5000"}
        assert (await api.post("/simulator/charge", data=form)).status_code == 303
    made = simulator.midtrans.account(KEY).transactions()
    assert len(made) == len(kinds) > 15
    assert (await api.get("/")).status_code == 200


async def test_another_sites_page_may_not_press_the_buttons(api: httpx.AsyncClient) -> None:
    await charge(api)
    foreign = await api.post("/simulator/pay/o-1", headers={"Origin": "https://elsewhere.test"})
    own = await api.post("/simulator/pay/o-1", headers={"Origin": "http://sim.test"})
    assert (foreign.status_code, own.status_code) == (403, 200)


async def test_the_demo_shows_every_end(simulator: Simulator, app: Any, api: httpx.AsyncClient) -> None:
    await run_demo("http://sim.test", KEY, pace_s=0.0, transport=httpx.ASGITransport(app))
    ends = {each.order_id.split("-")[1]: each for each in simulator.midtrans.account(KEY).transactions()}
    assert ends["bca"].status == ends["permata"].status == "settlement"
    assert ends["qris"].status == "expire"
    assert (ends["gopay"].status, ends["gopay"].refunds[0].bank_confirmed_at is not None) == ("refund", True)
    assert sorted(each.status for each in ends.values() if each.payment_type == "credit_card")
    histories = [each.history for each in simulator.midtrans.account(KEY).transactions()]
    assert ["capture", "capture", "settlement"] in histories
    assert ["deny"] in histories


async def test_the_demo_outlives_a_simulator_that_is_gone() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    await run_demo("http://gone.test", KEY, pace_s=0.0, transport=httpx.MockTransport(refuse))


@pytest.mark.slow
def test_under_a_server_payments_expire_by_themselves_and_it_stops_quickly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes notifications and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with running_simulator(notify_url=url) as running:
            details = {"order_id": "o-1", "gross_amount": 1_000}
            expiring = {"payment_type": "qris", "custom_expiry": {"expiry_duration": 1, "unit": "second"}}
            httpx.post(
                f"{running.url}/v2/charge", json={**expiring, "transaction_details": details}, auth=(KEY, "")
            )
            account = running.simulator.midtrans.account(KEY)
            for _ in range(50):
                if account.find("o-1").status == "expire":
                    break
                time.sleep(0.1)
            assert account.find("o-1").status == "expire"
            started = time.monotonic()
        assert time.monotonic() - started < 5
