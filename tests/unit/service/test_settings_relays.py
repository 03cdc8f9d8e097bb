"""`[relays.NAME]`: what is right, and what each mistake is told."""

from pathlib import Path

import pytest

from service.domain.relaying import KafkaOptions, NatsOptions, RabbitmqOptions, RedisOptions, RelaySpec
from service.errors import SettingsInvalid
from service.settings import load


def with_file(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "service.toml"
    path.write_text(text, encoding="utf-8")
    return {"SERVICE_CONFIG": str(path)}


def test_each_kind_has_its_defaults(tmp_path: Path) -> None:
    text = """
        [relays.n]
        kind = "nats"
        url = "nats://127.0.0.1:4222,nats://127.0.0.2:4222"
        [relays.r]
        kind = "redis"
        url = "rediss://:secret@cache/3"
        [relays.q]
        kind = "rabbitmq"
        url = "amqp://127.0.0.1/%2Fshop"
        [relays.k]
        kind = "kafka"
        bootstrap_servers = "a.example:9092, [::1]:9092"
        types = ["midtrans.payment.settled"]
        merchants = ["shop-a"]
        start = "beginning"
    """
    assert load(with_file(tmp_path, text)).relays == {
        "n": RelaySpec("nats", NatsOptions("nats://127.0.0.1:4222,nats://127.0.0.2:4222")),
        "r": RelaySpec("redis", RedisOptions("rediss://:secret@cache/3", "midtrans:events", None)),
        "q": RelaySpec("rabbitmq", RabbitmqOptions("amqp://127.0.0.1/%2Fshop", "midtrans.events")),
        "k": RelaySpec(
            "kafka",
            KafkaOptions("a.example:9092, [::1]:9092"),
            ("midtrans.payment.settled",),
            ("shop-a",),
            "beginning",
        ),
    }


def test_several_of_one_kind_stand_side_by_side(tmp_path: Path) -> None:
    text = "".join(
        f'[relays.{name}]\nkind = "redis"\nurl = "redis://h/{name[-1]}"\nstream = "s-{name}"\nmaxlen = 5000\n'
        for name in ("a-1", "a-2")
    )
    found = load(with_file(tmp_path, text)).relays
    assert found["a-2"].options == RedisOptions("redis://h/2", "s-a-2", 5000)


def test_a_url_can_be_read_from_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "nats.url").write_text("nats://user:secret@127.0.0.1:4222\n")
    found = load(with_file(tmp_path, '[relays.n]\nkind = "nats"\nurl_file = "nats.url"\n')).relays["n"]
    assert found.options == NatsOptions("nats://user:secret@127.0.0.1:4222")


def test_no_url_is_shown_by_a_repr(tmp_path: Path) -> None:
    text = '[relays.n]\nkind = "nats"\nurl = "nats://user:secret-word@127.0.0.1"\n'
    assert "secret-word" not in repr(load(with_file(tmp_path, text)))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "nats"', "relays.x.url is missing; wanted: a URL such as nats://"),
        ('url = "nats://h"', "relays.x.kind is missing; wanted: one of nats, redis, rabbitmq, kafka"),
        ('kind = "mqtt"', "relays.x.kind is a text of 4 letters; wanted: one of nats"),
        ("kind = 5", "relays.x.kind is a number"),
        (
            'kind = "nats"\nurl = "redis://h"',
            "relays.x.url must begin with nats:// or tls:// and name a host",
        ),
        ('kind = "redis"\nurl = "nats://h"', "relays.x.url must begin with redis:// or rediss://"),
        ('kind = "rabbitmq"\nurl = "amqp://"', "relays.x.url must begin with amqp:// or amqps://"),
        ('kind = "redis"\nurl = "redis://u:p#ss@h:x/"', "relays.x.url"),
        ('kind = "redis"\nurl = "redis://h"\nmaxlen = 5', "relays.x.maxlen is a number out of range"),
        ('kind = "redis"\nurl = "redis://h"\nmaxlen = "5000"', "relays.x.maxlen is a text of 4 digits"),
        (
            'kind = "nats"\nurl = "nats://h"\nstraem = "A"',
            "relays.x.straem is not known to this version; did you mean",
        ),
        (
            'kind = "nats"\nurl = "nats://h"\nstream = "a.b"',
            "relays.x.stream is a text of 3 characters; wanted",
        ),
        ('kind = "nats"\nurl = "nats://h"\nsubject = "a.>"', "relays.x.subject is a text"),
        ('kind = "nats"\nurl = "nats://h"\nexchange = "e"', "relays.x.exchange is not known"),
        ('kind = "rabbitmq"\nurl = "amqp://h"\nexchange = "amq.topic"', "relays.x.exchange must be letters"),
        ('kind = "kafka"\nbootstrap_servers = "h"', "relays.x.bootstrap_servers must be host:port"),
        ('kind = "kafka"\nbootstrap_servers = "h:9092"\nurl_file = "f"', "relays.x.url_file is not known"),
        ('kind = "nats"\nurl = "nats://h"\ntypes = ["*x"]', "relays.x.types '*x' is not a type"),
        ('kind = "nats"\nurl = "nats://h"\ntypes = []', "relays.x.types is a list of 0"),
        ('kind = "nats"\nurl = "nats://h"\nmerchants = ["A"]', "relays.x.merchants"),
        (
            'kind = "nats"\nurl = "nats://h"\nstart = "later"',
            "relays.x.start is a text of 5 letters; wanted: now or",
        ),
        ('kind = "nats"\nurl_file = "none"', "relays.x.url_file names a file that cannot be read"),
        ('kind = "nats"\nurl_file = "two"', "relays.x.url_file names a file of 2 lines; wanted: one"),
        ('kind = "nats"\nurl = "nats://h"\nurl_file = "two"', "relays.x.url_file is set together with url"),
    ],
)
def test_each_mistake_is_named_and_no_value_is_shown(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "two").write_text("nats://one\nnats://two\n")
    with pytest.raises(SettingsInvalid) as caught:
        load(with_file(tmp_path, f"[relays.x]\n{table}\n"))
    text = str(caught.value)
    assert said in text
    assert "p#ss" not in text


def test_names_and_shapes_of_tables_are_checked(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(with_file(tmp_path, '[relays]\nx = "nats"\n[relays.Upper]\nkind = "nats"\n'))
    assert "[relays.x] is a text of 4 letters; wanted: a table, as [relays.NAME]" in str(caught.value)
    assert "[relays.Upper] has a name that cannot stand in a path" in str(caught.value)
