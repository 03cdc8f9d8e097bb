"""What only a simulator has, under ``/simulator``: steps, scenarios, faults, and a look at what was sent."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import RedirectResponse, Response

from django_midtrans.testing import SCENARIOS, Account, ImpossibleStep, Transaction
from django_midtrans.testing.bodies import money
from service.simulator.core_api import json_response, path_parts
from service.simulator.faults import FaultInvalid, Faults
from service.simulator.steps import Body, OptionInvalid, Options, fresh_order_id, quick_charge, take

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.simulator.sender import Delivery
    from service.simulator.simulator import Simulator

SHOWN = 200
FORM = "application/x-www-form-urlencoded"
PAUSE_S = 2.0
"""Between the steps of a scenario, unless told otherwise."""
LONGEST_PAUSE_S = 3_600.0


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
    except (OptionInvalid, FaultInvalid) as error:
        return _problem(422, "option_invalid", str(error))
    if answer is None:
        return _problem(404, "not_found", "there is no such call; GET / shows what there is")
    if _from_form(request):
        return RedirectResponse("/", status_code=303)
    return json_response(answer)


async def _answer(request: Request, simulator: Simulator, parts: list[str]) -> Body | None:
    if request.method == "GET":
        return _look(simulator, parts)
    merchant_id = request.query_params.get("merchant")
    if request.method == "PUT" and parts == ["faults"]:
        simulator.suffer(Faults.from_options(await _options(request)), merchant_id)
        return simulator.faults.shown()
    return _do(simulator, parts, merchant_id, await _options(request)) if request.method == "POST" else None


def _do(simulator: Simulator, parts: list[str], merchant_id: str | None, options: Options) -> Body | None:
    match parts:
        case ["charge"]:
            return {"answer": quick_charge(simulator.merchant(merchant_id), options)}
        case ["expire-due"]:
            return {"notifications": simulator.midtrans.expire_due()}
        case ["scenarios", name]:
            return _play(simulator, name, merchant_id, options)
        case [step, id_]:
            return take(simulator, step, id_, merchant_id, options)
    return None


def _look(simulator: Simulator, parts: list[str]) -> Body | None:
    if parts == ["payments"]:
        return {"payments": [_payment(account, each) for account, each in newest_payments(simulator)]}
    if parts == ["notifications"]:
        newest = list(simulator.sender.deliveries)[: -SHOWN - 1 : -1]
        return {"notifications": [_delivery(each) for each in newest]}
    if parts == ["faults"]:
        return simulator.faults.shown()
    if parts == ["scenarios"]:
        listed = [{"name": each.name, "does": each.does, "ends": each.ends} for each in SCENARIOS.values()]
        return {"scenarios": listed, "runs": [asdict(run) for run in reversed(simulator.runs.kept)]}
    return None


def _play(simulator: Simulator, name: str, merchant_id: str | None, options: Options) -> Body | None:
    """Begin a scenario; None when there is no such one."""
    if name not in SCENARIOS:
        return None
    order_id = str(options.get("order_id") or fresh_order_id(name))
    account = simulator.merchant(merchant_id)
    return asdict(simulator.runs.start(SCENARIOS[name], account, order_id, pause_s=_pause_s(options)))


def _pause_s(options: Options) -> float:
    try:
        pause_s = float(options.get("pause_s", PAUSE_S))
    except (TypeError, ValueError) as error:
        raise OptionInvalid("pause_s must be seconds") from error
    if not 0 <= pause_s <= LONGEST_PAUSE_S:  # NaN is no number between two others
        raise OptionInvalid(f"pause_s must be 0 to {LONGEST_PAUSE_S:.0f} seconds")
    return pause_s


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
