"""Scenarios under way: each one a task that takes a step, waits, and takes the next."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_midtrans.testing import Account, ImpossibleStep, Scenario

if TYPE_CHECKING:
    from django_midtrans.testing.scenarios import Steps

KEPT_RUNS = 200


@dataclass
class Run:
    """One scenario played for one order; *state* is running, ended or broken, and *detail* why or what it awaits."""

    scenario: str
    merchant_id: str
    order_id: str
    state: str = "running"
    detail: str = ""


class Runs:
    """Plays scenarios in the running event loop."""

    def __init__(self) -> None:
        self.kept: deque[Run] = deque(maxlen=KEPT_RUNS)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, scenario: Scenario, account: Account, order_id: str, *, pause_s: float) -> Run:
        """Take the first step now and the others *pause_s* apart; raises ImpossibleStep if the first is refused."""
        run = Run(scenario.name, account.merchant_id, order_id)
        steps = scenario.play(account, order_id)
        _step(steps, run)
        self.kept.append(run)
        if run.state == "running":
            task = asyncio.ensure_future(_go_on(steps, run, pause_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return run

    async def idle(self) -> None:
        """Return once every scenario so far has ended."""
        while under_way := [task for task in self._tasks if not task.done()]:
            await asyncio.gather(*under_way, return_exceptions=True)

    async def aclose(self) -> None:
        """Stop where they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _go_on(steps: Steps, run: Run, pause_s: float) -> None:
    while run.state == "running":
        await asyncio.sleep(pause_s)
        try:
            _step(steps, run)
        except ImpossibleStep as error:  # somebody pressed a button of the page meanwhile
            run.state, run.detail = "broken", str(error)


def _step(steps: Steps, run: Run) -> None:
    try:
        run.detail = next(steps)
    except StopIteration:
        run.state, run.detail = "ended", ""
