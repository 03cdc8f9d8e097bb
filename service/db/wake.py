"""Waking those who wait for a commit: threads one by one, an event loop once for all of its futures."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, NamedTuple

AnyFuture = Future[Any] | asyncio.Future[Any]


class Outcome(NamedTuple):
    """What a future will say: its *error* if there is one, else its *value*."""

    future: AnyFuture
    value: Any = None
    error: BaseException | None = None


def wake(outcomes: Iterable[Outcome]) -> None:
    """Resolve every future. Cancelled ones and those of a closed loop are passed over: nobody waits there."""
    of_loop: dict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if isinstance(outcome.future, Future):
            _resolve(outcome)
        else:
            of_loop[outcome.future.get_loop()].append(outcome)
    for loop, theirs in of_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_resolve_all, theirs)


def _resolve_all(outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        _resolve(outcome)


def _resolve(outcome: Outcome) -> None:
    future = outcome.future
    if future.done():
        return
    if outcome.error is None:
        future.set_result(outcome.value)
    elif isinstance(outcome.error, StopIteration):  # asyncio refuses to carry it
        future.set_exception(RuntimeError(f"the work raised {outcome.error!r}"))
    else:
        future.set_exception(outcome.error)
