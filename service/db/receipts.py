"""Notifications as they came: stored once, in bulk; the same bytes again are counted."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import bindparam, exists, null, select, update

from django_midtrans.notification import NotificationKind, NotJson, parse_object
from django_midtrans.payment import PaymentState
from service.db import postgres_receipts, sqlite_receipts
from service.db.receipt_rows import hold_receipts
from service.db.tables import bodies, receipts
from service.db.topic import Topic
from service.domain.confirmation import says_more
from service.domain.records import ENDED, HELD, NewReceipt, ReceiptState, StoredReceipt

if TYPE_CHECKING:
    from service.db.unit import Unit

_Key = tuple[str, str, bytes]

_SET_GOING = {  # from the beginning: what earlier answers said is spent
    "state": ReceiptState.WAITING.value,
    "reason": null(),
    "fence": null(),
    "answers": 0,
    "failures": 0,
    "seen_status": null(),
    "seen_times": 0,
    "seen_since": null(),
    "ended_at": null(),
}
_HAS_BODY = exists().where(bodies.c.receipt_id == receipts.c.id)
"""Retention may just have cut it: what cannot be judged any more is never set going."""
_COUNT_REPEATS = (
    update(receipts)
    .where(receipts.c.id == bindparam("first"))
    .values(duplicates=receipts.c.duplicates + bindparam("times"))
)


_ON_POSTGRES = postgres_receipts.holders
_ON_SQLITE = sqlite_receipts.holders
_ENDED = (
    select(receipts.c.id, receipts.c.merchant, receipts.c.order_id, receipts.c.transaction_id, bodies.c.raw)
    .join(bodies, bodies.c.receipt_id == receipts.c.id)
    .where(
        receipts.c.id.in_(bindparam("b_ids", expanding=True)),
        receipts.c.state.in_(sorted(state.value for state in ENDED)),
    )
)


class Receipts:
    """Queries on receipts and their bodies."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def add_many(self, new: Sequence[NewReceipt]) -> list[StoredReceipt]:
        """Store what is not there yet; say of each, in order, which receipt holds it and whether it is a repeat.

        Equal ones within *new* become one. A repeat is counted, and sets a held receipt going again if it would
        itself be waiting. All or nothing: raises what the database raised.
        """
        firsts: dict[_Key, NewReceipt] = {}
        for receipt in new:
            firsts.setdefault(_key(receipt), receipt)
        ids = self._insert(firsts) if firsts else {}
        added = {key for key, first in firsts.items() if ids[key] == first.id}
        stored, repeats = [], []
        for receipt in new:
            key = _key(receipt)
            stored.append(StoredReceipt(ids[key], duplicate=key not in added))
            if key in added:
                added.remove(key)  # the next one like it is a repeat
            else:
                repeats.append(receipt)
        self._note(repeats, ids)
        return stored

    def reopen(self, ids: Collection[UUID]) -> int:
        """Set held and ended receipts going again, due now; return how many. Waiting ones are left alone."""
        return self._set_going(ids, [state.value for state in HELD | ENDED])

    def reopen_held(self, merchant: str, order_id: str) -> int:
        """Set the order's held receipts of known kinds going again, due now; return how many."""
        held = select(receipts.c.id).where(
            receipts.c.merchant == merchant,
            receipts.c.order_id == order_id,
            receipts.c.kind == NotificationKind.PAYMENT.value,
            receipts.c.state.in_([state.value for state in HELD]),
        )
        return self.reopen(list(self._connection.execute(held).scalars()))

    def _insert(self, firsts: Mapping[_Key, NewReceipt]) -> Mapping[_Key, UUID]:
        """Insert what is new, bodies too; return which receipt holds each key."""
        new = list(firsts.values())
        if self._connection.dialect.name == "postgresql":
            added, holders = postgres_receipts.insert(self._connection, new, now=self._unit.now), _ON_POSTGRES
        else:
            added, holders = sqlite_receipts.insert(self._connection, new), _ON_SQLITE
        if any(receipt.state is ReceiptState.WAITING and receipt.id in added for receipt in new):
            self._unit.announce(Topic.RECEIPTS)
        repeated = [receipt for receipt in new if receipt.id not in added]
        held_by = holders(self._connection, repeated) if repeated else {}
        return {
            key: receipt.id if receipt.id in added else held_by[receipt.id] for key, receipt in firsts.items()
        }

    def _note(self, repeats: Sequence[NewReceipt], ids: Mapping[_Key, UUID]) -> None:
        """Count *repeats* of what *ids* holds; a held receipt goes on if its repeat would be waiting."""
        if not repeats:
            return
        times = Counter(ids[_key(one)] for one in repeats)
        self._connection.execute(
            _COUNT_REPEATS, [{"first": id_, "times": n} for id_, n in sorted(times.items())]
        )
        waiting = {ids[_key(one)] for one in repeats if one.state is ReceiptState.WAITING}
        if waiting:
            # in the lane of repeats: anyone can send it again
            self._set_going(waiting, [state.value for state in HELD], repeat=True)
            self._set_going(self._that_say_more(waiting), [state.value for state in ENDED], repeat=True)

    def _that_say_more(self, ids: Collection[UUID]) -> list[UUID]:
        """Return those that have ended and of which the payment is still behind what they say."""
        payments = self._unit.payments
        more = []
        for row in self._connection.execute(_ENDED, {"b_ids": list(ids)}):
            if row.transaction_id is None:
                known = payments.records_of_order(row.merchant, row.order_id)
            else:
                known = list(payments.get_many(row.merchant, [row.transaction_id]).values())
            if known and _says_more(row.raw, [record.state for record in known]):
                more.append(row.id)
        return more

    def _set_going(self, ids: Collection[UUID], states: Collection[str], *, repeat: bool = False) -> int:
        if not ids:
            return 0
        if self._unit.shared:
            hold_receipts(self._connection, ids)
        reopened = self._connection.execute(
            update(receipts)
            .where(receipts.c.id.in_(ids), receipts.c.state.in_(states), _HAS_BODY)
            .values(_SET_GOING | {"due_at": self._unit.now, "repeat": repeat})
        ).rowcount
        if reopened:
            self._unit.announce(Topic.RECEIPTS)
        return reopened


def _says_more(raw: bytes, known: Sequence[PaymentState]) -> bool:
    try:
        return says_more(parse_object(raw), known)
    except NotJson:  # a body of before a parser grew strict must not keep the others from being stored
        return False


def _key(receipt: NewReceipt) -> _Key:
    return receipt.merchant, receipt.kind, receipt.digest
