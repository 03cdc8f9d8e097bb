"""Step 1c: the same bytes again. Seen is not done: while the payment is behind what they say, they set it going."""

from collections.abc import Callable, Collection
from concurrent.futures import Future
from threading import Lock
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from django_midtrans.facts import FactsUnreadable, read_facts
from django_midtrans.notification import parse_object
from django_midtrans.payment import compare
from django_midtrans.status import Relation
from service.domain.records import EndedReceipt, PaymentRecord

BUSY: Final = 100
"""With so much waiting for the writer, a duplicate is only counted: Midtrans sends it again, or reconcile asks."""

log = structlog.get_logger()


class Receipts(Protocol):
    """Notifications as they came."""

    def ended(self, receipt_id: UUID) -> EndedReceipt | None:
        """Return the receipt if it has ended and its body is still kept."""

    def reopen(self, ids: Collection[UUID]) -> int:
        """Set receipts going again."""


class Payments(Protocol):
    """What Midtrans confirmed."""

    def get(self, merchant: str, transaction_id: str) -> PaymentRecord | None:
        """Return the payment, if any."""


class Unit(Protocol):
    """What is needed of a unit of work."""

    @property
    def receipts(self) -> Receipts:
        """What was taken in."""

    @property
    def payments(self) -> Payments:
        """What was confirmed."""


class Store(Protocol):
    """The store."""

    @property
    def waiting(self) -> int:
        """How much waits for the writer."""

    def write(self, work: Callable[[Any], bool]) -> Future[bool]:
        """Run *work* in the writer; the future is done after the commit."""


class Reviver:
    """Is told of every duplicate, after its answer was decided; never waits and never raises. Safe under threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: set[UUID] = set()
        self._lock = Lock()

    def __call__(self, receipt_id: UUID) -> None:
        """Have the receipt looked at, unless that is under way or the writer has better things to do."""
        if self._store.waiting >= BUSY:
            return
        with self._lock:
            if receipt_id in self._under_way:  # one body sent a thousand times costs one look a commit
                return
            self._under_way.add(receipt_id)

        def looked_at(future: Future[bool]) -> None:
            with self._lock:
                self._under_way.discard(receipt_id)
            _log_failure(future)

        self._store.write(lambda unit: revive(unit, receipt_id)).add_done_callback(looked_at)


def revive(unit: Unit, receipt_id: UUID) -> bool:
    """Set an ended receipt going again if its payment is behind what it says; say whether it was.

    Held ones were set going where the duplicate was counted.
    """
    receipt = unit.receipts.ended(receipt_id)
    if receipt is None or receipt.transaction_id is None:
        return False
    payment = unit.payments.get(receipt.merchant, receipt.transaction_id)
    if payment is None or not _says_more(receipt.raw, payment):
        return False
    return unit.receipts.reopen([receipt_id]) > 0


def _says_more(raw: bytes, payment: PaymentRecord) -> bool:
    try:
        said = read_facts(parse_object(raw))
    except FactsUnreadable:
        return False
    return said.status is not None and compare(payment.state, said) is Relation.NEXT


def _log_failure(future: Future[bool]) -> None:
    if (error := future.exception()) is not None:
        log.warning("duplicate_not_looked_at", why=str(error))
