"""Who may call what: every route with every role; and what an error looks like."""

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.api import Api

from service.api.app import create_api
from service.api.auth import ensure_operator_token
from service.api.context import ApiContext
from service.db.store import Store
from service.domain.records import Role
from service.errors import StoreUnavailable

O, C, S = Role.OPERATOR, Role.CONSUMER, Role.SHOP  # noqa: E741 (short, for the table)
RECEIPT = "019aaa2c-5c00-7000-8000-000000000001"
LEASE = "019aaa2c5c0070008000000000000001.0"
ROUTES: list[tuple[str, str, Any, set[Role]]] = [
    ("PUT", "/v1/consumers/shipping", {}, {O}),
    ("GET", "/v1/consumers", None, {O, C}),
    ("GET", "/v1/consumers/shipping", None, {O, C}),
    ("DELETE", "/v1/consumers/shipping", None, {O}),
    ("POST", "/v1/consumers/shipping/pause", {}, {O}),
    ("POST", "/v1/consumers/shipping/resume", {}, {O}),
    ("POST", "/v1/consumers/shipping/seek", {"to": "now"}, {O}),
    ("POST", "/v1/consumers/shipping/lease", {"wait_seconds": 0}, {O, C}),
    ("POST", "/v1/consumers/shipping/ack", {"leases": [LEASE]}, {O, C}),
    ("POST", "/v1/consumers/shipping/nack", {"leases": [LEASE]}, {O, C}),
    ("POST", "/v1/consumers/shipping/extend", {"leases": [LEASE]}, {O, C}),
    ("GET", "/v1/consumers/shipping/dead-letters", None, {O, C}),
    ("POST", "/v1/consumers/shipping/dead-letters/redrive", {"positions": "all"}, {O}),
    ("POST", "/v1/consumers/shipping/dead-letters/discard", {"positions": "all"}, {O}),
    ("GET", "/v1/consumers/billing", None, {O}),
    ("POST", "/v1/consumers/billing/lease", {"wait_seconds": 0}, {O}),
    ("POST", "/v1/consumers/billing/ack", {"leases": [LEASE]}, {O}),
    ("GET", "/v1/consumers/billing/dead-letters", None, {O}),
    ("GET", "/v1/events", None, {O, C}),
    ("GET", "/v1/events/stream", None, {O, C}),
    ("GET", "/v1/events/00000000-0000-0000-0000-000000000001", None, {O, C}),
    ("GET", "/v1/payments", None, {O, S}),
    ("GET", "/v1/payments?merchant=default", None, {O, S}),
    ("GET", "/v1/payments?merchant=other", None, {O}),
    ("GET", "/v1/payments/default/none", None, {O, S}),
    ("GET", "/v1/payments/other/none", None, {O}),
    ("PUT", "/v1/expectations/default/order-1", {"gross_amount": "1.00"}, {O, S}),
    ("PUT", "/v1/expectations/other/order-1", {"gross_amount": "1.00"}, {O}),
    ("GET", "/v1/orders/default/order-1", None, {O, S}),
    ("GET", "/v1/orders/other/order-1", None, {O}),
    ("GET", "/v1/receipts", None, {O}),
    ("GET", f"/v1/receipts/{RECEIPT}", None, {O}),
    ("POST", "/v1/receipts/retry", {"ids": [RECEIPT]}, {O}),
    ("GET", "/v1/merchants", None, {O}),
    ("GET", "/v1/merchants/default/oddities", None, {O}),
    ("GET", "/v1/relays", None, {O}),
    ("GET", "/v1/relays/shipping", None, {O}),
    ("POST", "/v1/relays/shipping/pause", {}, {O}),
    ("POST", "/v1/relays/shipping/resume", {}, {O}),
    ("POST", "/v1/relays/shipping/seek", {"to": "now"}, {O}),
    ("GET", "/metrics", None, {O}),
]
EXPECTATION = "/v1/expectations/default"
OPEN = [
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/asyncapi.json",
    "/schemas/payment/1",
    "/schemas/payment-event/1",
]


def test_the_table_names_every_route(api: Api) -> None:
    described = {
        (method.upper(), path)
        for path, item in api.app.openapi()["paths"].items()
        for method in item
        if path not in OPEN
    }
    names = {"shipping": "{name}", "billing": "{name}"}
    tried = set()
    for method, path, _, _ in ROUTES:
        parts = [names.get(part, part) for part in path.partition("?")[0].split("/")]
        if parts[2:3] == ["events"] and parts[3:] not in ([], ["stream"]):
            parts[3:] = ["{event_id}"]
        if parts[2:3] == ["payments"] and len(parts) > 3:
            parts[3:] = ["{merchant}", "{transaction_id}"]
        if parts[2:3] in (["orders"], ["expectations"]):
            parts[3:] = ["{merchant}", "{order_id}"]
        if parts[3:4] == [RECEIPT]:
            parts[3] = "{receipt_id}"
        if parts[2:3] == ["merchants"] and len(parts) > 3:
            parts[3] = "{merchant}"
        tried.add((method, "/".join(parts)))
    assert tried == described


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_may_call_what_the_design_says(api: Api, role: Role) -> None:
    api.append("a")
    api.app.state.streams.close()  # a stream that is allowed ends at once
    for method, path, body, allowed in ROUTES:
        await api.make("shipping")
        await api.make("billing")
        answer = await api.client.request(method, path, json=body, headers=api.auth(role))
        if role in allowed:
            assert answer.status_code in (200, 201, 204, 404), (method, path, answer.text)
        else:
            assert answer.status_code == 403, (method, path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer mts_wrong"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer "},
    ],
)
async def test_without_a_token_nothing_is_said(api: Api, headers: dict[str, str]) -> None:
    transport = httpx.ASGITransport(api.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as stranger:
        for method, path, body, _ in [*ROUTES, ("GET", "/v1/nothing", None, set())]:
            answer = await stranger.request(method, path, json=body)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["status"] == 401


@pytest.mark.parametrize("path", OPEN)
async def test_open_routes_need_no_token(api: Api, path: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), base_url="http://api") as stranger:
        assert (await stranger.get(path)).status_code == 200


async def test_a_revoked_token_dies_within_two_seconds(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.auth.CACHE_S", 0.05)
    token, secret = api.store.write(lambda unit: unit.tokens.make(Role.OPERATOR)).result()
    headers = {"Authorization": f"Bearer {secret}"}
    assert (await api.client.get("/v1/consumers", headers=headers)).status_code == 200
    assert api.store.write(lambda unit: unit.tokens.revoke(token.id)).result()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_api(api.app.state.context))) as client:
        assert (await client.get("http://api/v1/consumers", headers=headers)).status_code == 401


async def test_a_configured_operator_token_is_accepted(context: ApiContext, store: Store) -> None:
    app = create_api(
        ApiContext(
            store=store, metrics=context.metrics, alarms=context.alarms, operator_token="from-settings"
        )
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        for secret, status in (("from-settings", 200), ("another", 401)):
            headers = {"Authorization": f"Bearer {secret}"}
            assert (await client.get("/v1/consumers", headers=headers)).status_code == status


def test_the_first_start_makes_an_operator_token_once(store: Store, tmp_path: Path) -> None:
    secret = ensure_operator_token(store, tmp_path, None)
    file = tmp_path / "operator.token"
    assert secret is not None
    assert secret.startswith("mts_")
    assert file.read_text() == secret + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ensure_operator_token(store, tmp_path, None) is None
    assert file.read_text() == secret + "\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".operator")] == []


def test_a_configured_token_makes_no_file(store: Store, tmp_path: Path) -> None:
    assert ensure_operator_token(store, tmp_path, "configured") is None
    assert not (tmp_path / "operator.token").exists()


def test_no_secret_is_stored(api: Api, tmp_path: Path) -> None:
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("midtrans.db*"))
    assert all(secret.encode() not in raw for secret in api.secrets.values())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        pytest.param("GET", "/v1/nothing", None, 404, None, id="unknown route"),
        pytest.param("POST", "/v1/events", {}, 405, None, id="unknown method"),
        pytest.param("GET", "/v1/consumers/none", None, 404, None, id="unknown consumer"),
        pytest.param("PUT", "/v1/consumers/UPPER", {}, 422, "name", id="bad name"),
        pytest.param("PUT", "/v1/consumers/x", {"tpyes": []}, 422, "tpyes", id="unknown field"),
        pytest.param("PUT", "/v1/consumers/x", {"types": ["a b"]}, 422, "types", id="bad pattern"),
        pytest.param("PUT", "/v1/consumers/x", {"types": []}, 422, "types", id="no pattern"),
        pytest.param("PUT", "/v1/consumers/x", {"merchants": ["A"]}, 422, "merchants", id="bad merchant"),
        pytest.param("PUT", "/v1/consumers/x", {"start": "soon"}, 422, "start", id="bad start"),
        pytest.param("PUT", "/v1/consumers/x", {"on_dead": "stop"}, 422, "on_dead", id="bad choice"),
        pytest.param(
            "PUT", "/v1/consumers/x", {"max_attempts": "3"}, 422, "max_attempts", id="text for number"
        ),
        pytest.param("POST", "/v1/consumers/shipping/lease", {"limit": 0}, 422, "limit", id="no limit"),
        pytest.param("POST", "/v1/consumers/shipping/lease", {"ack": ["x"]}, 422, "ack[0]", id="no lease"),
        pytest.param("POST", "/v1/consumers/shipping/ack", {}, 422, "leases", id="missing field"),
        pytest.param("POST", "/v1/consumers/shipping/ack", None, 422, "body", id="no body"),
        pytest.param("POST", "/v1/consumers/shipping/seek", {"to": "2026-11-22"}, 422, "to", id="no zone"),
        pytest.param("POST", "/v1/consumers/shipping/seek", {"to": "0-0"}, 410, None, id="other epoch"),
        pytest.param("PUT", "/v1/consumers/x", {"start": "0-0"}, 410, None, id="start of another epoch"),
        pytest.param("GET", "/v1/events?after=0-0", None, 410, None, id="events of another epoch"),
        pytest.param("GET", "/v1/events?after=x", None, 422, "after", id="bad position"),
        pytest.param("GET", "/v1/events?limit=x", None, 422, "limit", id="bad limit"),
        pytest.param("GET", "/v1/payments?after=x", None, 422, "after", id="bad page"),
        pytest.param("GET", "/v1/payments?status=x", None, 422, "status", id="bad status"),
        pytest.param("PUT", f"{EXPECTATION}/a", {}, 422, "gross_amount", id="no amount"),
        pytest.param("PUT", f"{EXPECTATION}/", {"gross_amount": 1}, 422, "order_id", id="no order"),
        pytest.param("PUT", f"{EXPECTATION}/%00", {"gross_amount": 1}, 422, "order_id", id="NUL in order"),
        pytest.param("PUT", "/v1/expectations/other/a", {"gross_amount": 1}, 404, None, id="no merchant"),
        pytest.param("GET", "/v1/orders/default/none", None, 404, None, id="unknown order"),
        pytest.param("GET", "/v1/receipts?state=x", None, 422, "state", id="bad receipt state"),
        pytest.param("GET", "/v1/receipts?after=x", None, 422, "after", id="bad receipt page"),
        pytest.param("GET", "/v1/receipts/x", None, 422, "receipt_id", id="bad receipt id"),
        pytest.param("GET", f"/v1/receipts/{RECEIPT}", None, 404, None, id="unknown receipt"),
        pytest.param("POST", "/v1/receipts/retry", {}, 422, "body", id="neither ids nor filter"),
        pytest.param("POST", "/v1/receipts/retry", {"ids": ["x"]}, 422, "ids[0]", id="no receipt id"),
        pytest.param(
            "POST", "/v1/receipts/retry", {"ids": [RECEIPT], "count": 1}, 422, "body", id="ids and count"
        ),
        pytest.param(
            "POST", "/v1/receipts/retry", {"filter": {"state": "waiting"}}, 422, "filter.state", id="not held"
        ),
        pytest.param(
            "POST",
            "/v1/receipts/retry",
            {"filter": {"reason": "kind_unknown"}},
            422,
            "filter.reason",
            id="a kind that is never confirmed",
        ),
        pytest.param("GET", "/v1/merchants/other/oddities", None, 404, None, id="oddities of nobody"),
        pytest.param("GET", "/v1/merchants/default/oddities?reason=x", None, 422, "reason", id="bad reason"),
    ],
)
async def test_errors_are_problems_that_name_the_field(  # noqa: PLR0917 (a table's columns)
    api: Api, method: str, path: str, body: Any, status: int, field: str | None
) -> None:
    await api.make()
    answer = await api.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:midtrans-service:problem:")
    assert problem["title"]
    assert [one["field"] for one in problem.get("errors", [])] == ([] if field is None else [field])


async def test_a_position_of_another_epoch_says_how_to_go_on(api: Api) -> None:
    answer = await api.client.get("/v1/events?after=deadbeef-7")
    assert answer.status_code == 410
    assert "beginning" in answer.json()["detail"]


async def test_a_position_beyond_the_end_is_refused(api: Api) -> None:
    await api.make()
    answer = await api.client.post("/v1/consumers/shipping/seek", json={"to": f"{api.store.epoch}-99"})
    assert answer.status_code == 422


@pytest.mark.parametrize("raw", [b"{", b"[1]", b'"x"', b"\xff", b"[" * 50_000])
async def test_a_body_that_is_no_object_is_refused(api: Api, raw: bytes) -> None:
    await api.make()
    answer = await api.client.post("/v1/consumers/shipping/ack", content=raw)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_no_value_is_repeated_in_an_error(api: Api) -> None:
    answer = await api.client.put("/v1/consumers/x", json={"max_attempts": "mts_secret", "mts_key": 1})
    assert "mts_secret" not in answer.text


async def test_a_body_past_a_mebibyte_is_refused(api: Api) -> None:
    async def chunks() -> Any:
        for _ in range(17):
            yield b" " * 65_536

    for content in (b" " * (1024 * 1024 + 1), chunks()):
        answer = await api.client.post("/v1/consumers/shipping/ack", content=content)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_content_type_decides_nothing(api: Api) -> None:
    await api.make()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl -d sends
    content = json.dumps({"wait_seconds": 0})
    answer = await api.client.post("/v1/consumers/shipping/lease", content=content, headers=headers)
    assert answer.status_code == 200


async def test_a_failure_of_ours_says_nothing_of_its_cause(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.store, "read", lambda query: 1 / 0)
    answer = await api.client.get("/v1/consumers")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "division" not in answer.text


async def test_a_store_that_stores_nothing_is_503_with_retry_after(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(work: Any) -> Any:
        raise StoreUnavailable("disk full")

    monkeypatch.setattr(api.store, "write_async", fail)
    answer = await api.client.post("/v1/consumers/shipping/lease", json={})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
