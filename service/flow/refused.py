"""Step 1b: when a merchant's keys have changed, what was answered 403 for want of the right one is taken in."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, Protocol
from uuid import UUID

import structlog
import uuid_utils.compat

from service.domain.answers import Happened
from service.domain.merchant import Merchant
from service.domain.receiving import reconsider
from service.domain.records import NewReceipt, Oddity, StoredReceipt

BATCH: Final = 50
"""Receipts written by one unit of work, so that notifications coming in meanwhile hardly wait."""

log = structlog.get_logger()


class KeptOddity(Protocol):
    """A refused body with the number by which it can be forgotten."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def oddity(self) -> Oddity:
        """What came."""


class Oddities(Protocol):
    """What was refused."""

    def newest(self, *, merchant: str, reason: str) -> Sequence[KeptOddity]:
        """Return those of one merchant and reason, the newest first."""

    def forget(self, numbers: Collection[int]) -> None:
        """Drop those that were dealt with."""


class Receipts(Protocol):
    """Notifications as they came."""

    def add_many(self, new: Sequence[NewReceipt]) -> Sequence[StoredReceipt]:
        """Store what is not there yet."""


class ReconsiderUnit(Protocol):
    """What is needed of a unit of work."""

    @property
    def oddities(self) -> Oddities:
        """What was refused."""

    @property
    def receipts(self) -> Receipts:
        """What was taken in."""


class ReconsiderStore(Protocol):
    """The store: reads at once, writes in units."""

    def read(self, query: Callable[[Any], Sequence[KeptOddity]]) -> Sequence[KeptOddity]:
        """Run *query* in a transaction of its own."""

    def write(self, work: Callable[[Any], None]) -> Future[None]:
        """Run *work* in the writer; the future is done after the commit."""


def take_in_refused(
    store: ReconsiderStore,
    merchants: Mapping[str, Merchant],
    *,
    new_id: Callable[[], UUID] = uuid_utils.compat.uuid7,
) -> int:
    """Verify the kept 403s of every merchant with its present keys; return how many became receipts.

    To be called once the store has started: keys change by a restart. Where no key changed nothing verifies, and
    nothing is written. Receipt and oddity change together, so that a crash in between repeats or loses nothing.
    """
    taken = 0
    for merchant in merchants.values():
        verified = _verified(store, merchant, new_id)
        for start in range(0, len(verified), BATCH):
            store.write(_exchange(verified[start : start + BATCH])).result()
        if verified:
            log.info("refused_taken_in", merchant=merchant.name, count=len(verified))
        taken += len(verified)
    return taken


def _verified(
    store: ReconsiderStore, merchant: Merchant, new_id: Callable[[], UUID]
) -> list[tuple[int, NewReceipt]]:
    def refused(unit: ReconsiderUnit) -> Sequence[KeptOddity]:
        return unit.oddities.newest(merchant=merchant.name, reason=Happened.SIGNATURE.value)

    oldest_first = reversed(store.read(refused))
    judged = ((kept.number, reconsider(kept.oddity, merchant, new_id=new_id)) for kept in oldest_first)
    return [(number, receipt) for number, receipt in judged if receipt is not None]


def _exchange(verified: Sequence[tuple[int, NewReceipt]]) -> Callable[[ReconsiderUnit], None]:
    def work(unit: ReconsiderUnit) -> None:
        unit.receipts.add_many([receipt for _, receipt in verified])
        unit.oddities.forget([number for number, _ in verified])

    return work
