"""Lending over HTTP: long-poll without a thread, and nothing for a client that has gone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.types import Receive

from service.api.bell import Bell
from service.api.context import ApiContext
from service.api.desk import Desk
from service.api.lookout import FOLLOWERS, Lookout
from service.api.models import LeaseBody
from service.domain.delivery import Delivery, Lease, parse_leases
from service.flow import lease
from service.flow.give_back import Died

SEARCH_S: Final = 5.0
"""How long a call goes through events that its consumer does not want."""


@dataclass
class Got:
    """What one lease call brings back."""

    deliveries: list[Delivery] = field(default_factory=list)
    acked: list[Lease] = field(default_factory=list)
    ended: list[Lease] = field(default_factory=list)


class Gone:
    """Watches for the client to hang up."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._watch: asyncio.Task[None] | None = None

    def now(self) -> bool:
        """Say whether the client has gone."""
        if self._watch is not None:
            return self._watch.done()
        return _at_hand(self._request.receive) == "http.disconnect"

    async def or_(self, turn: asyncio.Future[None], timeout_s: float) -> None:
        """Return at the turn, when the time is over, or when the client has gone."""
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._watch_it())
        await asyncio.wait((turn, self._watch), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    def stop(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.cancel()

    async def _watch_it(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass


class Call:
    """One lease call."""

    def __init__(
        self,
        context: ApiContext,
        bell: Bell,
        lookout: Lookout,
        name: str,
        body: LeaseBody,
        *,
        desk: Desk,
        gone: Gone,
        check_again: Callable[[], Awaitable[object]],
    ) -> None:
        self._context = context
        self._bell = bell
        self._lookout = lookout
        self._desk = desk
        self._name = name
        self._body = body
        self._gone = gone
        self._check_again = check_again
        self._got = Got()
        self._clock = asyncio.get_running_loop().time

    async def run(self) -> Got | None:
        """Return what there is, at the latest when the wait is over; None when the client has gone."""
        leases = parse_leases(self._body.ack, field="ack")
        while len(leases) > lease.MOST_AT_ONCE:
            await self._ack(leases[: lease.MOST_AT_ONCE])
            leases = leases[lease.MOST_AT_ONCE :]
        deadline = self._clock() + self._body.wait_seconds
        self._bell.next_ring()  # from now on it rings
        heard = self._bell.rings
        idle_s = await self._lend(leases)
        while not self._got.deliveries and (left := deadline - self._clock()) > 0 and not self._bell.closed:
            turn = self._lookout.enter(self._name, heard=heard, due_s=idle_s)
            try:
                await self._gone.or_(turn, left)
            except asyncio.CancelledError:
                self._lookout.pass_on(self._name, int(turn.done()))
                raise
            finally:
                self._lookout.leave(self._name, turn)
            if turn.done() and not self._bell.closed:
                heard = self._bell.rings
                idle_s = await self._take_turn()
            if self._gone.now():
                return await self._unless_gone()
        return await self._unless_gone()

    async def _take_turn(self) -> float | None:
        """Lend, and let others have their turn when there may be more, or when this call can do nothing with it."""
        others = 1
        try:
            if not self._gone.now():
                await self._check_again()  # the token may have been revoked while the call waited
                idle_s = await self._lend([])
                others = FOLLOWERS if self._got.deliveries else 0
                self._lookout.note_due(self._name, idle_s)  # this call's own time may be over
                return idle_s
            return None
        finally:
            self._lookout.pass_on(self._name, others)

    async def _ack(self, leases: Sequence[Lease]) -> None:
        acked = await self._context.store.write_async(lambda unit: lease.ack(unit, self._name, leases))
        self._count_acked(acked)

    async def _lend(self, acks: Sequence[Lease]) -> float | None:
        """Ack and lend; return in how many seconds something comes due, if it is known and nothing was lent."""
        search_until = self._clock() + SEARCH_S
        while True:
            lent, now = await self._desk.lend(self._ask(acks))
            acks = ()
            self._take(lent)
            full = len(self._got.deliveries) >= self._body.limit
            if full or not lent.more or self._clock() > search_until or self._gone.now():
                return _seconds_to(lent.next_due_at, now)

    def _ask(self, acks: Sequence[Lease]) -> lease.Ask:
        limit = min(self._body.limit - len(self._got.deliveries), lease.MOST_AT_ONCE)
        batch = self._context.new_batch()
        return lease.Ask(self._name, batch, limit, self._body.lease_seconds, acks)

    def _take(self, lent: lease.Lent) -> None:
        self._got.deliveries += lent.deliveries
        self._count_acked(lent.acked)
        if lent.deliveries:
            self._context.metrics.leased.labels(self._name).inc(len(lent.deliveries))
        report_dead(self._context, self._name, lent.died)

    def _count_acked(self, acked: lease.Acked) -> None:
        self._got.acked += acked.acked
        self._got.ended += acked.ended
        if acked.acked:
            self._context.metrics.acked.labels(self._name).inc(len(acked.acked))

    async def _unless_gone(self) -> Got | None:
        """Return what was got; give it back when the client has gone meanwhile."""
        if not self._got.deliveries or not self._gone.now():
            return self._got
        leases = [delivery.lease for delivery in self._got.deliveries]
        for start in range(0, len(leases), lease.MOST_AT_ONCE):
            some = leases[start : start + lease.MOST_AT_ONCE]
            await self._context.store.write_async(partial(lease.give_back, name=self._name, leases=some))
        return None


def _at_hand(receive: Receive) -> str | None:
    """Return the type of the message that *receive* has at hand; None when it would have to wait."""
    waiting = receive().__await__()
    try:
        next(waiting)
    except StopIteration as done:
        kind: str = done.value["type"]
        return kind
    waiting.close()
    return None


def report_dead(context: ApiContext, name: str, died: Sequence[Died]) -> None:
    """Count what died and sound the alarm."""
    for one in died:
        context.metrics.dead.labels(name).inc()
        context.alarms.sound(
            "consumer_dead",
            merchant=one.payment[0],
            consumer=name,
            transaction_id=one.payment[1],
            position=one.position,
            attempts=one.attempts,
            reason=one.reason,
        )


def _seconds_to(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (moment - now).total_seconds())
