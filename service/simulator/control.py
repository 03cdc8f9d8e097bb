"""What only a simulator has, under ``/simulator``: paying, denying, settling, and a look at what was sent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import RedirectResponse, Response

from django_midtrans.testing import Account, ImpossibleStep, Transaction
from django_midtrans.testing.bodies import money
from service.simulator.core_api import json_response, path_parts

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.simulator.sender import Delivery
    from service.simulator.simulator import Simulator

Options = Mapping[str, Any]
Body = dict[str, Any]
SHOWN = 200
FORM = "application/x-www-form-urlencoded"
CARD_TOKENS = {
    "card": "48111111-1114-simulator",
    "card-challenge": "45111111-1117-simulator",
    "card-deny": "49111111-1113-simulator",
}


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


async def control(request: Request) -> Response:
    """Answer anything under ``/simulator``: JSON to callers, a redirect to the page's forms."""
    if not _same_origin(request):
        return _problem(403, "forbidden", "a page of another origin may not press the simulator's buttons")
    simulator: Simulator = request.app.state.simulator
    parts = path_parts(request)[1:]
    try:
        answer = await _answer(request, simulator, parts)
    except ImpossibleStep as error:
        return _problem(409, "impossible_step", str(error))
    except OptionInvalid as error:
        return _problem(422, "option_invalid", str(error))
    if answer is None:
        return _problem(404, "not_found", "there is no such call; GET / shows what there is")
    if _from_form(request):
        return RedirectResponse("/", status_code=303)
    return json_response(answer)


async def _answer(request: Request, simulator: Simulator, parts: list[str]) -> Body | None:
    if request.method == "GET":
        return _look(simulator, parts)
    if request.method != "POST":
        return None
    options, merchant_id = await _options(request), request.query_params.get("merchant")
    match parts:
        case ["charge"]:
            return {"answer": _quick_charge(simulator.merchant(merchant_id), options)}
        case ["expire-due"]:
            return {"notifications": simulator.midtrans.expire_due()}
        case [step, id_]:
            return _take(simulator, step, id_, merchant_id, options)
    return None


def _look(simulator: Simulator, parts: list[str]) -> Body | None:
    if parts == ["payments"]:
        return {"payments": [_payment(account, each) for account, each in newest_payments(simulator)]}
    if parts == ["notifications"]:
        newest = list(simulator.sender.deliveries)[: -SHOWN - 1 : -1]
        return {"notifications": [_delivery(each) for each in newest]}
    return None


def _take(
    simulator: Simulator, step: str, id_: str, merchant_id: str | None, options: Options
) -> Body | None:
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


def _quick_charge(account: Account, options: Options) -> Body:
    """Charge by a short name, as ``payload_of`` reads it."""
    amount = _amount(options, "amount")
    if amount != amount.to_integral_value():
        raise OptionInvalid("amount must be whole rupiah")
    order_id = str(options.get("order_id") or f"page-{secrets.token_hex(4)}")
    details = {"order_id": order_id, "gross_amount": int(amount)}
    return account.charge({**payload_of(str(options.get("kind", ""))), "transaction_details": details})


def payload_of(kind: str) -> Body:
    """Return the part of a charge's payload that says how to pay, from its short name."""
    if kind in {"indomaret", "alfamart"}:
        return {"payment_type": "cstore", "cstore": {"store": kind}}
    if kind == "mandiri":
        return {"payment_type": "echannel", "echannel": {"bill_info1": "Payment", "bill_info2": "Online"}}
    if kind.startswith("card"):
        name = kind.removesuffix("-3ds").removesuffix("-authorize")
        card: Body = {"token_id": CARD_TOKENS.get(name, "")}
        if kind.endswith("-3ds"):
            card["authentication"] = True
        if kind.endswith("-authorize"):
            card["type"] = "authorize"
        return {"payment_type": "credit_card", "credit_card": card}
    if kind in {"bca", "bni", "bri", "cimb", "permata", "danamon", "bsi", "seabank", "saqu"}:
        return {"payment_type": "bank_transfer", "bank_transfer": {"bank": kind}}
    return {"payment_type": kind}


def newest_payments(simulator: Simulator) -> list[tuple[Account, Transaction]]:
    """Return the newest payments of every account, newest first."""
    found = [
        (account, each)
        for account in simulator.midtrans.accounts()
        for each in account.transactions()[-SHOWN:]
    ]
    return sorted(found, key=lambda pair: pair[1].transaction_time, reverse=True)[:SHOWN]


def _payment(account: Account, payment: Transaction) -> Body:
    return {
        "merchant_id": account.merchant_id,
        "order_id": payment.order_id,
        "transaction_id": payment.transaction_id,
        "payment_type": payment.payment_type,
        "channel": payment.channel,
        "gross_amount": money(payment.gross_amount),
        "transaction_status": payment.status,
        "fraud_status": payment.fraud_status,
        "history": payment.history,
        "steps": sorted(payment.steps()),
    }


def _delivery(delivery: Delivery) -> Body:
    attempts = [
        {"at": each.at.isoformat(), "http_status": each.http_status, "answer": each.answer}
        for each in delivery.attempts
    ]
    return {
        "url": delivery.url,
        "merchant_id": delivery.merchant_id,
        "state": delivery.state,
        "attempts": attempts,
        "body": delivery.body,
    }


async def _options(request: Request) -> Options:
    content = await request.body()
    if _from_form(request):
        return dict(parse_qsl(content.decode("utf-8", "replace")))
    try:
        options = json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise OptionInvalid("the body must be a JSON object") from error
    if not isinstance(options, dict):
        raise OptionInvalid("the body must be a JSON object")
    return options


def _from_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith(FORM)


def _same_origin(request: Request) -> bool:
    """Refuse what another site's page sends: the simulator has no login, only its loopback address."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _problem(status: int, error: str, detail: str) -> Response:
    return json_response({"error": error, "detail": detail}, status)
