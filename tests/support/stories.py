"""What happens to payments while the service is tormented: short stories, each a generator of notifications.

A story moves payments on in the simulator and yields what Midtrans then posts. Some yield late, twice or out of
order on purpose. `statuses_of` says in the service's words what the simulator did.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

Body = dict[str, Any]
Story = Callable[[Any, str], Iterator[Body]]
AMOUNT = 100_000

_PLAIN = {
    "pending": "pending",
    "authorize": "authorized",
    "settlement": "settled",
    "expire": "expired",
    "cancel": "cancelled",
    "failure": "failed",
    "refund": "refunded",
    "partial_refund": "partially_refunded",
    "chargeback": "charged_back",
}


def statuses_of(payment: Any) -> list[str]:
    """Return every status that the simulator's *payment* had, in order."""
    words: list[str] = []
    for word in payment.history:
        if word == "deny":
            words.append("reversed" if "settled" in words else "denied")
        elif word == "capture":
            undecided = payment.card_outcome == "challenge" and "challenged" not in words
            words.append("challenged" if undecided else "captured")
        else:
            words.append(_PLAIN[word])
    return words


def charge(account: Any, order_id: str, payment_type: str = "gopay", **more: Any) -> str:
    """Charge; return the transaction_id."""
    again = more.pop("again", False)
    details = {"order_id": order_id, "gross_amount": AMOUNT}
    answer = account.charge(
        {"payment_type": payment_type, "transaction_details": details, **more}, same_order=again
    )
    assert "transaction_id" in answer, answer
    return str(answer["transaction_id"])


def _bank(bank: str) -> Body:
    return {"bank_transfer": {"bank": bank}}


def _card(number: str, **more: str) -> Body:
    return {"credit_card": {"token_id": f"{number[:8]}-{number[-4:]}-token", **more}}


def _refund(account: Any, payment: str, amount: int) -> Body:
    key = f"r{amount}-{payment}"
    assert (
        account.refund(payment, {"refund_key": key, "amount": amount, "reason": "x"})["status_code"] == "200"
    )
    notification: Body = account.notification(payment)
    return notification


def paid(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "bank_transfer", **_bank("bca"))
    yield account.notification(payment)
    yield account.pay(payment)


def paid_before_pending_came(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "bank_transfer", **_bank("bni"))
    late = account.notification(payment)
    yield account.pay(payment)
    yield late


def paid_and_told_twice(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id)
    told = account.pay(payment)
    yield told
    yield told


def cancelled(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id)
    yield account.notification(payment)
    account.cancel(payment)
    yield account.notification(payment)


def expired(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "qris")
    yield account.notification(payment)
    assert account.expire(payment)["status_code"] == "407"
    yield account.notification(payment)


def refunded(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id)
    yield account.pay(payment)
    yield _refund(account, payment, AMOUNT)


def refunded_in_parts(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "qris")
    yield account.notification(payment)
    yield account.pay(payment)
    yield _refund(account, payment, 30_000)
    yield _refund(account, payment, 20_000)
    yield account.confirm_refund(payment, f"r30000-{payment}")
    yield _refund(account, payment, 50_000)


def card_settled(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "credit_card", **_card("4811111111111114"))
    yield account.notification(payment)
    yield account.settle(payment)


def challenge_approved(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "credit_card", **_card("4511111111111117"))
    yield account.notification(payment)
    account.approve(payment)
    yield account.notification(payment)
    yield account.settle(payment)


def challenge_denied(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "credit_card", **_card("4511111111111117"))
    yield account.notification(payment)
    account.deny(payment)
    yield account.notification(payment)


def denied_then_paid(account: Any, order_id: str) -> Iterator[Body]:
    denied = charge(account, order_id, "credit_card", **_card("4911111111111113"))
    yield account.notification(denied)
    second = charge(account, order_id, again=True)
    yield account.notification(second)
    yield account.pay(second)


def authorized_then_captured(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "credit_card", **_card("4811111111111114", type="authorize"))
    yield account.notification(payment)
    account.capture({"transaction_id": payment, "gross_amount": AMOUNT})
    yield account.notification(payment)


def dana(account: Any, order_id: str) -> Iterator[Body]:
    """GET status knows the transaction_id alone, and answers it in the order_id's place."""
    payment = charge(account, order_id, "dana")
    yield account.notification(payment)
    yield account.pay(payment)


def settled_then_reversed(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id, "bank_transfer", **_bank("permata"))
    yield account.pay(payment)
    yield account.reverse(payment)


def paid_twice(account: Any, order_id: str) -> Iterator[Body]:
    first = charge(account, order_id, "bank_transfer", **_bank("bri"))
    yield account.notification(first)
    second = charge(account, order_id, "shopeepay", again=True)
    yield account.pay(second)
    yield account.pay(first)


def paid_with_a_fee(account: Any, order_id: str) -> Iterator[Body]:
    payment = charge(account, order_id)
    yield account.notification(payment)
    yield account.pay(payment, amount_paid=AMOUNT + 2_500)


STORIES: tuple[Story, ...] = (
    paid,
    paid_before_pending_came,
    paid_and_told_twice,
    cancelled,
    expired,
    refunded,
    refunded_in_parts,
    card_settled,
    challenge_approved,
    challenge_denied,
    denied_then_paid,
    authorized_then_captured,
    dana,
    settled_then_reversed,
    paid_twice,
    paid_with_a_fee,
)


def endless(dice: random.Random) -> Iterator[Story]:
    """Yield stories for ever, each as often as any other."""
    while True:
        yield from dice.sample(STORIES, k=len(STORIES))
