import contextlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx

from service.domain.inquiry import Found, Missing
from service.domain.merchant import Merchant
from service.errors import CannotBeAsked, GatewayRefused, GatewayUnavailable
from service.gateway import Gateway

URL = "https://api.sandbox.midtrans.com/v2/A-1/status"
PAID = {
    "status_code": "200",
    "transaction_id": "tx-1",
    "order_id": "A-1",
    "gross_amount": "10000.00",
    "payment_type": "gopay",
    "transaction_status": "settlement",
}
NOW = datetime(2026, 11, 22, tzinfo=UTC)
NO_KEY = {"status_code": "401", "status_message": "Unknown Merchant server_key/id"}


def make_gateway(*keys: str, **facts: Any) -> Gateway:
    merchant = Merchant("shop", keys or ("SB-Mid-server-1",), **facts)
    return Gateway({"shop": merchant}, clock=lambda: NOW)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = make_gateway()
    yield made
    made.close()


@respx.mock
def test_a_found_payment_brings_its_facts_and_the_bytes_of_the_answer(gateway: Gateway) -> None:
    raw = json.dumps(PAID, indent=3).encode()
    respx.get(URL).respond(content=raw)
    reply = gateway.get_status("shop", "A-1")
    assert isinstance(reply, Found)
    assert (reply.facts.status, reply.raw, reply.http_status, reply.asked) == ("settled", raw, 200, "A-1")


@respx.mock
@pytest.mark.parametrize("http_status", [200, 404])
def test_a_json_404_is_missing_and_its_bytes_are_kept(gateway: Gateway, http_status: int) -> None:
    raw = b'{"status_code":"404","status_message":"Transaction doesn\'t exist."}'
    respx.get(URL).respond(http_status, content=raw)
    reply = gateway.get_status("shop", "A-1")
    assert isinstance(reply, Missing)
    assert (reply.raw, reply.http_status) == (raw, http_status)


@respx.mock
def test_an_expired_payment_is_no_error(gateway: Gateway) -> None:
    respx.get(URL).respond(json={**PAID, "status_code": "407", "transaction_status": "expire"})
    reply = gateway.get_status("shop", "A-1")
    assert isinstance(reply, Found)
    assert reply.facts.status == "expired"


@respx.mock
@pytest.mark.parametrize(
    ("answer", "trips"),
    [
        pytest.param(httpx.Response(404, html="<h1>Not found</h1>"), False, id="html-404"),
        pytest.param(httpx.Response(200, html="<h1>Hello</h1>"), False, id="html-200"),
        pytest.param(httpx.Response(200, content=b""), False, id="empty"),
        pytest.param(httpx.Response(200, content=b'{"status_co'), False, id="cut"),
        pytest.param(httpx.Response(200, json=[1]), False, id="no-object"),
        pytest.param(httpx.Response(403, html="<h1>Cloudflare</h1>"), False, id="403"),
        pytest.param(httpx.Response(200, json={"status_code": "402"}), False, id="402"),
        pytest.param(httpx.Response(200, json={"status_code": "410"}), False, id="410"),
        pytest.param(httpx.Response(302, headers={"location": "/x"}), False, id="redirect"),
        pytest.param(httpx.Response(200, json={"status_code": "200"}), False, id="no-status"),
        pytest.param(httpx.Response(500, json={"status_code": "500"}), True, id="500"),
        pytest.param(httpx.Response(200, json={"status_code": "500"}), True, id="500-as-200"),
        pytest.param(httpx.Response(503, html="<h1>Busy</h1>"), True, id="html-503"),
        pytest.param(httpx.Response(429, json={"status_code": "429"}), True, id="429"),
        pytest.param(httpx.ConnectError("refused"), True, id="refused"),
        pytest.param(httpx.ReadTimeout("slow"), True, id="timeout"),
    ],
)
def test_no_usable_answer_is_unavailable_and_only_faults_of_servers_trip_the_breaker(
    gateway: Gateway, answer: httpx.Response | Exception, trips: bool
) -> None:
    respx.get(URL).mock(side_effect=[answer])
    with pytest.raises(GatewayUnavailable) as caught:
        gateway.get_status("shop", "A-1")
    assert caught.value.trips_breaker is trips
    assert "SB-Mid" not in str(caught.value)


@respx.mock
def test_a_401_asks_with_the_next_key_and_remembers_it() -> None:
    gateway = make_gateway("old-key", "new-key")
    used: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        used.append(request.headers["authorization"])
        refused = used[-1] == used[0]
        return httpx.Response(401, json=NO_KEY) if refused else httpx.Response(200, json=PAID)

    respx.get(URL).mock(side_effect=answer)
    gateway.get_status("shop", "A-1")
    gateway.get_status("shop", "A-1")
    assert len(used) == 3
    assert used[1] == used[2] != used[0]
    gateway.close()


@respx.mock
@pytest.mark.parametrize("http_status", [401, 200])
def test_401_with_every_key_is_refused(http_status: int) -> None:
    gateway = make_gateway("one", "two")
    route = respx.get(URL).respond(http_status, json=NO_KEY)
    with pytest.raises(GatewayRefused):
        gateway.get_status("shop", "A-1")
    assert route.call_count == 2
    gateway.close()


@respx.mock
def test_the_environment_is_the_merchants_own_whatever_the_process_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDTRANS_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MIDTRANS_IS_PRODUCTION", "false")
    gateway = make_gateway(is_production=True)
    route = respx.get("https://api.midtrans.com/v2/A-1/status").respond(json=PAID)
    gateway.get_status("shop", "A-1")
    assert route.called
    gateway.close()


@respx.mock
def test_ids_are_asked_for_percent_encoded(gateway: Gateway) -> None:
    route = respx.get(url__regex=r".*/v2/A%2F1%20%23/status$").respond(json=PAID)
    gateway.get_status("shop", "A/1 #")
    assert route.called


@pytest.mark.parametrize("asked", [".", "..", ""])
def test_what_no_address_can_carry_is_not_asked(gateway: Gateway, asked: str) -> None:
    with pytest.raises(CannotBeAsked):
        gateway.get_status("shop", asked)


@respx.mock
def test_each_question_is_observed_with_what_it_brought() -> None:
    seen: list[str] = []
    gateway = Gateway(
        {"shop": Merchant("shop", ("one", "two"))},
        clock=lambda: NOW,
        observe=lambda merchant, asked, *, seconds: seen.append(f"{merchant} {asked} {seconds >= 0}"),
    )
    respx.get(URL).mock(
        side_effect=[
            httpx.Response(200, json=PAID),
            httpx.Response(200, json={"status_code": "404"}),
            httpx.Response(503),
            httpx.Response(200, json={"status_code": "402"}),
            httpx.Response(401, json=NO_KEY),
            httpx.Response(401, json=NO_KEY),
        ]
    )
    for _ in range(5):
        with contextlib.suppress(GatewayUnavailable, GatewayRefused):
            gateway.get_status("shop", "A-1")
    assert seen == [
        f"shop {asked} True" for asked in ("found", "missing", "failed", "unavailable", "refused")
    ]
    gateway.close()
