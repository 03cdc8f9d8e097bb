"""Brokers that events are relayed to: one file each, all with the same two promises (`base.Broker`).

Clients of brokers are installed when wanted (``make relays``), so each is imported with the first relay to it.
"""

from importlib import import_module
from typing import Final

from service.domain.relaying import RelaySpec
from service.errors import SettingsInvalid
from service.relays.base import Broker

PACKAGES: Final = {"nats": "nats-py", "redis": "redis", "rabbitmq": "aio-pika", "kafka": "aiokafka"}
"""Kinds of brokers, and the package that speaks to each."""


def check_installed(name: str, spec: RelaySpec) -> None:
    """Raise SettingsInvalid unless what relay *name* needs can be imported."""
    try:
        import_module(f"service.relays.{spec.kind}")
    except ModuleNotFoundError as error:
        package = PACKAGES.get(spec.kind, spec.kind)
        raise SettingsInvalid(
            f"relays.{name}.kind is {spec.kind!r}, and its client is not installed ({package}): "
            "run `make relays`, or pip install --require-hashes -r requirements/relays.txt"
        ) from error


def connect(name: str, spec: RelaySpec) -> Broker:
    """Return the broker of relay *name*, not opened yet."""
    module = import_module(f"service.relays.{spec.kind}")
    broker: Broker = module.connect(name, spec.options)
    return broker
