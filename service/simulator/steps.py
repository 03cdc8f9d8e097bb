"""The steps of one payment under ``/simulator/{step}/{id}``, and their options."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django_midtrans.testing import Account
from django_midtrans.testing.payloads import charge_of

if TYPE_CHECKING:
    from service.simulator.simulator import Simulator

Options = Mapping[str, Any]
Body = dict[str, Any]


class OptionInvalid(Exception):
    """An option of a step is missing or of a wrong kind."""


def _amount(options: Options, name: str) -> Decimal:
    try:
        return Decimal(str(options[name]))
    except (KeyError, InvalidOperation) as error:
        raise OptionInvalid(f"{name} must be an amount") from error


def _flag(options: Options, name: str, *, default: bool) -> bool:
    return str(options.get(name, default)).lower() in {"true", "1", "yes"}


def _pay(account: Account, id_: str, options: Options) -> Body:
    paid = _amount(options, "amount_paid") if options.get("amount_paid") else None
    return account.pay(id_, amount_paid=paid, after_expiry=_flag(options, "after_expiry", default=False))


def _confirm_refund(account: Account, id_: str, options: Options) -> Body:
    return account.confirm_refund(id_, str(options.get("refund_key", "")))


def _complete_3ds(account: Account, id_: str, options: Options) -> Body:
    return account.complete_3ds(id_, success=_flag(options, "success", default=True))


OUTSIDE: Mapping[str, Callable[[Account, str, Options], Body]] = {  # what the rest of the world does
    "pay": _pay,
    "complete-3ds": _complete_3ds,
    "settle": lambda account, id_, _: account.settle(id_),
    "reverse": lambda account, id_, _: account.reverse(id_),
    "chargeback": lambda account, id_, _: account.chargeback(id_),
    "partial-chargeback": lambda account, id_, options: account.partial_chargeback(
        id_, _amount(options, "amount")
    ),
    "confirm-refund": _confirm_refund,
    "fail": lambda account, id_, _: account.fail(id_),
    "deny-payment": lambda account, id_, _: account.deny_payment(id_),
}
SHOP: Mapping[str, Callable[[Account, str, Options], Body]] = {  # what the shop would call; here for the page
    "cancel": lambda account, id_, _: account.cancel(id_),
    "expire": lambda account, id_, _: account.expire(id_),
    "approve": lambda account, id_, _: account.approve(id_),
    "deny": lambda account, id_, _: account.deny(id_),
    "capture": lambda account, id_, options: account.capture({**options, "transaction_id": id_}),
    "refund": lambda account, id_, options: account.refund(id_, options),
    "direct-refund": lambda account, id_, options: account.direct_refund(id_, options),
}
REFUSALS: Mapping[str, Callable[[Account, str], None]] = {
    "refuse-next-capture": Account.refuse_next_capture,
    "refuse-next-refund": Account.refuse_next_refund,
}


def take(simulator: Simulator, step: str, id_: str, merchant_id: str | None, options: Options) -> Body | None:
    """Take one step of one payment; None when there is no such step."""
    if step not in {*OUTSIDE, *SHOP, *REFUSALS, "repeat"}:
        return None
    account = simulator.owner(id_, merchant_id)
    own_id = account.find(id_).transaction_id
    if step in OUTSIDE:
        return {"notification": OUTSIDE[step](account, own_id, options)}
    if step in SHOP:
        return {"answer": SHOP[step](account, own_id, options)}
    if step in REFUSALS:
        REFUSALS[step](account, own_id)
        return {"next": step}
    return {"notification": simulator.repeat(account, own_id)}


def quick_charge(account: Account, options: Options) -> Body:
    """Charge by a short name, as ``django_midtrans.testing.payloads`` reads it."""
    amount = _amount(options, "amount")
    if not (amount.is_finite() and amount > 0 and amount == amount.to_integral_value()):
        raise OptionInvalid("amount must be whole rupiah above 0")
    order_id = str(options.get("order_id") or fresh_order_id("page"))
    return account.charge(charge_of(str(options.get("kind", "")), order_id, int(amount)))


def fresh_order_id(prefix: str) -> str:
    """Return an order_id that was not used before."""
    return f"{prefix}-{secrets.token_hex(4)}"
