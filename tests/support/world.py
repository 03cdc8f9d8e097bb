"""A world to test the flow in: the real store, Midtrans in memory, a clock that only moves when told to."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from django_midtrans.events import PaymentEvent
from django_midtrans.facts import read_facts
from django_midtrans.testing import Account, InMemoryMidtrans
from service.db.store import Store
from service.db.tables import confirmations, events, payments, receipts
from service.db.unit import Unit
from service.domain.backoff import Waits
from service.domain.inquiry import Found, Missing, Reply
from service.domain.merchant import Merchant
from service.domain.receiving import Arrival
from service.domain.reconcile import CheckTimes
from service.domain.records import Claim, Expectation, Oddity
from service.errors import GatewayError
from service.flow.apply import Rules
from service.flow.confirm import Answered, Confirmer
from service.flow.expect import expect
from service.flow.receive import Receiver
from support.databases import migrated

KEY = "SB-Mid-server-world"
LEASE = timedelta(seconds=60)
START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


class Clock:
    """Stands still until told to move."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)


class FakeGateway:
    """Asks the in-memory Midtrans. *answers* may put a body, a 404 (None) or an error in an answer's place."""

    def __init__(self, account: Account, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self.asked: list[str] = []
        self.answers: dict[str, dict[str, Any] | GatewayError | None] = {}
        self.before_answer: Callable[[str], None] = lambda asked: None

    def get_status(self, merchant: str, asked: str) -> Reply:
        self.asked.append(asked)
        body = self.answers[asked] if asked in self.answers else self._account.status(asked)
        self.before_answer(asked)
        if isinstance(body, GatewayError):
            raise body
        at = self._clock()
        if body is None or body["status_code"] == "404":
            return Missing(asked, at, at, 200, json.dumps(body or {"status_code": "404"}).encode())
        return Found(asked, at, at, 200, json.dumps(body).encode(), read_facts(body))


class NoOddities:
    """Keeps what was refused, for tests to look at."""

    def __init__(self) -> None:
        self.kept: list[Oddity] = []

    def keep(self, oddity: Oddity) -> None:
        self.kept.append(oddity)


@dataclass
class World:
    """A merchant, its Midtrans, and the service's flow without threads or sockets."""

    store: Store
    clock: Clock
    midtrans: InMemoryMidtrans
    account: Account
    gateway: FakeGateway
    confirmer: Confirmer
    receiver: Receiver
    oddities: NoOddities
    alarms: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    reconciles: bool = True

    def notify(self, body: dict[str, Any] | bytes, *, merchant: str = "default") -> int:
        """Post a notification; return the status of the answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        arrival = Arrival(merchant, raw, len(raw), self.clock(), "127.0.0.1", "/notifications", {})
        status: int = asyncio.run(self._receive(arrival)).status
        return status

    async def _receive(self, arrival: Arrival) -> Any:
        return await self.receiver.receive(arrival)

    def claim(self, *, limit: int = 100, repeat: bool = False, owner: str = "test") -> list[Claim]:
        """Claim what is due."""
        return self.store.write(
            lambda unit: unit.claims.take(
                owner=owner,
                merchant="default",
                limit=limit,
                leased_until=unit.now + LEASE,
                repeat=repeat,
            )
        ).result()

    def claim_checks(self) -> list[Claim]:
        """Claim what reconcile is to ask about now."""
        if not self.reconciles:
            return []
        return self.store.write(
            lambda unit: unit.checks.take(
                owner="test", merchant="default", limit=100, leased_until=unit.now + LEASE
            )
        ).result()

    def confirm(self, claim: Claim) -> Answered:
        return self.confirmer.confirm(claim)

    def confirm_due(self) -> int:
        """Confirm all that is due now, repeats too; return how many claims that were."""
        count = 0
        while claims := self.claim() + self.claim(repeat=True) + self.claim_checks():
            for claim in claims:
                self.confirm(claim)
            count += len(claims)
        return count

    def run_for(self, **span: float) -> None:
        """Let time pass, confirming whatever becomes due on the way at its time."""
        end = self.clock.now + timedelta(**span)
        while True:
            self.confirm_due()
            due_at = self.store.read(lambda unit: _next_due_at(unit, checks=self.reconciles))
            if due_at is None or due_at > end:
                break
            self.clock.now = max(due_at, self.clock.now)
        self.clock.now = end

    def events(self) -> list[PaymentEvent]:
        query = select(events.c.body).order_by(events.c.position)
        bodies = self.store.read(lambda unit: unit.connection.execute(query).scalars().all())
        return [PaymentEvent.from_dict(json.loads(body)) for body in bodies]

    def types(self, order_id: str | None = None) -> list[str]:
        """Return the last parts of the events' types."""
        return [
            event.type.removeprefix("midtrans.payment.")
            for event in self.events()
            if order_id in (None, event.order_id)
        ]

    def receipt_states(self, order_id: str | None = None) -> list[tuple[str, str | None]]:
        """Return (state, reason) of the receipts in the order they came."""
        query = select(receipts.c.state, receipts.c.reason, receipts.c.order_id).order_by(receipts.c.id)
        rows = self.store.read(lambda unit: unit.connection.execute(query).all())
        return [(row.state, row.reason) for row in rows if order_id in (None, row.order_id)]

    def payment_rows(self) -> list[Any]:
        query = select(payments).order_by(payments.c.transaction_id)
        return list(self.store.read(lambda unit: unit.connection.execute(query).all()))

    def confirmation_rows(self) -> list[Any]:
        query = select(confirmations).order_by(confirmations.c.id)
        return list(self.store.read(lambda unit: unit.connection.execute(query).all()))

    def expect(self, **facts: Any) -> None:
        """Say that the shop charged an order."""
        expectation = Expectation(merchant="default", **facts)
        self.store.write(lambda unit: expect(unit, expectation, CheckTimes())).result()

    def alarm_names(self) -> list[str]:
        return [name for name, _ in self.alarms]


def _next_due_at(unit: Unit, *, checks: bool) -> datetime | None:
    moments = [unit.claims.next_due_at("default")]
    if checks:
        moments.append(unit.checks.next_due_at("default"))
    return min((moment for moment in moments if moment is not None), default=None)


@contextmanager
def make_world(
    folder: Path, *, url: str | None = None, waits: Waits | None = None, key: str = KEY
) -> Iterator[World]:
    """Make a world whose database is at *url*, else a file in *folder*."""
    clock = Clock()
    store = Store(url or f"sqlite+pysqlite:///{migrated(folder / 'world.db')}", clock=clock)
    store.start()
    midtrans = InMemoryMidtrans(clock)
    account = midtrans.account(key)
    gateway = FakeGateway(account, clock)
    merchants = {"default": Merchant("default", (key,))}
    alarms: list[tuple[str, dict[str, object]]] = []

    def sound(alarm: str, *, merchant: str, **facts: object) -> None:
        alarms.append((alarm, facts))

    confirmer = Confirmer(
        merchants=merchants,
        gateway=gateway,
        store=store,
        alarm=sound,
        rules=Rules(waits=waits or Waits()),
        jitter=lambda: 0.0,
    )
    oddities = NoOddities()
    receiver = Receiver(merchants, receipts=store, oddities=oddities)
    try:
        yield World(store, clock, midtrans, account, gateway, confirmer, receiver, oddities, alarms)
    finally:
        store.close()
