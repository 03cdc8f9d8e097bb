"""Looks out for all waiting lease calls together: one look at the database a wake-up, and one call woken at a time."""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import structlog
from fastapi.concurrency import run_in_threadpool

from service.api.bell import Bell
from service.db.store import Store
from service.db.unit import Unit
from service.errors import NotFound
from service.flow import lease

LOOK_AGAIN_S: Final = 5.0
"""How long a ring that got lost may be missed."""
PACE_S: Final = 0.01
"""Between two looks at least; the first ring after a quiet time is answered at once."""
SHARE: Final = 4
"""A look that takes long, for many consumers, is followed by a pause of so many times as much."""
LONGEST_PACE_S: Final = 0.25
AFTER_TROUBLE_S: Final = 1.0
FOLLOWERS: Final = 2
"""How many calls are woken when one has found something: there may be more."""

log = structlog.get_logger(__name__)

Turn = asyncio.Future[None]


class Lookout:
    """Knows which calls wait for which consumer, the longest waiting first.

    When there is something for a consumer, one call gets its turn. Whoever had a turn says what it found: only then
    others get theirs, so that a single event does not bring hundreds of calls before the writer.
    """

    def __init__(self, store: Store, bell: Bell) -> None:
        self._store = store
        self._bell = bell
        self._waiting: dict[str, list[Turn]] = {}
        self._due: dict[str, float] = {}
        self._unseen: set[str] = set()
        self._nudged: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def enter(self, name: str, *, heard: int, due_s: float | None) -> Turn:
        """Wait for a turn at consumer *name*, in which nothing was found since the bell had rung *heard* times.

        *due_s* says in how many seconds something comes due, if that is known.
        """
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        self._waiting.setdefault(name, []).append(turn)
        self.note_due(name, due_s)
        if self._bell.rings != heard:
            self._unseen.add(name)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._look_out())
        elif self._unseen:
            self._nudge()
        return turn

    def note_due(self, name: str, due_s: float | None) -> None:
        """Take note of when something comes due for those who wait."""
        if due_s is not None and name in self._waiting:
            due = asyncio.get_running_loop().time() + due_s
            self._due[name] = min(due, self._due.get(name, due))
            self._nudge()

    def leave(self, name: str, turn: Turn) -> None:
        """Wait no longer."""
        turns = self._waiting.get(name, [])
        if turn in turns:
            turns.remove(turn)
        if not turns:
            self._waiting.pop(name, None)
            self._due.pop(name, None)
            self._unseen.discard(name)

    def pass_on(self, name: str, calls: int) -> None:
        """Give so many calls of consumer *name* their turn."""
        turns = self._waiting.get(name, [])
        for turn in turns[:calls]:
            if not turn.done():
                turn.set_result(None)
        del turns[:calls]

    async def _look_out(self) -> None:
        clock = asyncio.get_running_loop().time
        rings, whole_at = -1, 0.0
        while self._waiting and not self._bell.closed:
            began = clock()
            heard, ring = self._bell.rings, self._bell.next_ring()
            wanted = self._wanted(began)
            if heard != rings or began - whole_at >= LOOK_AGAIN_S:
                wanted, rings, whole_at = list(self._waiting), heard, began
            try:
                await self._look(wanted)
                pause_s = min(max(PACE_S, SHARE * (clock() - began)), LONGEST_PACE_S)
            except Exception:  # those who wait find out by themselves
                log.exception("lookout_failed")
                self._wake_all(wanted)
                pause_s = AFTER_TROUBLE_S
            await self._rest(ring, heard, pause_s - (clock() - began))
        self._wake_all(list(self._waiting))

    def _wanted(self, now: float) -> list[str]:
        """Return the consumers to look for without a ring: something has come due, or a ring came before the call."""
        return [name for name in self._waiting if name in self._unseen or self._due.get(name, now + 1) <= now]

    async def _rest(self, ring: "asyncio.Future[None]", heard: int, pause_s: float) -> None:
        """Return when there is a reason to look, and not before *pause_s*."""
        loop = asyncio.get_running_loop()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        if self._bell.rings != heard or self._unseen or self._bell.closed:
            return
        self._nudged = loop.create_future()
        until = min([*self._due.values(), loop.time() + LOOK_AGAIN_S])
        await asyncio.wait(
            (ring, self._nudged),
            timeout=max(0.0, until - loop.time()),
            return_when=asyncio.FIRST_COMPLETED,
        )
        self._nudged = None

    def _nudge(self) -> None:
        if self._nudged is not None and not self._nudged.done():
            self._nudged.set_result(None)

    async def _look(self, names: list[str]) -> None:
        self._unseen.difference_update(names)
        for name in names:
            self._due.pop(name, None)
        if not names:
            return
        found, now = await run_in_threadpool(self._store.read, lambda unit: _looked(unit, names))
        for name, look in found.items():
            if look is None:
                self._wake_all([name])  # each is to say that there is no such consumer
            elif look.ready:
                self.pass_on(name, 1)
            elif look.next_due_at is not None:
                self.note_due(name, max(0.0, (look.next_due_at - now).total_seconds()))

    def _wake_all(self, names: Iterable[str]) -> None:
        for name in names:
            self.pass_on(name, len(self._waiting.get(name, [])))


def _looked(unit: Unit, names: list[str]) -> tuple[dict[str, lease.Look | None], datetime]:
    """Return what there is for each consumer; None where there is no such one."""
    found: dict[str, lease.Look | None] = {}
    for name in names:
        try:
            found[name] = lease.look(unit, name)
        except NotFound:
            found[name] = None
    return found, unit.now
