"""An in-memory Midtrans for tests: no HTTP, no clock of its own, written from Midtrans' documentation.

It uses none of this package's other modules, so that a wrong idea there shows up here::

    midtrans = InMemoryMidtrans(clock, on_notification=inbox.append_pair)
    account = midtrans.account("SB-Mid-server-x")       # one state per server key
    answer = account.charge(payload)                    # the body Midtrans would answer, as a dict
    body = account.pay(answer["transaction_id"])        # the signed notification this change makes

**InMemoryMidtrans**``(clock, *, new_id=None, on_notification=None, known_keys=None,
public_url="https://midtrans.invalid", swapped_status_signs="answered")``: ``account(server_key)`` (raises
``UnknownServerKey``, whose ``body`` is the 401, when ``known_keys`` was given and lacks it), ``accounts()``,
``allow(key)``, ``revoke(key)``, ``rotate(old_key, new_key, keep_old=False)``, ``card_token(query)``,
``expire_due()``. *clock* gives aware datetimes; *on_notification* is called with ``(server_key, body)`` after
every change, outside of the lock.

**Account**, what a shop asks; each returns the answer's body, business errors included (a ``status_code``):
``charge(payload, *, same_order=False, customer_fee=0)``, ``status(id)``, ``status_b2b(id, *, page=0,
per_page=10)``, ``cancel(id)``, ``expire(id)``, ``capture(payload)``, ``refund(id, payload=None)``,
``direct_refund(id, payload=None)``, ``approve(id)``, ``deny(id)``. An id is an order_id or a transaction_id,
as with Midtrans (a few channels know the transaction_id alone).

**Account**, what the rest of the world does; each returns the notification it makes and raises
``ImpossibleStep`` where Midtrans has no such step: ``pay(id, *, amount_paid=None, after_expiry=False)``,
``complete_3ds(id, *, success=True)``, ``settle(id)``, ``reverse(id)``, ``chargeback(id)``,
``partial_chargeback(id, amount)``, ``confirm_refund(id, refund_key)``, ``fail(id)``, ``deny_payment(id)``,
``expire_due()`` (a list: the clock has passed their expiry). ``refuse_next_capture(id)`` and
``refuse_next_refund(id)`` make the bank say no to the next one.

**Account**, to look at: ``transactions()``, ``find(id)``, ``steps(id)``, ``notification(id)`` (the body for
the present state, as a repeat would bring it), ``notifications`` (the newest 10,000), ``server_key``,
``merchant_id``.

Cards are chosen by the token's first digits: 4811 and 5211 accepted, 4511 challenged, 4911 and 5111 denied by
the bank, 4611 denied by the fraud check; ``credit_card.authentication`` asks for 3DS, ``credit_card.type =
"authorize"`` reserves.

**SCENARIOS**: what happens in the world, by name (``scenarios``). ``retries`` knows how often and when Midtrans
posts a notification again, ``payloads.charge_of(kind, order_id, amount_idr)`` makes the payload of a charge.
"""

from django_midtrans.testing.account import Account
from django_midtrans.testing.bodies import signature
from django_midtrans.testing.midtrans import InMemoryMidtrans, UnknownServerKey
from django_midtrans.testing.outside import ImpossibleStep
from django_midtrans.testing.scenarios import SCENARIOS, Scenario
from django_midtrans.testing.transaction import Refund, Step, Transaction

__all__ = [
    "SCENARIOS",
    "Account",
    "ImpossibleStep",
    "InMemoryMidtrans",
    "Refund",
    "Scenario",
    "Step",
    "Transaction",
    "UnknownServerKey",
    "signature",
]
