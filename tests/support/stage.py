"""A stage to play scenarios on: the whole service and the simulator, each on a socket of its own, with one clock."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import Table, func, select

from django_midtrans.testing import Account
from django_midtrans.testing.scenarios import AMOUNT_IDR
from service.app import Service, build
from service.db.tables import checks, events, receipts
from service.db.topic import Topic
from service.domain.merchant import Merchant
from service.domain.reconcile import CheckTimes
from service.domain.records import Expectation
from service.flow.expect import expect
from service.settings import Configuration
from service.simulator.sender import Delivery
from service.simulator.server import RunningSimulator, running_simulator
from service.simulator.simulator import Route
from support.contracts import check_event
from support.databases import migrated

START_S = 10.0
QUIET_S = 40.0
STEP_S = 0.005


class Clock:
    """Runs, and can be set forward: seconds of waiting pass at once."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def forward(self, span: timedelta) -> None:
        self._ahead += span


@dataclass(frozen=True)
class Stage:
    """Merchants with a Midtrans account each, and what the service made of their payments."""

    service: Service
    simulator: RunningSimulator
    clock: Clock
    keys: Mapping[str, str]
    url: str

    def account(self, merchant: str) -> Account:
        return self.simulator.simulator.midtrans.account(self.keys[merchant])

    @contextmanager
    def notifying(self, merchant: str) -> Iterator[None]:
        """Have what is charged inside notified to the merchant's own path."""
        route = Route(override=(f"{self.url}/notifications/{merchant}",))
        with self.simulator.simulator.routing(route):
            yield

    def expect(self, merchant: str, order_id: str, transaction_id: str | None = None) -> None:
        """Say "a charge was made", as a shop would."""
        expectation = Expectation(merchant, order_id, Decimal(AMOUNT_IDR), transaction_id=transaction_id)
        self.service.store.write(lambda unit: expect(unit, expectation, CheckTimes())).result()

    def pass_time(self, span: timedelta) -> None:
        """Set the clock forward, and tell the worker, which sleeps by another one."""
        self.clock.forward(span)
        self.service.store.write(lambda unit: unit.announce(Topic.RECEIPTS)).result()

    def catch_up(self, merchant: str, within_s: float) -> None:
        """Let the service do what can be done now, within a time of the real clock."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self._has_work(merchant):
            time.sleep(STEP_S)

    def _has_work(self, merchant: str) -> bool:
        sent = self.deliveries(self.account(merchant).merchant_id)
        due_at = self._first_due_at(merchant, receipts)
        return (
            any(each.state == "waiting" and not each.hold_s for each in sent)
            or self.service.worker._busy > 0
            or (due_at is not None and due_at <= self.clock())
        )

    def settle(self, merchant: str, *, checks_too: bool = False) -> None:
        """Return once all was delivered and every receipt has ended (and every check): waits pass at once."""
        deadline = time.monotonic() + QUIET_S
        while (due_at := self._next_due_at(merchant, checks_too=checks_too)) is not None:
            assert time.monotonic() < deadline, self.open_receipts(merchant)
            if due_at <= self.clock():
                time.sleep(STEP_S)
            else:
                self.pass_time(due_at - self.clock() + timedelta(milliseconds=1))

    def _next_due_at(self, merchant: str, *, checks_too: bool) -> datetime | None:
        """Return when something is due: now, while a notification or a question is on its way."""
        if self.service.worker._busy or self._under_way(merchant):
            return self.clock()
        tables = (receipts, checks) if checks_too else (receipts,)
        return min(filter(None, (self._first_due_at(merchant, table) for table in tables)), default=None)

    def _first_due_at(self, merchant: str, table: Table) -> datetime | None:
        query = select(func.min(table.c.due_at)).where(table.c.merchant == merchant)
        moment: datetime | None = self.service.store.read(
            lambda unit: unit.connection.execute(query).scalar()
        )
        return moment

    def _under_way(self, merchant: str) -> bool:
        return any(each.state == "waiting" for each in self.deliveries(self.account(merchant).merchant_id))

    def deliveries(self, merchant_id: str) -> list[Delivery]:
        sent = list(self.simulator.simulator.sender.deliveries)
        return [each for each in sent if each.merchant_id == merchant_id]

    def events(self, merchant: str) -> list[dict[str, Any]]:
        """Return the merchant's events in the order of the log."""
        query = select(events.c.body).where(events.c.merchant == merchant).order_by(events.c.position)
        bodies = self.service.store.read(lambda unit: unit.connection.execute(query).scalars().all())
        return [check_event(json.loads(body)) for body in bodies]

    def receipts(self, merchant: str) -> list[Any]:
        query = select(receipts).where(receipts.c.merchant == merchant).order_by(receipts.c.id)
        return list(self.service.store.read(lambda unit: unit.connection.execute(query).all()))

    def open_receipts(self, merchant: str) -> list[Any]:
        return [
            (row.order_id, row.transaction_status, row.state, row.reason, row.due_at)
            for row in self.receipts(merchant)
            if row.due_at is not None
        ]


@contextmanager
def make_stage(folder: Path, merchants: Sequence[str]) -> Iterator[Stage]:
    """Run a service and a simulator with an account for each of *merchants*."""
    clock = Clock()
    keys = {merchant: f"SB-Mid-server-{merchant}" for merchant in merchants}
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        simulator = stack.enter_context(running_simulator(server_keys=list(keys.values()), clock=clock))
        service = _service(folder, simulator.url, keys, clock)
        stack.callback(service.stop, 4.0)
        service.start()
        stack.enter_context(_served(service, listener))
        yield Stage(service, simulator, clock, keys, url)


def _service(folder: Path, midtrans_url: str, keys: Mapping[str, str], clock: Clock) -> Service:
    url = f"sqlite+pysqlite:///{migrated(folder / 'stage.db')}"
    merchants = tuple(Merchant(name, (key,), base_url=midtrans_url) for name, key in keys.items())
    return build(Configuration(folder, url, merchants), clock=clock)


@contextmanager
def _served(service: Service, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(service.asgi, lifespan="off", log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="service", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started:
        assert thread.is_alive(), "the service did not start"
        assert time.monotonic() < deadline, "the service did not start in time"
        time.sleep(STEP_S)
    try:
        yield
    finally:
        service.drain()
        server.should_exit = True
        thread.join(START_S)
