"""Can each relay's broker be reached, and does it take what is published? Nothing is published."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from service.doctor.finding import Finding, failed, ok, warning
from service.domain.relaying import RelaySpec
from service.errors import BrokerError, BrokerRefused, SettingsInvalid
from service.relays import check_installed, connect
from service.relays.base import OPEN_S, Broker

LONGEST_S = 2 * OPEN_S


def check_relays(
    relays: Mapping[str, RelaySpec], *, connect: Callable[[str, RelaySpec], Broker] = connect
) -> Iterator[Finding]:
    """Yield a finding for each relay. What the service would make when it is missing is left missing."""
    for name, spec in relays.items():
        yield _check(name, spec, connect)


def _check(name: str, spec: RelaySpec, connect: Callable[[str, RelaySpec], Broker]) -> Finding:
    check = f"relay {name}"
    try:
        check_installed(name, spec)
        asyncio.run(asyncio.wait_for(_open(connect(name, spec)), LONGEST_S))
    except SettingsInvalid as error:
        return failed(check, str(error), "install it where the service runs")
    except BrokerRefused as error:
        return failed(check, error.reason, "mend what it says; docs/relays.md")
    except (BrokerError, TimeoutError) as error:
        return failed(
            check,
            f"{spec.kind} cannot be reached: {error}",
            "see that the broker runs and that the settings name it; events wait meanwhile, none is lost",
        )
    if spec.kind == "kafka":
        return warning(
            check, "kafka lets us in", "relays to Kafka are experimental: try yours out before you rely"
        )
    return ok(check, f"{spec.kind} lets us in")


async def _open(broker: Broker) -> None:
    try:
        await broker.open(make=False)
    finally:
        await broker.close()
