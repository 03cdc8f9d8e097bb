"""Notifications as they came: stored once, in bulk; the same bytes again are counted."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import bindparam, exists, null, select, update

from django_midtrans.notification import NotificationKind, NotJson, parse_object
from django_midtrans.payment import PaymentState
from service.db import postgres_receipts
from service.db.receipt_rows import headers_text
from service.db.tables import bodies, receipts
from service.db.topic import Topic
from service.db.types import microseconds
from service.domain.confirmation import says_more
from service.domain.records import ENDED, HELD, NewReceipt, ReceiptState, StoredReceipt

if TYPE_CHECKING:
    from service.db.unit import Unit

_Key = tuple[str, str, bytes]

_COLUMNS = [
    "id",
    "merchant",
    "kind",
    "digest",
    "order_id",
    "transaction_id",
    "transaction_status",
    "payment_type",
    "received_at",
    "source_address",
    "path",
    "headers",
    "key_fingerprint",
    "amount_form",
    "answer",
    "state",
    "reason",
    "due_at",
    "repeat",
    "answers",
    "failures",
    "seen_times",
    "duplicates",
]
# As text for the driver, values in its terms: SQLAlchemy compiles an INSERT .. ON CONFLICT anew every time, which
# costs as much as storing 15 receipts (0.35 ms), and its way of binding doubles the cost of each row.
_INSERT = (
    f"INSERT INTO receipts ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' for _ in _COLUMNS)}) "  # noqa: S608
    "ON CONFLICT (merchant, kind, digest) DO NOTHING"
)
_FRESH = (False, 0, 0, 0, 0)  # repeat … duplicates
_INSERT_BODY = "INSERT INTO bodies (receipt_id, received_at, raw) VALUES (?, ?, ?)"
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


_HOLDERS = select(receipts.c.id, receipts.c.digest).where(
    receipts.c.merchant == bindparam("b_merchant"),
    receipts.c.kind == bindparam("b_kind"),
    receipts.c.digest.in_(bindparam("b_digests", expanding=True)),
)
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
        if self._connection.dialect.name == "postgresql":
            added, ids = self._insert_in_one(firsts)
        else:
            added, ids = self._insert_in_two(firsts)
        if any(receipt.state is ReceiptState.WAITING for receipt in added):
            self._unit.announce(Topic.RECEIPTS)
        return ids

    def _insert_in_one(
        self, firsts: Mapping[_Key, NewReceipt]
    ) -> tuple[list[NewReceipt], Mapping[_Key, UUID]]:
        new = postgres_receipts.insert(self._connection, list(firsts.values()), now=self._unit.now)
        ids: dict[_Key, UUID] = {key: receipt.id for key, receipt in firsts.items()}
        ids |= self._holders([key for key, receipt in firsts.items() if receipt.id not in new])
        return [receipt for receipt in firsts.values() if receipt.id in new], ids

    def _insert_in_two(
        self, firsts: Mapping[_Key, NewReceipt]
    ) -> tuple[list[NewReceipt], Mapping[_Key, UUID]]:
        rows = [_row(receipt) for receipt in firsts.values()]
        inserted = self._connection.exec_driver_sql(_INSERT, rows).rowcount
        ids: Mapping[_Key, UUID] = {key: receipt.id for key, receipt in firsts.items()}
        if inserted < len(firsts):  # only then it is worth asking who was first
            ids = self._holders(firsts)
        added = [receipt for key, receipt in firsts.items() if ids[key] == receipt.id]
        if added:
            self._connection.exec_driver_sql(_INSERT_BODY, [_body_row(receipt) for receipt in added])
        return added, ids

    def _holders(self, keys: Collection[_Key]) -> Mapping[_Key, UUID]:
        digests: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        for merchant, kind, digest in keys:
            digests[merchant, kind].append(digest)
        found: dict[_Key, UUID] = {}
        for (merchant, kind), theirs in digests.items():  # one index search each: no list of triples has one
            which = {"b_merchant": merchant, "b_kind": kind, "b_digests": theirs}
            for row in self._connection.execute(_HOLDERS, which):
                found[merchant, kind, row.digest] = row.id
        return found

    def _note(self, repeats: Sequence[NewReceipt], ids: Mapping[_Key, UUID]) -> None:
        """Count *repeats* of what *ids* holds; a held receipt goes on if its repeat would be waiting."""
        if not repeats:
            return
        times = Counter(ids[_key(one)] for one in repeats)
        self._connection.execute(_COUNT_REPEATS, [{"first": id_, "times": n} for id_, n in times.items()])
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


def _row(receipt: NewReceipt) -> tuple[object, ...]:
    received_at = microseconds(receipt.received_at)
    return (
        receipt.id.bytes,
        receipt.merchant,
        receipt.kind,
        receipt.digest,
        receipt.order_id,
        receipt.transaction_id,
        receipt.transaction_status,
        receipt.payment_type,
        received_at,
        receipt.source_address,
        receipt.path,
        headers_text(tuple(receipt.headers.items())),
        receipt.key_fingerprint,
        receipt.amount_form,
        receipt.answer,
        receipt.state.value,
        receipt.reason,
        received_at if receipt.state is ReceiptState.WAITING else None,
        *_FRESH,
    )


def _body_row(receipt: NewReceipt) -> tuple[object, ...]:
    return receipt.id.bytes, microseconds(receipt.received_at), receipt.raw
