"""What every broker promises, and what all of them do alike."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from service.domain.relaying import Message, first_missing, waves
from service.errors import BrokerError, BrokerUnavailable

OPEN_S: Final = 10.0
"""How long a broker may take to let us in."""
CONFIRM_S: Final = 10.0
"""How long it may take to confirm what it was sent."""
CLOSE_S: Final = 1.0
GRACE_S: Final = 0.5
"""How long the rest of a group has to be confirmed, once one of it has failed."""
MEDIA_TYPE: Final = "application/cloudevents+json"
CLIENT: Final = "midtrans-service"
LONGEST: Final = 300
_MASKED: Final = "[masked]"


class Broker(Protocol):
    """A connection to a broker. After an error it is closed, and another one is made."""

    async def open(self, *, make: bool = True) -> None:
        """Connect, and check what is published to, or make it if it is missing.

        Without *make* a missing one is left missing. Raises BrokerUnavailable or BrokerRefused.
        """

    async def publish(self, batch: Sequence[Message]) -> None:
        """Return once the broker keeps all of *batch*; of each payment it keeps first what came first.

        Raises BrokerUnavailable or BrokerRefused, whose ``confirmed`` says how many messages from the beginning
        of *batch* it keeps; of the others it may keep some too. What it keeps twice bears the same id.
        """

    async def close(self) -> None:
        """Let go of the connection soon, whatever state it is in. Never raises."""


Send = Callable[[Message], Coroutine[Any, Any, None]]
Translate = Callable[[BaseException], BrokerError]


async def publish_in_waves(batch: Sequence[Message], send: Send, translate: Translate) -> None:
    """Publish by *send*, which returns when the message is kept, one message of each payment at a time.

    *translate* says what an error of *send* means. No group follows one that was not confirmed whole.
    """
    kept: list[int] = []
    for wave in waves(batch):
        tasks = [asyncio.ensure_future(send(batch[index])) for index in wave]
        try:
            error = await _first_failure(tasks)
        finally:
            await _end(tasks)
        kept += [index for index, task in zip(wave, tasks, strict=True) if _is_kept(task)]
        if error is not None:
            told = translate(error)
            told.confirmed = first_missing(len(batch), kept)
            raise told from error


async def _first_failure(tasks: Sequence["asyncio.Task[None]"]) -> BaseException | None:
    """Wait until all *tasks* are done; return what went wrong first, after a short wait for the others."""
    done, late = await asyncio.wait(tasks, timeout=CONFIRM_S, return_when=asyncio.FIRST_EXCEPTION)
    failed = next((task for task in tasks if task in done and not _is_kept(task)), None)
    if failed is None:
        return TimeoutError(f"not confirmed within {CONFIRM_S:g} s") if late else None
    if late:
        await asyncio.wait(late, timeout=GRACE_S)
    return asyncio.CancelledError() if failed.cancelled() else failed.exception()


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    late = [task for task in tasks if not task.done()]
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=GRACE_S)


def _is_kept(task: "asyncio.Task[None]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def close_soon(closing: Coroutine[Any, Any, Any]) -> None:
    """Wait for *closing* a moment; what it raises is nobody's business any more."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(closing, CLOSE_S)


def describe(error: BaseException, url: str = "") -> str:
    """Return *error* in one line without what in *url* is secret."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    for secret in _secrets(url):
        text = text.replace(secret, _MASKED)
    return text[:LONGEST]


def unavailable(error: BaseException, url: str = "") -> BrokerUnavailable:
    """Return *error* as something that passes."""
    return BrokerUnavailable(describe(error, url))


def _secrets(url: str) -> list[str]:
    """Return the URL, its login and its query as they may stand in an error, the longest first."""
    found = set()
    for one in url.split(","):
        parts = urlsplit(one)
        login, at, _ = parts.netloc.rpartition("@")
        if at:
            name, _, password = login.partition(":")
            hidden = password or name  # a token stands alone before the @
            found |= {one, login, hidden, unquote(hidden)}
        found.add(parts.query)
    return sorted(found - {""}, key=len, reverse=True)
