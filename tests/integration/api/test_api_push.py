"""Push consumers over HTTP: made, looked at, changed, and never leased from."""

import base64
import dataclasses
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook
from support.api import Api

from service.api.context import ApiContext
from service.domain.push import PushSettings
from service.domain.records import Role

URL = "https://shop.example.com/events"
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"t" * 32).decode()


async def put(api: Api, **push: Any) -> httpx.Response:
    body = {"start": "beginning", "push": {"url": URL, **push}}
    return await api.client.put("/v1/consumers/shipping", json=body)


async def test_a_secret_is_made_and_answered_once(api: Api) -> None:
    made = await put(api)
    assert made.status_code == 201
    (secret,) = made.json()["push"]["secrets"]
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    Webhook(secret)
    (fingerprint,) = made.json()["push"]["secret_fingerprints"]
    again = await put(api, timeout_seconds=7)
    assert again.status_code == 200
    assert again.json()["push"]["secrets"] is None
    assert again.json()["push"]["timeout_seconds"] == 7
    assert again.json()["push"]["secret_fingerprints"] == [fingerprint]
    looked = await api.client.get("/v1/consumers/shipping")
    everyone = await api.client.get("/v1/consumers")
    for answer in (again, looked, everyone):
        assert secret not in answer.text
        assert secret.removeprefix("whsec_")[:20] not in answer.text


async def test_given_secrets_are_never_answered(api: Api) -> None:
    made = await put(api, secrets=[SECRET, OTHER])
    assert made.status_code == 201
    assert made.json()["push"]["secrets"] is None
    assert len(made.json()["push"]["secret_fingerprints"]) == 2
    assert "whsec_" not in made.text + (await api.client.get("/v1/consumers/shipping")).text


async def test_secrets_are_rotated_by_put(api: Api) -> None:
    first = (await put(api, secrets=[SECRET])).json()["push"]["secret_fingerprints"]
    both = (await put(api, secrets=[OTHER, SECRET])).json()["push"]["secret_fingerprints"]
    last = (await put(api, secrets=[OTHER])).json()["push"]["secret_fingerprints"]
    assert both == last + first


async def test_the_view_says_how_it_goes(api: Api) -> None:
    made = (await put(api, concurrency=3)).json()
    assert made["push"] == {
        "url": URL,
        "timeout_seconds": 15,
        "concurrency": 3,
        "secrets": made["push"]["secrets"],
        "secret_fingerprints": made["push"]["secret_fingerprints"],
        "failures": 0,
        "failing_since": None,
        "last_failure": None,
    }
    assert made["pause_reason"] is None
    await api.make("billing")
    assert (await api.look("billing"))["push"] is None


async def test_events_that_are_pushed_cannot_be_leased(api: Api) -> None:
    api.append("a")
    await put(api)
    answer = await api.client.post("/v1/consumers/shipping/lease", json={"wait_seconds": 0})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "pushed" in answer.json()["detail"]
    assert (await api.look())["lag"] == 1


async def test_a_push_consumer_becomes_a_pull_consumer_and_back(api: Api) -> None:
    api.append("a", "b")
    await api.make()
    (lease,) = [one["lease"] for one in (await api.lease(limit=1))["deliveries"]]
    secret = (await put(api)).json()["push"]["secrets"]
    assert secret
    assert await api.post("ack", leases=[lease]) == {
        "acked": [lease],
        "ended": [],
    }  # what was lent still counts
    await api.make()
    assert (await api.look())["push"] is None
    (again,) = (await api.lease())["deliveries"]
    assert again["event"]["data"]["p"] == "b"
    assert (await put(api)).json()["push"]["secrets"] not in (None, secret)


@pytest.mark.parametrize(
    ("push", "field"),
    [
        ({"url": "https://127.0.0.1/"}, "push.url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "push.url"),
        ({"url": "https://[::1]/"}, "push.url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "push.url"),
        ({"url": "https://2130706433/"}, "push.url"),
        ({"url": "http://shop.example.com/"}, "push.url"),
        ({"url": "https://user:hunter2@shop.example.com/"}, "push.url"),
        ({"url": ""}, "push.url"),
        ({"secrets": ["hunter2"]}, "push.secrets[0]"),
        ({"secrets": [SECRET, "whsec_hunter2"]}, "push.secrets[1]"),
        ({"secrets": [SECRET, SECRET]}, "push.secrets[1]"),
        ({"secrets": ["whsec_" + "hunter2" * 40]}, "push.secrets[0]"),
        ({"secrets": [SECRET] * 6}, "push.secrets"),
        ({"timeout_seconds": 0}, "push.timeout_seconds"),
        ({"timeout_seconds": 61}, "push.timeout_seconds"),
        ({"concurrency": 0}, "push.concurrency"),
        ({"concurrency": 101}, "push.concurrency"),
        ({"method": "GET"}, "push.method"),
    ],
)
async def test_what_cannot_be_pushed_to_is_refused(api: Api, push: dict[str, Any], field: str) -> None:
    answer = await put(api, **push)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert "hunter2" not in answer.text
    assert (await api.client.get("/v1/consumers/shipping")).status_code == 404


class TestWithAnAllowedNetwork:
    @pytest.fixture
    def context(self, context: ApiContext) -> ApiContext:
        return dataclasses.replace(context, push=PushSettings(allow=(ip_network("127.0.0.1/32"),)))

    @pytest.mark.parametrize(
        "url", ["https://127.0.0.1:9000/", "http://127.0.0.1:9000/", "http://localhost/"]
    )
    async def test_it_may_be_named(self, api: Api, url: str) -> None:
        assert (await put(api, url=url)).status_code == 201

    async def test_its_neighbour_may_not(self, api: Api) -> None:
        assert (await put(api, url="http://127.0.0.2:9000/")).status_code == 422


async def test_a_consumers_token_sees_no_secret_and_changes_nothing(api: Api) -> None:
    await put(api, secrets=[SECRET])
    headers = api.auth(Role.CONSUMER)
    looked = await api.client.get("/v1/consumers/shipping", headers=headers)
    assert looked.status_code == 200
    assert SECRET not in looked.text
    denied = await api.client.put("/v1/consumers/shipping", json={"push": {"url": URL}}, headers=headers)
    assert denied.status_code == 403
