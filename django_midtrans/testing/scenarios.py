"""What happens to payments in the world, by name: plain steps over an ``Account``. No HTTP and no sleeping.

A scenario is a generator that takes a step and yields what has to be waited for before the next one; who runs it
decides how long that is::

    for waits_for in SCENARIOS["expired"].play(account, "order-1"):
        time.sleep(1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from django_midtrans.testing.account import Account
from django_midtrans.testing.outside import ImpossibleStep
from django_midtrans.testing.payloads import charge_of

AMOUNT_IDR = 100_000
FEE_IDR = 2_500
Steps = Iterator[str]


@dataclass(frozen=True)
class Scenario:
    """One course of things, for one order.

    *ends* are the transaction_status words that the order's payments end in, in the order of their charges.
    ``play(account, order_id)`` raises ImpossibleStep where a step is refused: the order_id was used before, or
    somebody else moved the payment meanwhile.
    """

    name: str
    does: str
    ends: tuple[str, ...]
    play: Callable[[Account, str], Steps]


def _charge(account: Account, kind: str, order_id: str, *, again: bool = False) -> str:
    """Charge; return the transaction_id."""
    answer = account.charge(charge_of(kind, order_id, AMOUNT_IDR), same_order=again)
    if "transaction_id" not in answer:
        raise ImpossibleStep(f"the charge was refused: {answer['status_code']} {answer['status_message']}")
    return str(answer["transaction_id"])


def _must(answer: Mapping[str, object]) -> None:
    if answer["status_code"] not in {"200", "407"}:  # 407 is the success of expire
        raise ImpossibleStep(f"the call was refused: {answer['status_code']} {answer['status_message']}")


def _refund(account: Account, payment: str, key: str, amount_idr: int) -> None:
    wanted = {"refund_key": key, "amount": amount_idr, "reason": "Out of stock"}
    _must(account.refund(payment, wanted))


def _paid(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "bca", order_id)
    yield "the customer pays"
    account.pay(payment)


def _paid_late(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "bni", order_id)
    yield "the time to pay runs out"
    _must(account.expire(payment))
    yield "the customer pays all the same"
    account.pay(payment, after_expiry=True)


def _expired(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "qris", order_id)
    yield "the time to pay runs out"
    _must(account.expire(payment))


def _denied_then_paid(account: Account, order_id: str) -> Steps:
    _charge(account, "card-deny", order_id)
    yield "the customer takes another way to pay"
    payment = _charge(account, "gopay", order_id, again=True)
    yield "the customer pays"
    account.pay(payment)


def _challenge_accepted(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "card-challenge", order_id)
    yield "the shop looks at it"
    _must(account.approve(payment))
    yield "the bank's daily batch"
    account.settle(payment)


def _settled_then_reversed(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "permata", order_id)
    yield "the customer pays"
    account.pay(payment)
    yield "the bank looks again"
    account.reverse(payment)


def _two_partial_refunds(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "gopay", order_id)
    yield "the customer pays"
    account.pay(payment)
    yield "a first article goes back"
    _refund(account, payment, f"first-{payment}", 30_000)
    yield "a second article goes back"
    _refund(account, payment, f"second-{payment}", 20_000)


def _full_refund_confirmed(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "qris", order_id)
    yield "the customer pays"
    account.pay(payment)
    yield "the order is called off"
    _refund(account, payment, f"all-{payment}", AMOUNT_IDR)
    yield "the bank confirms"
    account.confirm_refund(payment, f"all-{payment}")


def _dana_id_swap(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "dana", order_id)
    yield "the customer pays"
    account.pay(payment)


def _two_payments(account: Account, order_id: str) -> Steps:
    first = _charge(account, "bca", order_id)
    yield "the customer begins anew"
    second = _charge(account, "shopeepay", order_id, again=True)
    yield "the customer pays"
    account.pay(second)
    yield "the customer pays the first one too"
    account.pay(first)


def _fee_raised_amount(account: Account, order_id: str) -> Steps:
    payment = _charge(account, "gopay", order_id)
    yield "the customer pays, and a fee on top"
    account.pay(payment, amount_paid=AMOUNT_IDR + FEE_IDR)


_ALL = (
    Scenario("paid", "A BCA virtual account is paid.", ("settlement",), _paid),
    Scenario(
        "paid-late",
        "A BNI virtual account expires and is paid all the same; Midtrans calls this neither possible nor not.",
        ("settlement",),
        _paid_late,
    ),
    Scenario("expired", "A QRIS code is never paid.", ("expire",), _expired),
    Scenario(
        "denied-then-paid-same-order",
        "A card is denied; the customer pays the same order by GoPay, as Snap allows.",
        ("deny", "settlement"),
        _denied_then_paid,
    ),
    Scenario(
        "challenge-accepted",
        "The fraud check holds a card back; the shop approves it, and it settles.",
        ("settlement",),
        _challenge_accepted,
    ),
    Scenario(
        "settled-then-reversed",
        "A Permata virtual account is paid, and the bank takes the settlement back.",
        ("deny",),
        _settled_then_reversed,
    ),
    Scenario(
        "two-partial-refunds",
        "A GoPay payment of 100,000 gives 30,000 back, then 20,000.",
        ("partial_refund",),
        _two_partial_refunds,
    ),
    Scenario(
        "full-refund-confirmed",
        "A QRIS payment goes back whole, and the bank confirms it: two notifications that differ in one field.",
        ("refund",),
        _full_refund_confirmed,
    ),
    Scenario(
        "dana-id-swap",
        "A DANA payment: GET status knows it by transaction_id alone and names that as its order_id.",
        ("settlement",),
        _dana_id_swap,
    ),
    Scenario(
        "two-payments-one-order",
        "A customer pays one order twice, by ShopeePay and by the virtual account left open before.",
        ("settlement", "settlement"),
        _two_payments,
    ),
    Scenario(
        "fee-raised-amount",
        "A GoPay payment whose fee the customer bears: gross_amount rises from 100,000 to 102,500 when paid.",
        ("settlement",),
        _fee_raised_amount,
    ),
)
SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})
