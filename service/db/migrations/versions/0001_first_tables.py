"""Every table of the first version.

Revision ID: 0001
Revises: nothing
"""

import sqlalchemy as sa
from alembic import op

from service.db.types import Id, Text, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "acks",
        sa.Column("batch", Text, nullable=False),
        sa.Column("consumer", Text, nullable=False),
        sa.Column("positions", Text, nullable=False),
        sa.Column("acked_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("batch", name="pk_acks"),
    )
    op.create_index("ix_acks_acked_at", "acks", ["acked_at"])

    op.create_table(
        "bodies",
        sa.Column("receipt_id", Id(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("receipt_id", name="pk_bodies"),
    )
    op.create_table(
        "checks",
        sa.Column("merchant", Text, nullable=False),
        sa.Column("order_id", Text, nullable=False),
        sa.Column("transaction_id", Text, nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("merchant", "order_id", "transaction_id", name="pk_checks"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_checks_due", "checks", ["merchant", "due_at"])

    op.create_table(
        "claims",
        sa.Column(
            "fence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("merchant", Text, nullable=False),
        sa.Column("order_id", Text, nullable=False),
        sa.Column("owner", Text, nullable=False),
        sa.Column("leased_until", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("fence", name="pk_claims"),
        sa.UniqueConstraint("merchant", "order_id", name="uq_claims_merchant_order_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "confirmations",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("merchant", Text, nullable=False),
        sa.Column("order_id", Text, nullable=False),
        sa.Column("transaction_id", Text, nullable=True),
        sa.Column("ordinal", sa.Integer(), nullable=True),
        sa.Column("cause", Text, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("asked", Text, nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.Column("answered_at", UtcTime(), nullable=False),
        sa.Column("http_status", sa.SmallInteger(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("verdict", Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_confirmations"),
        sa.UniqueConstraint(
            "merchant", "transaction_id", "ordinal", name="uq_confirmations_merchant_transaction_id_ordinal"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_confirmations_merchant_order_id", "confirmations", ["merchant", "order_id"])

    op.create_table(
        "consumers",
        sa.Column("name", Text, nullable=False),
        sa.Column("types", Text, nullable=False),
        sa.Column("merchants", Text, nullable=False),
        sa.Column("start", Text, nullable=False),
        sa.Column("lease_seconds", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("on_dead", Text, nullable=False),
        sa.Column("push", Text, nullable=True),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("pause_reason", Text, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcTime(), nullable=True),
        sa.Column("last_failure", Text, nullable=True),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_consumers"),
    )
    op.create_table(
        "deliveries",
        sa.Column("consumer", Text, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("merchant", Text, nullable=False),
        sa.Column("transaction_id", Text, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("batch", Text, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("leased_until", UtcTime(), nullable=True),
        sa.Column("due_at", UtcTime(), nullable=True),
        sa.Column("reason", Text, nullable=True),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("consumer", "position", name="pk_deliveries"),
    )
    op.create_index(
        "ix_deliveries_aside",
        "deliveries",
        ["consumer", "state", "position"],
        sqlite_where=sa.text("state IN ('dead', 'discarded', 'held')"),
        postgresql_where=sa.text("state IN ('dead', 'discarded', 'held')"),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["consumer", "due_at"])
    op.create_index(
        "ix_deliveries_late",
        "deliveries",
        ["consumer", "position"],
        sqlite_where=sa.text("state = 'dead' AND batch IS NOT NULL"),
        postgresql_where=sa.text("state = 'dead' AND batch IS NOT NULL"),
    )
    op.create_index(
        "ix_deliveries_payment", "deliveries", ["consumer", "merchant", "transaction_id", "position"]
    )

    op.create_table(
        "events",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("id", Id(), nullable=False),
        sa.Column("merchant", Text, nullable=False),
        sa.Column("transaction_id", Text, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("order_id", Text, nullable=False),
        sa.Column("type", Text, nullable=False),
        sa.Column("made_at", UtcTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_events"),
        sa.UniqueConstraint("id", name="uq_events_id"),
        sa.UniqueConstraint(
            "merchant", "transaction_id", "sequence", name="uq_events_merchant_transaction_id_sequence"
        ),
        sa.UniqueConstraint("position", name="uq_events_position"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_made_at", "events", ["made_at"])
    op.create_index("ix_events_order_id_merchant", "events", ["order_id", "merchant"])

    op.create_table(
        "expectations",
        sa.Column("merchant", Text, nullable=False),
        sa.Column("order_id", Text, nullable=False),
        sa.Column("gross_amount", Text, nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.Column("transaction_id", Text, nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("merchant", "order_id", name="pk_expectations"),
    )
    op.create_index("ix_expectations_merchant_transaction_id", "expectations", ["merchant", "transaction_id"])

    op.create_table(
        "log",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", Text, nullable=False),
        sa.Column("last_position", sa.BigInteger(), nullable=False),
        sa.Column("probes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log"),
    )
    op.create_table(
        "merchant_states",
        sa.Column("merchant", Text, nullable=False),
        sa.Column("access_fingerprint", Text, nullable=False),
        sa.Column("confirmed_at", UtcTime(), nullable=True),
        sa.Column("paused_at", UtcTime(), nullable=True),
        sa.Column("pause_reason", Text, nullable=True),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("merchant", name="pk_merchant_states"),
    )
    op.create_table(
        "oddities",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("merchant", Text, nullable=False),
        sa.Column("reason", Text, nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("source_address", Text, nullable=False),
        sa.Column("path", Text, nullable=False),
        sa.Column("headers", Text, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("detail", Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_oddities"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_oddities_merchant_reason", "oddities", ["merchant", "reason", "id"])

    op.create_table(
        "payments",
        sa.Column("merchant", Text, nullable=False),
        sa.Column("transaction_id", Text, nullable=False),
        sa.Column("order_id", Text, nullable=False),
        sa.Column("bound_by", Text, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.Column("status", Text, nullable=False),
        sa.Column("outcome", Text, nullable=False),
        sa.Column("payment_type", Text, nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("dispute", Text, nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("merchant", "transaction_id", name="pk_payments"),
    )
    op.create_index("ix_payments_merchant_updated_at", "payments", ["merchant", "updated_at"])
    op.create_index("ix_payments_order_id_merchant", "payments", ["order_id", "merchant"])
    op.create_index("ix_payments_updated_at", "payments", ["updated_at"])

    op.create_table(
        "receipts",
        sa.Column("id", Id(), nullable=False),
        sa.Column("merchant", Text, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("order_id", Text, nullable=False),
        sa.Column("transaction_id", Text, nullable=True),
        sa.Column("transaction_status", Text, nullable=True),
        sa.Column("payment_type", Text, nullable=True),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("source_address", Text, nullable=False),
        sa.Column("path", Text, nullable=False),
        sa.Column("headers", Text, nullable=False),
        sa.Column("key_fingerprint", Text, nullable=False),
        sa.Column("amount_form", Text, nullable=False),
        sa.Column("answer", sa.SmallInteger(), nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("reason", Text, nullable=True),
        sa.Column("due_at", UtcTime(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("repeat", sa.Boolean(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("seen_status", Text, nullable=True),
        sa.Column("seen_times", sa.Integer(), nullable=False),
        sa.Column("seen_since", UtcTime(), nullable=True),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_receipts"),
        sa.UniqueConstraint(
            "order_id", "merchant", "kind", "digest", name="uq_receipts_order_id_merchant_kind_digest"
        ),
    )
    op.create_index(
        "ix_receipts_due",
        "receipts",
        ["merchant", "repeat", "due_at"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_receipts_notable",
        "receipts",
        ["state", "id"],
        sqlite_where=sa.text("state IN ('anomaly', 'contradicted', 'parked', 'stale')"),
        postgresql_where=sa.text("state IN ('anomaly', 'contradicted', 'parked', 'stale')"),
    )
    op.create_index(
        "ix_receipts_open_order",
        "receipts",
        ["merchant", "order_id", "transaction_id"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_receipts_open_transaction",
        "receipts",
        ["merchant", "transaction_id"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("ix_receipts_order_id_merchant", "receipts", ["order_id", "merchant", "id"])

    op.create_table(
        "relays",
        sa.Column("name", Text, nullable=False),
        sa.Column("kind", Text, nullable=False),
        sa.Column("types", Text, nullable=False),
        sa.Column("merchants", Text, nullable=False),
        sa.Column("epoch", Text, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("owner", Text, nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("leased_until", UtcTime(), nullable=True),
        sa.Column("error", Text, nullable=True),
        sa.Column("failing_since", UtcTime(), nullable=True),
        sa.Column("last_published_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_relays"),
    )
    op.create_table(
        "roles",
        sa.Column("name", Text, nullable=False),
        sa.Column("owner", Text, nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("leased_until", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_roles"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", Text, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("role", Text, nullable=False),
        sa.Column("names", Text, nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_table(
        "transitions",
        sa.Column("merchant", Text, nullable=False),
        sa.Column("transaction_id", Text, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("confirmation_id", sa.BigInteger(), nullable=False),
        sa.Column("previous_status", Text, nullable=True),
        sa.Column("status", Text, nullable=False),
        sa.Column("irregular", sa.Boolean(), nullable=False),
        sa.Column("event_id", Id(), nullable=False),
        sa.Column("made_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("merchant", "transaction_id", "sequence", name="pk_transitions"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("transitions")
    op.drop_table("tokens")
    op.drop_table("roles")
    op.drop_table("relays")
    op.drop_table("receipts")
    op.drop_table("payments")
    op.drop_table("oddities")
    op.drop_table("merchant_states")
    op.drop_table("log")
    op.drop_table("expectations")
    op.drop_table("events")
    op.drop_table("deliveries")
    op.drop_table("consumers")
    op.drop_table("confirmations")
    op.drop_table("claims")
    op.drop_table("checks")
    op.drop_table("bodies")
    op.drop_table("acks")
