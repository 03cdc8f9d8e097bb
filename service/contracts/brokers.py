"""Where relayed events are found on each broker, with the settings' defaults, and what is around them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class BrokerChannel:
    """One broker's channel. *address* and *bindings* hold the defaults of ``[relays.NAME]``."""

    kind: str
    title: str
    server: Mapping[str, Any]
    address: str
    description: str
    bindings: Mapping[str, Any] = field(default_factory=dict)


def _server(protocol: str, host: str) -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": protocol,
        "description": "A broker that a relay publishes to, if one is set up.",
        "variables": {"host": {"default": host}},
    }


BROKERS: Final = (
    BrokerChannel(
        "nats",
        "NATS JetStream",
        _server("nats", "127.0.0.1:4222"),
        "midtrans.events.{type}",
        "Stream MIDTRANS, subject `midtrans.events.` and the type. Headers: `Nats-Msg-Id` is the event's id, "
        "`Content-Type` is application/cloudevents+json.",
    ),
    BrokerChannel(
        "redis",
        "Redis Streams",
        _server("redis", "127.0.0.1:6379"),
        "midtrans:events",
        "A stream. Fields of an entry: `id`, `type`, `subject`, `partitionkey`, and `event`, which is the payload.",
    ),
    BrokerChannel(
        "rabbitmq",
        "RabbitMQ",
        _server("amqp", "127.0.0.1:5672"),
        "{type}",
        "Exchange midtrans.events, the routing key is the type. `message_id` is the event's id, `content_type` "
        "application/cloudevents+json; messages are persistent and mandatory.",
        {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": "midtrans.events",
                    "type": "topic",
                    "durable": True,
                    "autoDelete": False,
                    "vhost": "/",
                },
                "bindingVersion": "0.3.0",
            }
        },
    ),
    BrokerChannel(
        "kafka",
        "Kafka",
        _server("kafka", "127.0.0.1:9092"),
        "midtrans.events",
        "A topic; the key is the partitionkey. Header `content-type` is application/cloudevents+json.",
        {"kafka": {"topic": "midtrans.events", "bindingVersion": "0.5.0"}},
    ),
)
