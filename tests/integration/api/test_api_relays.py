"""Relays as operators see them."""

from support.api import Api

from service.domain.relaying import Hold, NatsOptions, RelaySpec

SPEC = RelaySpec("nats", NatsOptions("nats://user:secret@h"), start="beginning")


def take(api: Api, name: str = "nats") -> Hold:
    hold = api.store.write(lambda unit: unit.relays.take(name, SPEC, owner="host:1:abc")).result(10)
    assert hold is not None
    return hold


async def look(api: Api, name: str = "nats") -> dict[str, object]:
    answer = await api.client.get(f"/v1/relays/{name}")
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


async def test_a_relay_shows_where_it_is_and_who_relays(api: Api) -> None:
    api.append("a", "b", "c")
    hold = take(api)
    api.store.write(lambda unit: unit.relays.move("nats", hold, 2, published=True)).result(10)
    found = await look(api)
    assert (found["kind"], found["lag"], found["owner"]) == ("nats", 1, "host:1:abc")
    assert str(found["position"]).endswith("-2")
    assert found["oldest_seconds"] is not None
    assert found["last_published_at"] is not None
    assert found["configured"] is False
    assert "secret" not in str(found)
    (listed,) = (await api.client.get("/v1/relays")).json()["relays"]
    assert {**listed, "oldest_seconds": 0} == {**found, "oldest_seconds": 0}


async def test_what_holds_it_back_is_shown_and_a_lease_that_is_over_is_nobodys(api: Api) -> None:
    hold = take(api)
    api.store.write(lambda unit: unit.relays.fail("nats", hold, "no queue takes it")).result(10)
    api.clock.forward(60)
    found = await look(api)
    assert (found["error"], found["owner"], found["leased_until"]) == ("no queue takes it", None, None)
    assert found["failing_since"] is not None


async def test_pausing_and_resuming(api: Api) -> None:
    api.append("a")
    hold = take(api)
    answer = await api.client.post("/v1/relays/nats/pause")
    assert answer.json()["paused"] is True
    reading = api.store.read(lambda unit: unit.relays.read("nats", hold, 0, spec=SPEC, limit=10))
    assert reading.paused
    assert (await api.client.post("/v1/relays/nats/resume")).json()["paused"] is False


async def test_seeking_back_and_past(api: Api) -> None:
    api.append("a", "b", "c")
    take(api)
    answer = await api.client.post("/v1/relays/nats/seek", json={"to": "now"})
    assert (answer.json()["lag"], answer.json()["owner"]) == (0, None)
    assert (await api.client.post("/v1/relays/nats/seek", json={"to": "beginning"})).json()["lag"] == 3
    gone = await api.client.post("/v1/relays/nats/seek", json={"to": "00000000-1"})
    assert gone.status_code == 410
    beyond = await api.client.post("/v1/relays/nats/seek", json={"to": f"{api.store.epoch}-9"})
    assert beyond.status_code == 422


async def test_a_relay_that_there_is_not(api: Api) -> None:
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/resume")):
        assert (await api.client.request(method, f"/v1/relays/none{path}")).status_code == 404
    assert (await api.client.post("/v1/relays/none/seek", json={"to": "now"})).status_code == 404
