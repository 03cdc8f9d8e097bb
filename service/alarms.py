"""What a person must look at: one line in the log and one counter each, and what to do about it."""

from collections.abc import Mapping

import structlog

from service.metrics import Metrics

log = structlog.get_logger(__name__)

ALARMS: Mapping[str, str] = {
    "two_payments": "Two payments of one order are paid: find the customer and refund one of them.",
    "irregular": (
        "Midtrans reports a step that it documents as impossible, three times over ten minutes, so it "
        "was applied: compare the payment with the dashboard before goods go out."
    ),
    "rival_claim": (
        "Two orders claim one transaction that only its own answer can prove: look both up in the "
        "dashboard; the first one keeps it until you decide."
    ),
    "status_unknown": (
        "Midtrans used a status word that this version does not know, nothing was changed: look at the "
        "payment in the dashboard and update the service."
    ),
    "partial_refund_without_amount": (
        "A partial refund came without its amount, so no event was made yet: look the refund up in the "
        "dashboard; it is asked again by itself."
    ),
    "partial_chargeback_without_amount": (
        "A partial chargeback came without its amount and counts as 0.00: look the amount up in the "
        "dashboard."
    ),
    "amount_missing": (
        "Midtrans confirmed a payment without its amount, so nothing was changed: look at the payment in the "
        "dashboard; it is asked again by itself."
    ),
    "refunded_more_than_paid": (
        "Midtrans reports more refunded than was paid; it counts as reported: compare the refunds in the "
        "dashboard."
    ),
    "currency_not_idr": (
        "Midtrans reports a currency other than rupiah; it counts as reported: see that your shop reads the "
        "currency of an amount before it compares."
    ),
    "parked": (
        "A notification could not be confirmed in all the time given: look at its receipt, mend the "
        "cause, and set it going again."
    ),
    "anomaly": (
        "A notification names a transaction of another order: look at its source address; it may be "
        "forged. No event was made."
    ),
    "contradicted": (
        "Midtrans contradicted a notification of its own three times over ten minutes: look at the "
        "payment in the dashboard; the body may be forged."
    ),
    "keys_refused": (
        "Midtrans refuses every server key of the merchant, confirming pauses: put the right key into "
        "the settings and start again; nothing is lost meanwhile."
    ),
    "wrong_environment": (
        "Midtrans knows none of the merchant's orders: compare is_production and the key with the "
        "dashboard that sends the notifications."
    ),
    "consumer_dead": (
        "An event used up all attempts of a consumer: read the consumer's dead letters, mend it, then "
        "redrive or discard them."
    ),
    "relay_refused": (
        "A broker will not take an event, or the relay, as things are set up: the reason says what to mend. The "
        "relay tries again by itself and skips nothing; all other relays go on."
    ),
    "relay_stuck": (
        "A broker has been failing for a minute or more: see that it runs, can be reached and is not full. The relay "
        "goes on by itself from where it is; nothing is lost meanwhile."
    ),
    "push_gone": (
        "The receiver of a push consumer answered 410 Gone, so the consumer is paused: give it another URL or "
        "mend the receiver, then resume it; or delete it. Its events wait."
    ),
    "push_failing": (
        "A push consumer's endpoint has failed for long, so the consumer is paused: mend the endpoint, then "
        "resume the consumer. Its events wait."
    ),
    "store_broken": (
        "The database file failed a write or is damaged; the service answers 507 and ends: look at the disk and "
        "at the kernel's log, then start it again or restore the last backup."
    ),
    "store_unavailable": (
        "Nothing can be stored, notifications are answered 507 and come again: look at the disk (full, "
        "read-only?) and at the log."
    ),
}
"""Every alarm by name, with what to do about it."""


class Alarms:
    """Sounds alarms."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def sound(self, alarm: str, *, merchant: str, **facts: object) -> None:
        """Log the *alarm* (one of `ALARMS`) with its *facts* and count it; never raises for a name."""
        log.error("alarm", alarm=alarm, merchant=merchant, **facts, to_do=ALARMS.get(alarm, ""))
        self._metrics.alarms.labels(merchant, alarm).inc()
