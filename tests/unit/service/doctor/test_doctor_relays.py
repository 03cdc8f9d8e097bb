from service.doctor import Level
from service.doctor.relays import check_relays
from service.domain.relaying import NatsOptions, RelaySpec
from service.errors import BrokerRefused, BrokerUnavailable
from service.relays.memory import MemoryBroker, MemoryRelay

SPEC = RelaySpec("nats", NatsOptions("nats://user:secret@h"))


def test_each_relay_is_tried_and_nothing_is_published() -> None:
    well, refusing, down = MemoryBroker(), MemoryBroker(), MemoryBroker()
    refusing.refuse_open = BrokerRefused("the stream does not take it")
    down.refuse_open = BrokerUnavailable("nobody listens")
    brokers = {"a": well, "b": refusing, "c": down}
    found = list(
        check_relays(dict.fromkeys(brokers, SPEC), connect=lambda name, _: MemoryRelay(brokers[name]))
    )
    assert [finding.level for finding in found] == [Level.OK, Level.FAILED, Level.FAILED]
    assert found[1].says == "the stream does not take it"
    assert "nobody listens" in found[2].says
    assert all("secret" not in f"{finding.says}{finding.to_do}" for finding in found)
    assert well.connections == 1
    assert well.kept == []


def test_a_client_that_is_not_installed_is_named() -> None:
    (finding,) = check_relays({"x": RelaySpec("carrier_pigeon", NatsOptions("nats://h"))})
    assert finding.level is Level.FAILED
    assert "make relays" in finding.says
