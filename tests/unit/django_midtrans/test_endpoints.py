from __future__ import annotations

import base64
import inspect
import json
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from django_midtrans import AsyncMidtransClient, MidtransClient, MidtransValidationError, endpoints

BASE = "https://api.sandbox.midtrans.com"
CARD = ("4811111111111114", "01", 2030, "123")
BASIC = "Basic " + base64.b64encode(b"SB-Mid-server-x:").decode()

# method, its arguments → HTTP method, path on the wire, JSON body or None
Row = tuple[str, tuple[Any, ...], str, str, dict[str, Any] | None]
WIRE: list[Row] = [
    ("charge", ({"payment_type": "qris"},), "POST", "/v2/charge", {"payment_type": "qris"}),
    ("get_status", ("o-1",), "GET", "/v2/o-1/status", None),
    ("get_status_b2b", ("o-1",), "GET", "/v2/o-1/status/b2b", None),
    ("cancel", ("o-1",), "POST", "/v2/o-1/cancel", None),
    ("expire", ("o-1",), "POST", "/v2/o-1/expire", None),
    ("capture", ("t-1", 5000), "POST", "/v2/capture", {"transaction_id": "t-1", "gross_amount": 5000}),
    ("capture", ("t-1", None), "POST", "/v2/capture", {"transaction_id": "t-1"}),
    ("refund", ("o-1", "k-1", 5000), "POST", "/v2/o-1/refund", {"refund_key": "k-1", "amount": 5000}),
    (
        "refund",
        ("o-1", "k-1", 5000, "broken"),
        "POST",
        "/v2/o-1/refund",
        {"refund_key": "k-1", "amount": 5000, "reason": "broken"},
    ),
    ("refund", ("o-1", "k-1", None), "POST", "/v2/o-1/refund", {"refund_key": "k-1"}),
    (
        "direct_refund",
        ("o-1", "k-1", 5000),
        "POST",
        "/v2/o-1/refund/online/direct",
        {"refund_key": "k-1", "amount": 5000},
    ),
    ("approve", ("o-1",), "POST", "/v2/o-1/approve", None),
    ("deny", ("o-1",), "POST", "/v2/o-1/deny", None),
    ("point_inquiry", ("481111-1114-x",), "GET", "/v2/point_inquiry/481111-1114-x", None),
    ("get_bin", ("45563300",), "GET", "/v1/bins/45563300", None),
    (
        "create_pay_account",
        ({"payment_type": "gopay"},),
        "POST",
        "/v2/pay/account",
        {"payment_type": "gopay"},
    ),
    ("get_pay_account", ("a-1",), "GET", "/v2/pay/account/a-1", None),
    ("unbind_pay_account", ("a-1",), "POST", "/v2/pay/account/a-1/unbind", None),
    ("create_subscription", ({"name": "M"},), "POST", "/v1/subscriptions", {"name": "M"}),
    ("get_subscription", ("s-1",), "GET", "/v1/subscriptions/s-1", None),
    ("disable_subscription", ("s-1",), "POST", "/v1/subscriptions/s-1/disable", None),
    ("enable_subscription", ("s-1",), "POST", "/v1/subscriptions/s-1/enable", None),
    ("cancel_subscription", ("s-1",), "POST", "/v1/subscriptions/s-1/cancel", None),
    ("update_subscription", ("s-1", {"amount": "1"}), "PATCH", "/v1/subscriptions/s-1", {"amount": "1"}),
    ("create_invoice", ({"order_id": "o"},), "POST", "/v1/invoices", {"order_id": "o"}),
    ("get_invoice", ("i-1",), "GET", "/v1/invoices/i-1", None),
    ("void_invoice", ("i-1",), "PATCH", "/v1/invoices/i-1/void", None),
    ("void_invoice", ("i-1", "typo"), "PATCH", "/v1/invoices/i-1/void", {"void_reason": "typo"}),
]
CARD_WIRE = [
    (
        "get_card_token",
        CARD,
        "/v2/token",
        {"card_number": CARD[0], "card_exp_month": "01", "card_exp_year": "2030", "card_cvv": "123"},
    ),
    (
        "register_card",
        CARD[:3],
        "/v2/card/register",
        {"card_number": CARD[0], "card_exp_month": "01", "card_exp_year": "2030"},
    ),
]
BY_ID = [
    name
    for name, endpoint in endpoints.ENDPOINTS.items()
    if "{}" in endpoint.path and name not in {"get_bin", "refund", "direct_refund", "update_subscription"}
]


@pytest.fixture
def midtrans() -> Iterator[respx.Router]:
    with respx.mock(base_url=BASE) as router:
        router.route().respond(json={"status_code": "200"})
        yield router


def public_calls(kind: type) -> dict[str, Callable[..., Any]]:
    known = set(endpoints.ENDPOINTS)
    return {name: value for name, value in inspect.getmembers(kind, inspect.isfunction) if name in known}


def call_sync(method: str, arguments: tuple[Any, ...]) -> Any:
    with MidtransClient("SB-Mid-server-x", client_key="SB-Mid-client-y", base_url=BASE) as client:
        return getattr(client, method)(*arguments)


async def call_async(method: str, arguments: tuple[Any, ...]) -> Any:
    async with AsyncMidtransClient("SB-Mid-server-x", client_key="SB-Mid-client-y", base_url=BASE) as client:
        return await getattr(client, method)(*arguments)


def check_wire(request: httpx.Request, verb: str, path: str, body: dict[str, Any] | None) -> None:
    assert (request.method, request.url.raw_path.decode()) == (verb, path)
    assert request.headers["Authorization"] == BASIC
    assert request.headers["Accept"] == "application/json"
    if body is None:
        assert request.content == b""
        assert "Content-Type" not in request.headers
    else:
        assert json.loads(request.content) == body
        assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("row", WIRE, ids=lambda row: row[0])
def test_each_call_sends_what_the_documentation_says(midtrans: respx.Router, row: Row) -> None:
    method, arguments, verb, path, body = row
    assert call_sync(method, arguments) == {"status_code": "200"}
    check_wire(midtrans.calls.last.request, verb, path, body)


@pytest.mark.parametrize("row", WIRE, ids=lambda row: row[0])
async def test_each_coroutine_sends_the_same(midtrans: respx.Router, row: Row) -> None:
    method, arguments, verb, path, body = row
    assert await call_async(method, arguments) == {"status_code": "200"}
    check_wire(midtrans.calls.last.request, verb, path, body)


@pytest.mark.parametrize(("method", "arguments", "path", "fields"), CARD_WIRE)
async def test_card_calls_carry_the_client_key_and_no_server_key(
    midtrans: respx.Router, method: str, arguments: tuple[Any, ...], path: str, fields: dict[str, str]
) -> None:
    call_sync(method, arguments)
    await call_async(method, arguments)
    for call in midtrans.calls:
        sent_path, _, query = call.request.url.raw_path.decode().partition("?")
        assert (call.request.method, sent_path) == ("GET", path)
        assert dict(parse_qsl(query, strict_parsing=True)) == {"client_key": "SB-Mid-client-y", **fields}
        assert "Authorization" not in call.request.headers


def test_every_endpoint_is_tested_on_the_wire() -> None:
    assert {row[0] for row in WIRE} | {row[0] for row in CARD_WIRE} == set(endpoints.ENDPOINTS)


def test_both_clients_have_every_endpoint_with_the_same_arguments() -> None:
    calls, coroutines = public_calls(MidtransClient), public_calls(AsyncMidtransClient)
    assert set(calls) == set(coroutines) == set(endpoints.ENDPOINTS)
    for name, function in calls.items():
        assert inspect.signature(function) == inspect.signature(coroutines[name])
        assert inspect.iscoroutinefunction(coroutines[name])


def test_the_order_of_arguments_is_fixed() -> None:
    expected = {
        "charge": "payload",
        "capture": "transaction_id, gross_amount",
        "refund": "order_id, refund_key, amount, reason",
        "direct_refund": "order_id, refund_key, amount, reason",
        "get_card_token": "card_number, card_exp_month, card_exp_year, card_cvv, client_key",
        "register_card": "card_number, card_exp_month, card_exp_year, client_key",
        "update_subscription": "id, payload",
        "get_subscription": "id",
        "get_invoice": "id",
        "void_invoice": "invoice_id, void_reason",
        "get_pay_account": "account_id",
        "verify_signature": "order_id, status_code, gross_amount, signature_key, server_key",
    }
    for name, arguments in expected.items():
        parameters = [*inspect.signature(getattr(MidtransClient, name)).parameters]
        assert ", ".join(parameter for parameter in parameters if parameter != "self") == arguments


def test_only_reading_calls_are_repeatable() -> None:
    moving = {name for name, endpoint in endpoints.ENDPOINTS.items() if not endpoint.repeatable}
    assert all(endpoints.ENDPOINTS[name].method == "GET" for name in set(endpoints.ENDPOINTS) - moving)
    assert {"charge", "refund", "cancel", "get_card_token", "register_card"} <= moving


@pytest.mark.parametrize(
    ("order_id", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("a#b?c", "a%23b%3Fc"),
        ("100% sure", "100%25%20sure"),
        ("%2F", "%252F"),
        ("../x", "..%2Fx"),
        ("a+b:c@d", "a%2Bb%3Ac%40d"),
        ("kopi-\N{LATIN SMALL LETTER E WITH ACUTE}", "kopi-%C3%A9"),
        ("nul\x00", "nul%00"),
        ("a~b_c.d-e", "a~b_c.d-e"),
    ],
)
def test_an_id_is_encoded_whole_and_only_once(midtrans: respx.Router, order_id: str, segment: str) -> None:
    call_sync("get_status", (order_id,))
    assert midtrans.calls.last.request.url.raw_path == f"/v2/{segment}/status".encode()


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_any_id_comes_back_out_of_its_one_segment(order_id: str) -> None:
    path = endpoints.with_id(endpoints.GET_STATUS, order_id).path
    assert path.count("/") == 3
    assert unquote(path.split("/")[2]) == order_id
    assert httpx.URL(f"{BASE}{path}").raw_path.decode() == path


@pytest.mark.parametrize("name", BY_ID)
@pytest.mark.parametrize("bad", ["", ".", "..", "\ud800", None, 7])
def test_an_id_that_cannot_be_sent_is_refused_before_any_call(name: str, bad: Any) -> None:
    with respx.mock() as router:
        with pytest.raises(MidtransValidationError) as caught:
            call_sync(name, (bad,))
        assert not router.calls
    assert caught.value.http_status is None
    assert name in caught.value.message


@pytest.mark.parametrize(
    "amount", [15000, "15000", "15000.00", Decimal(15000), Decimal("15000.00"), Decimal("1.5E4")]
)
def test_whole_rupiah_are_sent_as_an_integer(midtrans: respx.Router, amount: Any) -> None:
    call_sync("refund", ("o-1", "k-1", amount))
    assert b'"amount":15000' in midtrans.calls.last.request.content
    call_sync("capture", ("t-1", amount))
    assert b'"gross_amount":15000' in midtrans.calls.last.request.content


@pytest.mark.parametrize(
    "amount",
    [0, -1, True, 1.0, 1.5, "1.50", "1e3", "", "-5", " 5", "\u0665", Decimal("0.5"), Decimal("NaN"),
     Decimal("Infinity"), b"5"],
)  # fmt: skip
def test_an_amount_that_is_no_whole_rupiah_is_refused_before_any_call(amount: Any) -> None:
    for method, arguments in (("capture", ("t-1",)), ("refund", ("o-1", "k")), ("direct_refund", ("o", "k"))):
        with respx.mock() as router, pytest.raises(MidtransValidationError, match="whole number of rupiah"):
            call_sync(method, (*arguments, amount))
        assert not router.calls


def test_a_refund_without_a_key_is_refused() -> None:
    with pytest.raises(MidtransValidationError, match="refund key"):
        call_sync("refund", ("o-1", "", 5000))


@pytest.mark.parametrize("payload", [None, [], "text", {"a": float("nan")}, {"a": Decimal(1)}, {"a": b""}])
def test_a_payload_that_json_cannot_hold_is_refused_before_any_call(payload: Any) -> None:
    with pytest.raises(MidtransValidationError, match="payload") as caught:
        call_sync("charge", (payload,))
    assert caught.value.__context__ is None


def test_a_payload_nested_without_end_is_refused() -> None:
    payload: dict[str, Any] = {}
    payload["self"] = payload
    with pytest.raises(MidtransValidationError):
        call_sync("charge", (payload,))


@pytest.mark.parametrize("bin_number", ["4811111111111114", "48111", "4811 1111", "", "481111x"])
def test_a_bin_is_six_to_eight_digits_so_that_no_card_number_is_in_a_path(bin_number: str) -> None:
    with pytest.raises(MidtransValidationError) as caught:
        call_sync("get_bin", (bin_number,))
    assert not bin_number or bin_number not in str(caught.value)


def test_each_invoice_has_a_fresh_idempotency_key(midtrans: respx.Router) -> None:
    for _ in range(2):
        call_sync("create_invoice", ({"order_id": "o"},))
    keys = [uuid.UUID(call.request.headers["X-Idempotency-Key"]) for call in midtrans.calls]
    assert keys[0] != keys[1]


def test_a_description_shows_no_card_and_no_key() -> None:
    call = endpoints.card(endpoints.GET_CARD_TOKEN, {"card_number": CARD[0], "card_cvv": "987"}, "client-k")
    assert all(secret not in repr(call) for secret in (CARD[0], "987", "client-k"))
