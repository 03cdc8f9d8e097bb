"""Every table, with the reason for every index. What is JSON is written by us: the same bytes on every database."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
    and_,
    bindparam,
    literal_column,
)

from service.db.packing import ANSWER, EVENT, STATE
from service.db.types import Id, Packed, PackedText, Text, UtcTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NOTABLE = ("anomaly", "contradicted", "parked", "stale")
"""States of receipts that are rare and looked for by operators; in this order in the index's condition."""

# A number that the database hands out and never hands out again (SQLite: rowid, see sqlite_autoincrement).
Number = BigInteger().with_variant(Integer(), "sqlite")

receipts = Table(
    "receipts",
    metadata,
    Column("id", Id, primary_key=True),  # UUIDv7: sorts by arrival
    Column("merchant", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),  # SHA-256 of the raw bytes
    Column("order_id", Text, nullable=False),
    Column("transaction_id", Text),
    Column("transaction_status", Text),  # as notified, unconfirmed
    Column("payment_type", Text),
    Column("received_at", UtcTime, nullable=False),
    Column("source_address", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON object: what a verifier may need later
    Column("key_fingerprint", Text, nullable=False),  # of the key that matched
    Column("amount_form", Text, nullable=False),  # which form of gross_amount matched
    Column("answer", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("due_at", UtcTime),  # when to ask (again); only while waiting
    Column("fence", BigInteger),  # the claim that will answer it
    Column(
        "repeat", Boolean, nullable=False, default=False
    ),  # asked in the lane of repeats (domain/limits.py)
    Column("answers", Integer, nullable=False, default=0),  # answers that left it open
    Column("failures", Integer, nullable=False, default=0),  # questions without an answer, in a row
    Column("seen_status", Text),  # what the last answer said, how often in a row, since when
    Column("seen_times", Integer, nullable=False, default=0),
    Column("seen_since", UtcTime),
    Column("duplicates", Integer, nullable=False, default=0),  # best effort
    Column("ended_at", UtcTime),
    # A duplicate has the same merchant, kind and digest. Its bytes name the same order, which stands first here
    # so that what belongs together lies together: digests alone would bring every receipt to a page of its own.
    UniqueConstraint("order_id", "merchant", "kind", "digest"),
)
Index(
    "ix_receipts_due",  # what to ask next; a paused merchant's backlog is nobody else's
    receipts.c.merchant,
    receipts.c.repeat,
    receipts.c.due_at,
    sqlite_where=receipts.c.state == "waiting",
    postgresql_where=receipts.c.state == "waiting",
)
Index(
    "ix_receipts_open_order",  # the open receipts that one question answers
    receipts.c.merchant,
    receipts.c.order_id,
    receipts.c.transaction_id,
    sqlite_where=receipts.c.state == "waiting",
    postgresql_where=receipts.c.state == "waiting",
)
Index(
    "ix_receipts_open_transaction",  # who else claims this transaction
    receipts.c.merchant,
    receipts.c.transaction_id,
    sqlite_where=receipts.c.state == "waiting",
    postgresql_where=receipts.c.state == "waiting",
)
Index(
    "ix_receipts_notable",  # what an operator should look at
    receipts.c.state,
    receipts.c.id,
    sqlite_where=receipts.c.state.in_(NOTABLE),
    postgresql_where=receipts.c.state.in_(NOTABLE),
)
IS_NOTABLE = receipts.c.state.in_(bindparam("notable", NOTABLE, expanding=True, literal_execute=True))
"""Written out, not bound: only so does SQLite see that the index holds all that are asked for."""
Index(  # an order's timeline, and its first
    "ix_receipts_order_id_merchant", receipts.c.order_id, receipts.c.merchant, receipts.c.id
)

bodies = Table(
    "bodies",
    metadata,
    Column("receipt_id", Id, primary_key=True),
    Column("received_at", UtcTime, nullable=False),  # retention cuts by it
    Column("raw", LargeBinary, nullable=False),
)

claims = Table(
    "claims",
    metadata,
    Column("fence", Number, primary_key=True, autoincrement=True),
    Column("merchant", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("leased_until", UtcTime, nullable=False),
    UniqueConstraint("merchant", "order_id"),  # one question at a time per order
    sqlite_autoincrement=True,  # a fence is never given twice
)

checks = Table(
    "checks",  # what reconcile asks about although nobody notified it
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("transaction_id", Text, primary_key=True),  # empty: the order, of which nothing was heard
    Column("due_at", UtcTime, nullable=False),
    Column("failures", Integer, nullable=False, default=0),  # questions without an answer, in a row
    sqlite_with_rowid=False,  # the key is the table: it is not kept twice
)
Index("ix_checks_due", checks.c.merchant, checks.c.due_at)  # what to ask about next

confirmations = Table(
    "confirmations",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("merchant", Text, nullable=False),
    Column("order_id", Text, nullable=False),  # as notified or expected
    Column("transaction_id", Text),  # the payment that it speaks of, when there is one
    Column("ordinal", Integer),  # 1, 2, … per payment
    Column("cause", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("asked", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("answered_at", UtcTime, nullable=False),
    Column("http_status", SmallInteger),
    Column("answer", Packed(ANSWER)),  # the bytes of the answer
    Column("verdict", Text, nullable=False),
    UniqueConstraint("merchant", "transaction_id", "ordinal"),
    sqlite_autoincrement=True,
)
Index("ix_confirmations_merchant_order_id", confirmations.c.merchant, confirmations.c.order_id)

payments = Table(
    "payments",
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("transaction_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),  # the binding: never changes
    Column("bound_by", Text, nullable=False),  # which proof made the binding
    Column("version", Integer, nullable=False),
    Column("confirmations", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("payment_type", Text, nullable=False),
    Column("state", PackedText(STATE), nullable=False),  # PaymentState as JSON
    Column("dispute", Text),  # the contradicting answer, how often, since when: JSON
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)
Index("ix_payments_order_id_merchant", payments.c.order_id, payments.c.merchant)
Index("ix_payments_updated_at", payments.c.updated_at)  # the newest first, for lists …
Index("ix_payments_merchant_updated_at", payments.c.merchant, payments.c.updated_at)  # … of some merchants

transitions = Table(
    "transitions",
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("transaction_id", Text, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("confirmation_id", BigInteger, nullable=False),
    Column("previous_status", Text),
    Column("status", Text, nullable=False),
    Column("irregular", Boolean, nullable=False),
    Column("event_id", Id, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,  # the key is the table: it is not kept twice
)

events = Table(
    "events",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),  # order of insertion
    Column("position", BigInteger, unique=True),  # place in the log; null until the sequencer gave it
    Column("id", Id, nullable=False, unique=True),
    Column("merchant", Text, nullable=False),
    Column("transaction_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("body", PackedText(EVENT), nullable=False),  # the CloudEvent
    UniqueConstraint("merchant", "transaction_id", "sequence"),
    sqlite_autoincrement=True,
)
Index("ix_events_order_id_merchant", events.c.order_id, events.c.merchant)  # also asked without a merchant
Index("ix_events_made_at", events.c.made_at)  # seek by time

log = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row: 1
    Column("epoch", Text, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column(
        "probes", BigInteger, nullable=False, default=0
    ),  # writing an unchanged row would not reach the disk
    Column("created_at", UtcTime, nullable=False),
)

consumers = Table(
    "consumers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("types", Text, nullable=False),  # JSON array of patterns
    Column("merchants", Text, nullable=False),  # JSON array of names or "*"
    Column("start", Text, nullable=False),
    Column("lease_seconds", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("on_dead", Text, nullable=False),
    Column("push", Text),  # JSON object: url, secrets, …; null: it is lent to whoever calls
    Column("paused", Boolean, nullable=False, default=False),
    Column("pause_reason", Text),  # why this service paused it; null when an operator did
    Column("failures", Integer, nullable=False, default=0),  # pushes that failed in a row, …
    Column("failing_since", UtcTime),  # … since when …
    Column("last_failure", Text),  # … and why the last time
    Column("cursor", BigInteger, nullable=False),  # the last position it has passed
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("merchant", Text, nullable=False),
    Column("transaction_id", Text, nullable=False),
    Column("state", Text, nullable=False),  # leased, waiting, held, dead: outstanding ones only
    Column("batch", Text),  # the lease call that lent it: together with the position, the lease
    Column("attempt", Integer, nullable=False, default=0),
    Column("leased_until", UtcTime),
    Column("due_at", UtcTime),  # when it may be lent (again); null while held or dead
    Column("reason", Text),
    Column("updated_at", UtcTime, nullable=False),
)
SET_ASIDE = deliveries.c.state.in_([literal_column(f"'{state}'") for state in ("dead", "discarded", "held")])
"""Of these only an operator, or an earlier event's end, makes something again; the condition of their index."""
Index("ix_deliveries_due", deliveries.c.consumer, deliveries.c.due_at)
Index(
    "ix_deliveries_payment",  # is an earlier event of this payment outstanding?
    deliveries.c.consumer,
    deliveries.c.merchant,
    deliveries.c.transaction_id,
    deliveries.c.position,
)
Index(
    "ix_deliveries_aside",  # dead, held and discarded ones; lending and acking never touch it
    deliveries.c.consumer,
    deliveries.c.state,
    deliveries.c.position,
    sqlite_where=SET_ASIDE,
    postgresql_where=SET_ASIDE,
)
LATE = and_(deliveries.c.state == literal_column("'dead'"), deliveries.c.batch.is_not(None))
"""Dead, and may still be acked by whom it was lent to last; the condition of their index."""
Index(
    "ix_deliveries_late",  # those that a seek takes this from
    deliveries.c.consumer,
    deliveries.c.position,
    sqlite_where=LATE,
    postgresql_where=LATE,
)

acks = Table(
    "acks",  # leases acked of late, so that a repeated ack is told so for an hour and more
    metadata,
    Column("batch", Text, primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("positions", Text, nullable=False),  # JSON array
    Column("acked_at", UtcTime, nullable=False, index=True),
)

expectations = Table(
    "expectations",
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("gross_amount", Text, nullable=False),  # two decimals
    Column("expires_at", UtcTime),
    Column("transaction_id", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)
Index("ix_expectations_merchant_transaction_id", expectations.c.merchant, expectations.c.transaction_id)

oddities = Table(
    "oddities",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("merchant", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("source_address", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # cut at 16 KiB
    Column("size", Integer, nullable=False),  # what came
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_oddities_merchant_reason", oddities.c.merchant, oddities.c.reason, oddities.c.id)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("names", Text, nullable=False),  # JSON array
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)

merchant_states = Table(
    "merchant_states",
    metadata,
    Column("merchant", Text, primary_key=True),
    Column("access_fingerprint", Text, nullable=False),  # of the present keys and environment
    Column("confirmed_at", UtcTime),  # when these first brought a payment
    Column("paused_at", UtcTime),
    Column("pause_reason", Text),
    Column("updated_at", UtcTime, nullable=False),
)

relays = Table(
    "relays",  # one row a relay to a broker: where it is, and who relays
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("types", Text, nullable=False),  # JSON arrays of patterns: what the lag counts
    Column("merchants", Text, nullable=False),
    Column("epoch", Text, nullable=False),  # of the log that the position belongs to
    Column(
        "position", BigInteger, nullable=False
    ),  # the last one that the broker keeps, or that is not wanted
    Column("paused", Boolean, nullable=False, default=False),
    Column("owner", Text),  # the process that relays
    Column("fence", BigInteger, nullable=False),  # grows with each owner
    Column("leased_until", UtcTime),
    Column("error", Text),  # why it does not go on …
    Column("failing_since", UtcTime),  # … and since when
    Column("last_published_at", UtcTime),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

roles = Table(
    "roles",  # work that one process at a time does, and who shares a limit
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("leased_until", UtcTime, nullable=False),
)
