"""Step 1: what was posted, decided upon and committed before the 2xx.

`service.domain.receiving` judges; `Receiver` acts on it through two edges, the disk and the operators' view.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog
import uuid_utils

from service.domain.answers import ANSWERS, Answer, Happened, clean, dashboard_test, refusal, stored
from service.domain.merchant import Merchant
from service.domain.receiving import Arrival, DashboardTest, Keys, Refused, decide
from service.domain.records import NewReceipt, Oddity, StoredReceipt
from service.errors import StoreError, StoreOverloaded

_NO_ODDITY: Final = frozenset({Happened.OVERLOADED, Happened.NOT_STORED})
_LINES_PER_S: Final = 20
_SECOND: Final = timedelta(seconds=1)

log = structlog.get_logger()


def new_id() -> UUID:
    """Return an id that sorts by time."""
    return UUID(int=uuid_utils.uuid7().int)


def id_text(id_: UUID) -> str:
    """Return ``str(id_)``, in a third of its time."""
    text = id_.hex
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Receipts(Protocol):
    """The disk: the future is done after the commit."""

    def receive(self, new: NewReceipt) -> "asyncio.Future[StoredReceipt]":
        """Have *new* stored; the future fails with a StoreError when it was not."""


class Oddities(Protocol):
    """Where refused bodies and dashboard tests go for operators to see."""

    def keep(self, oddity: Oddity) -> None:
        """Keep *oddity*, without waiting."""


class Receiver:
    """Takes notifications in: each one ends in an `Answer`, and in a receipt on disk when that is a 200."""

    def __init__(
        self,
        merchants: Mapping[str, Merchant],
        *,
        receipts: Receipts,
        oddities: Oddities,
        new_id: Callable[[], UUID] = new_id,
    ) -> None:
        self._keys = {name: Keys.of(merchant) for name, merchant in merchants.items()}
        self._receipts = receipts
        self._oddities = oddities
        self._new_id = new_id
        self._lines = LineLimit()

    @property
    def merchants(self) -> frozenset[str]:
        """The names that can be posted to."""
        return frozenset(self._keys)

    async def receive(self, arrival: Arrival) -> Answer:
        """Decide on a body that came whole for a known merchant, store it, and return the answer.

        What is stored is stored whether or not the caller still waits.
        """
        judged = self.judge(arrival)
        if isinstance(judged, Answer):
            return judged
        try:
            receipt = await self.store(judged)
        except StoreError as error:
            return self._not_stored(arrival, judged, error)
        return self.taken_in(judged, receipt)

    def judge(self, arrival: Arrival) -> NewReceipt | Answer:
        """Return the receipt that has to be stored before it is answered, or the answer of what needs none."""
        decision = decide(arrival, self._keys[arrival.merchant], new_id=self._new_id)
        if isinstance(decision, Refused):
            return self.refuse(arrival, decision)
        if isinstance(decision, DashboardTest):
            return self._show_test(arrival, decision)
        return decision

    def store(self, new: NewReceipt) -> "asyncio.Future[StoredReceipt]":
        """Have *new* stored."""
        return self._receipts.receive(new)

    def taken_in(self, new: NewReceipt, receipt: StoredReceipt) -> Answer:
        """Answer what is on disk as *receipt*."""
        id_ = id_text(receipt.id)
        _say(
            log.info,
            "notification_duplicate" if receipt.duplicate else "notification_accepted",
            merchant=new.merchant,
            order_id=new.order_id,
            kind=new.kind,
            id=id_,
            answer=200,
        )
        return stored(id_, duplicate=receipt.duplicate)

    def not_taken_in(self, arrival: Arrival, new: NewReceipt | None, error: BaseException) -> Answer:
        """Answer what `receive` would have raised, or refused because of the store. Raises nothing."""
        try:
            if new is not None and isinstance(error, StoreError):
                return self._not_stored(arrival, new, error)
        except Exception as second:  # noqa: BLE001  (see `fail`)
            error = second
        return self.fail(arrival, error)

    def _not_stored(self, arrival: Arrival, new: NewReceipt, error: StoreError) -> Answer:
        if isinstance(error, StoreOverloaded):
            return self.refuse(arrival, Refused(Happened.OVERLOADED, "", new.kind, new.order_id))
        return self.refuse(
            arrival, Refused(Happened.NOT_STORED, "", new.kind, new.order_id), cause=str(error)
        )

    def refuse(self, arrival: Arrival, refused: Refused, *, cause: str | None = None) -> Answer:
        """Answer what is not taken in; the body is kept for operators. *cause* goes to the log alone."""
        answer = refusal(refused.happened, refused.detail)
        if refused.happened not in _NO_ODDITY:
            self._keep(arrival, refused.happened, refused.detail)
        self._log(
            log.warning,
            "notification_refused",
            arrival,
            refused.happened,
            kind=refused.kind,
            order_id=clean(refused.order_id),
            detail=cause or clean(refused.detail),
        )
        return answer

    def fail(self, arrival: Arrival | None, error: BaseException) -> Answer:
        """Answer what nobody foresaw: a log entry with the traceback, and never a 500. Raises nothing."""
        if arrival is None:
            _say(log.error, "notification_failed", answer=507, exc_info=error)
        elif isinstance(error, asyncio.CancelledError):
            return self.refuse(arrival, Refused(Happened.NOT_STORED), cause="interrupted while closing")
        else:
            self._log(log.error, "notification_failed", arrival, Happened.FAILED, exc_info=error)
            with suppress(Exception):  # keeping it may be what failed
                self._keep(arrival, Happened.FAILED, type(error).__name__)
        return refusal(Happened.FAILED)

    def _show_test(self, arrival: Arrival, test: DashboardTest) -> Answer:
        detail = f"signature {'good' if test.verified else 'bad'}"
        self._keep(arrival, Happened.TEST, detail)
        _say(
            log.info,
            "dashboard_test",
            merchant=arrival.merchant,
            order_id=clean(test.order_id),
            signature="good" if test.verified else "bad",
            answer=200,
        )
        return dashboard_test(verified=test.verified)

    def _keep(self, arrival: Arrival, reason: Happened, detail: str) -> None:
        self._oddities.keep(
            Oddity(
                merchant=arrival.merchant,
                reason=reason.value,
                received_at=arrival.received_at,
                source_address=arrival.source_address,
                path=arrival.path,
                headers=arrival.headers,
                body=arrival.raw,
                size=arrival.size,
                detail=clean(detail),
            )
        )

    def _log(
        self,
        method: Callable[..., object],
        event: str,
        arrival: Arrival,
        happened: Happened,
        **facts: object,
    ) -> None:
        """Log a line about what was not taken in, unless there were too many like it; leave out what is empty."""
        unsaid = self._lines.unsaid(arrival.merchant, happened, arrival.received_at)
        if unsaid is None:
            return
        said = {name: fact for name, fact in {**facts, "unsaid": unsaid}.items() if fact}
        _say(
            method,
            event,
            merchant=arrival.merchant,
            error=happened.value,
            answer=ANSWERS[happened].status,
            source=arrival.source_address,
            **said,
        )


def _say(method: Callable[..., object], event: str, **fields: object) -> None:
    """Log; a log that cannot be written (a full disk, a closed pipe) changes no answer."""
    try:  # noqa: SIM105  (costs nothing, and ``suppress`` half a microsecond)
        method(event, **fields)
    except Exception:  # noqa: BLE001, S110
        pass


class LineLimit:
    """Keeps strangers from filling a disk with log lines: so many a second for each merchant and refusal."""

    def __init__(self, per_s: int = _LINES_PER_S) -> None:
        self._per_s = per_s
        self._seen: dict[tuple[str, Happened], tuple[datetime, int]] = {}

    def unsaid(self, merchant: str, happened: Happened, now: datetime) -> int | None:
        """Return how many lines were left out since the last one; None to leave this one out too."""
        since, count = self._seen.get((merchant, happened), (now, 0))
        if abs(now - since) >= _SECOND:  # a clock that was set back starts anew as well
            self._seen[merchant, happened] = (now, 1)
            return max(0, count - self._per_s)
        self._seen[merchant, happened] = (since, count + 1)
        return 0 if count < self._per_s else None
