"""One push consumer at work: what is lent to it, what is under way, and the pace that its endpoint keeps up."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from service.alarms import Alarms
from service.clock import Clock
from service.db.store import Store
from service.db.unit import Unit
from service.domain.delivery import Consumer, Delivery, Lease
from service.domain.push import DOWN_AFTER, Answer, Pace, PushSettings, Result
from service.domain.records import PushSpec
from service.errors import NotFound, StoreError
from service.flow import lease, push
from service.flow.give_back import Died
from service.flow.lease import MOST_AT_ONCE
from service.flow.push import Outcome, Turn
from service.metrics import Metrics
from service.push.network import Resolve
from service.push.sender import Sender

log = structlog.get_logger(__name__)

LOOK_AGAIN_S: Final = 5.0
"""How long a commit of another process may go unheard."""
SHORTEST_WAIT_S: Final = 0.02
TROUBLE_S: Final = 1.0
"""How long to wait when nothing can be stored, or when there was less to lend than it seemed."""


@dataclass(frozen=True)
class Tools:
    """What every lane works with."""

    store: Store
    settings: PushSettings
    metrics: Metrics
    alarms: Alarms
    tls: ssl.SSLContext
    resolve: Resolve
    clock: Clock
    dice: Callable[[], float]
    new_batch: Callable[[], str]
    monotonic: Callable[[], float] = time.monotonic

    def sender(self, push: PushSpec) -> Sender:
        """Return what sends to the endpoint of *push*."""
        return Sender(push, settings=self.settings, tls=self.tls, resolve=self.resolve, clock=self.clock)


class Lane:
    """Pushes the events of one consumer. All of it runs on one event loop."""

    def __init__(self, consumer: Consumer, push: PushSpec, tools: Tools) -> None:
        self.name = consumer.name
        self._tools = tools
        self._known = consumer
        self._sender = tools.sender(push)
        self._retired: set[Sender] = set()
        self._pace = Pace(push.concurrency, consumer.streak.failures)
        self._probes = 0
        self._under_way: dict[asyncio.Task[None], Lease] = {}
        self._done: list[Outcome] = []
        self._wake = asyncio.Event()
        self._leaving = self._cut = False
        self._look = True
        self._look_at_s = 0.0

    def ring(self) -> None:
        """Note that there may be something to push."""
        self._look = True
        self._wake.set()

    def refresh(self, consumer: Consumer) -> None:
        """Note what an operator made of the consumer: who resumed or changed it wants no old failures to count."""
        if consumer.updated_at == self._known.updated_at:
            return
        if not consumer.streak.failures:
            self._pace = Pace(self._pace.concurrency)
        self._known = consumer
        self.ring()

    def leave(self) -> None:
        """Begin nothing more; `run` ends when what is under way has ended."""
        self._leaving = True
        self._wake.set()

    def cut(self) -> None:
        """Do not wait for what is under way: it is given back. Never cancel `run` for that: it would stop half-way."""
        self._leaving = self._cut = True
        self._wake.set()

    async def run(self) -> None:
        """Push until told to leave, or until there is no such consumer any more."""
        try:
            while not self._cut and (not self._leaving or self._under_way or self._done):
                self._wake.clear()
                if idle_s := await self._step():
                    await self._rest(idle_s)
        except NotFound:
            log.info("push_ended", consumer=self.name)
        finally:
            await self._close()

    async def _step(self) -> float:
        """Do what there is to do; return how long nothing else needs doing unless something wakes the lane."""
        try:
            return await self._turn()
        except StoreError as error:
            log.warning("pushing_waits", consumer=self.name, why=str(error))
            return TROUBLE_S

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _turn(self) -> float:
        now_s = self._tools.monotonic()
        pace, probe = self._pace, self._pace.probes(now_s)
        outcomes = self._done[:MOST_AT_ONCE]
        room = 0 if self._leaving else min(pace.room(now_s), MOST_AT_ONCE)
        if not outcomes and not room:
            return pace.wait_s(now_s) or LOOK_AGAIN_S  # whatever ends wakes the lane
        if not outcomes and not await self._worth_it(now_s):
            return self._look_at_s - now_s
        self._look = False
        turn = await self._take_turn(outcomes, room, fresh_first=probe and self._probes % 2 == 1)
        del self._done[: len(outcomes)]
        await self._take_note(turn, outcomes)
        self._begin(turn.lent.deliveries, probe=probe)
        if not outcomes and not turn.lent.deliveries and not turn.lent.more:
            self._look_at_s = now_s + TROUBLE_S  # another process was faster
        else:
            self._look = True
        return 0.0

    async def _take_turn(self, outcomes: Sequence[Outcome], room: int, *, fresh_first: bool) -> Turn:
        tools = self._tools
        work = partial(
            push.turn,
            name=self.name,
            outcomes=outcomes,
            limit=room,
            batch=tools.new_batch(),
            dice=tools.dice,
            pause_after=tools.settings.pause_after,
            fresh_first=fresh_first,
        )
        return await tools.store.write_async(work)

    async def _worth_it(self, now_s: float) -> bool:
        """Say whether there is something to lend, without asking the writer; know when to look again."""
        if not self._look and now_s < self._look_at_s:
            return False
        self._look = False
        ready, due_s = await asyncio.to_thread(self._tools.store.read, self._peek)
        self._look_at_s = now_s + max(
            SHORTEST_WAIT_S, LOOK_AGAIN_S if due_s is None else min(due_s, LOOK_AGAIN_S)
        )
        return ready

    def _peek(self, unit: Unit) -> tuple[bool, float | None]:
        looked = lease.look(unit, self.name)
        due_at = looked.next_due_at
        return looked.ready, None if due_at is None else (due_at - unit.now).total_seconds()

    # -- what is under way

    def _begin(self, deliveries: Sequence[Delivery], *, probe: bool) -> None:
        if not deliveries:
            return
        self._pace.begun(len(deliveries), probe=probe)
        self._probes += probe
        self._sender.busy += len(deliveries)
        for delivery in deliveries:
            task = asyncio.ensure_future(self._push(delivery, self._sender, self._pace, probe=probe))
            self._under_way[task] = delivery.lease
            task.add_done_callback(self._ended)
        self._tools.metrics.leased.labels(self.name).inc(len(deliveries))

    async def _push(self, delivery: Delivery, sender: Sender, pace: Pace, *, probe: bool) -> None:
        began_s = self._tools.monotonic()
        answer = await sender.send(delivery.body)
        now_s = self._tools.monotonic()
        pace.ended(answer, now_s, probe=probe)
        self._done.append(Outcome(delivery.lease, answer, probe))
        self._count(delivery, answer, now_s - began_s)
        sender.busy -= 1
        if sender in self._retired and not sender.busy:
            self._retired.discard(sender)
            await sender.close()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        del self._under_way[task]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("pushing_failed", consumer=self.name, exc_info=error)

    def _count(self, delivery: Delivery, answer: Answer, seconds: float) -> None:
        metrics = self._tools.metrics
        metrics.push_seconds.labels(self.name).observe(seconds)
        if answer.ok:
            metrics.pushed.labels(self.name).inc()
            return
        metrics.push_failed.labels(self.name, answer.result.value).inc()
        log.info(
            "push_failed",
            consumer=self.name,
            position=delivery.position,
            attempt=delivery.attempt,
            result=answer.result.value,
            reason=answer.reason,
        )

    # -- what a turn brought

    async def _take_note(self, turn: Turn, outcomes: Sequence[Outcome]) -> None:
        metrics = self._tools.metrics
        metrics.acked.labels(self.name).inc(turn.acked)
        metrics.nacked.labels(self.name).inc(turn.nacked)
        for died in (*turn.died, *turn.lent.died):
            self._tell_of(died)
        if turn.paused is not None:
            gone = any(one.answer.result is Result.GONE for one in outcomes)
            alarm = "push_gone" if gone else "push_failing"
            self._tools.alarms.sound(
                alarm, merchant="*", consumer=self.name, host=self._sender.host, why=turn.paused
            )
        self._tell_of_health(turn.consumer)
        self._known = turn.consumer
        await self._follow(turn.consumer)

    async def _follow(self, consumer: Consumer) -> None:
        """Go by what the consumer is now: another endpoint, other secrets, pushed to no more."""
        now, before = consumer.spec.push, self._sender
        if now is None:
            self.leave()
        elif now != before.push:
            self._sender = self._tools.sender(now)
            self._pace = Pace(now.concurrency, consumer.streak.failures)
            if before.busy:
                self._retired.add(before)
            else:
                await before.close()

    def _tell_of_health(self, consumer: Consumer) -> None:
        down = consumer.streak.failures >= DOWN_AFTER
        if down is (self._known.streak.failures >= DOWN_AFTER):
            return
        if down:
            log.warning(
                "endpoint_down", consumer=self.name, host=self._sender.host, why=consumer.streak.reason
            )
        else:
            log.info("endpoint_well", consumer=self.name, host=self._sender.host)

    def _tell_of(self, died: Died) -> None:
        self._tools.metrics.dead.labels(self.name).inc()
        self._tools.alarms.sound(
            "consumer_dead",
            merchant=died.payment[0],
            consumer=self.name,
            transaction_id=died.payment[1],
            position=died.position,
            attempts=died.attempts,
            reason=died.reason,
        )

    async def _close(self) -> None:
        """Cut off what is under way and give it back, and write down what came of the rest, as far as that goes."""
        cut = dict(self._under_way)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        ended = {outcome.lease for outcome in self._done}
        leases = [one for one in cut.values() if one not in ended]
        with contextlib.suppress(NotFound, StoreError):  # then the leases run out
            while self._done:
                await self._take_turn(self._done[:MOST_AT_ONCE], 0, fresh_first=False)
                del self._done[:MOST_AT_ONCE]
            for start in range(0, len(leases), MOST_AT_ONCE):
                some = leases[start : start + MOST_AT_ONCE]
                await self._tools.store.write_async(partial(lease.give_back, name=self.name, leases=some))
        for sender in (self._sender, *self._retired):
            await sender.close()
