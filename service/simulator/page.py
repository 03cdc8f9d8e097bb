"""The simulator's page: plain HTML forms, no script, every value escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from django_midtrans.testing import SCENARIOS, Account, Step, Transaction
from django_midtrans.testing.bodies import local_time, money
from service.simulator.control import newest_payments

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.simulator.sender import Delivery
    from service.simulator.simulator import Simulator

SHOWN_DELIVERIES = 25
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
KINDS = (
    "bca",
    "bni",
    "bri",
    "cimb",
    "permata",
    "danamon",
    "bsi",
    "mandiri",
    "gopay",
    "qris",
    "shopeepay",
    "dana",
    "ovo",
    "indomaret",
    "alfamart",
    "akulaku",
    "kredivo",
    "card",
    "card-3ds",
    "card-authorize",
    "card-challenge",
    "card-deny",
)
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem;color:#1b2430;background:#f7f8fa}
h1{font-size:1.3rem;margin:0} h2{font-size:1.05rem;margin:1.6rem 0 .5rem} p{margin:.3rem 0}
table{border-collapse:collapse;width:100%;background:#fff;box-shadow:0 1px 2px #0002}
th,td{text-align:left;padding:.4rem .6rem;border-top:1px solid #e4e7eb;vertical-align:top}
th{font-weight:600;background:#eef1f4} small,code{color:#56616f} .amount{text-align:right;white-space:nowrap}
form{display:inline-block;margin:0 .2rem .2rem 0} button,select,input{font:inherit;padding:.15rem .5rem}
.status{display:inline-block;padding:0 .5rem;border-radius:.6rem;background:#e4e7eb;white-space:nowrap}
.settlement,.capture,.delivered{background:#c9efd4} .pending,.authorize,.waiting{background:#fbeabf}
.deny,.expire,.cancel,.failure,.failed,.lost{background:#f6d0cf}
"""
_LABELS: Mapping[Step, list[tuple[str, dict[str, str]]]] = {  # step → buttons: (label, form fields)
    Step.PAY: [("pay", {})],
    Step.COMPLETE_3DS: [("pass 3DS", {"success": "true"}), ("fail 3DS", {"success": "false"})],
    Step.DENY_PAYMENT: [("bank denies", {})],
    Step.FAIL: [("fail", {})],
    Step.EXPIRE: [("expire", {})],
    Step.CANCEL: [("cancel", {})],
    Step.CAPTURE: [("capture", {})],
    Step.APPROVE: [("approve", {})],
    Step.DENY: [("deny", {})],
    Step.SETTLE: [("settle", {})],
    Step.REVERSE: [("reverse", {})],
    Step.REFUND: [("refund all", {})],
    Step.CHARGEBACK: [("chargeback", {})],
}


async def page(request: Request) -> Response:
    """Show the payments with their buttons, and what was sent."""
    simulator: Simulator = request.app.state.simulator
    return HTMLResponse(render(simulator), headers=SECURITY_HEADERS)


def render(simulator: Simulator) -> str:
    """Return the whole page."""
    accounts = simulator.midtrans.accounts()
    target = escape(simulator.notify_url) if simulator.notify_url else "nowhere (no --notify-url)"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Midtrans simulator</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body><h1>Midtrans simulator</h1>"
        f'<p>Notifications go to <code>{target}</code>. <a href="/">Refresh</a></p>'
        f"{_charge_form(accounts)}{_scenarios(accounts)}{_faults(simulator)}{_payments(simulator)}{_deliveries(simulator)}</body></html>"
    )


def _charge_form(accounts: tuple[Account, ...]) -> str:
    if not accounts:
        return "<p>No account yet: charge through the API with any server key.</p>"
    kinds = "".join(f"<option>{kind}</option>" for kind in KINDS)
    return "".join(
        f'<form method="post" action="/simulator/charge?merchant={account.merchant_id}">'
        f'<label>New payment for {escape(account.merchant_id)}: <select name="kind">{kinds}</select></label> '
        '<label>IDR <input name="amount" value="150000" size="10" inputmode="numeric"></label> '
        "<button>charge</button></form>"
        for account in accounts
    )


def _scenarios(accounts: tuple[Account, ...]) -> str:
    """Return a button for every scenario of every account."""
    return "".join(
        '<form method="post"><label>Scenario for '
        f"{escape(account.merchant_id)}:</label> {_scenario_buttons(account)}</form>"
        for account in accounts
    )


def _scenario_buttons(account: Account) -> str:
    return " ".join(
        f'<button formaction="/simulator/scenarios/{name}?merchant={quote(account.merchant_id)}" '
        f'title="{escape(scenario.does)}">{escape(name)}</button>'
        for name, scenario in SCENARIOS.items()
    )


def _faults(simulator: Simulator) -> str:
    shown = simulator.faults.shown()
    named = {"all": shown["faults"], **shown["merchants"]}
    told = [f"{whose}: {_named(faults)}" for whose, faults in named.items() if faults]
    return f"<p>Faults on request: {escape('; '.join(told))}</p>" if told else ""


def _named(faults: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in faults.items())


def _payments(simulator: Simulator) -> str:
    rows = "".join(_payment_row(account, payment) for account, payment in newest_payments(simulator))
    return (
        "<h2>Payments</h2><table><thead><tr><th>Order</th><th>How</th><th>Amount</th><th>Status</th><th>Charged"
        f"</th><th>What happens next</th></tr></thead><tbody>{rows or _empty(6)}</tbody></table>"
    )


def _payment_row(account: Account, payment: Transaction) -> str:
    how = payment.payment_type + (f" · {payment.channel}" if payment.channel else "")
    word = payment.status + (" (challenge)" if payment.challenged else "")
    refunded = f"<br><small>refunded {money(payment.refunded)}</small>" if payment.refunds else ""
    return (
        f"<tr><td>{escape(payment.order_id)}<br><small>{escape(payment.transaction_id)}</small></td>"
        f'<td>{escape(how)}</td><td class="amount">{money(payment.gross_amount)}{refunded}</td>'
        f'<td><span class="status {escape(payment.status)}">{escape(word)}</span></td>'
        f"<td>{local_time(payment.transaction_time)}</td><td>{_buttons(account, payment)}</td></tr>"
    )


def _buttons(account: Account, payment: Transaction) -> str:
    """Return a form for every step that is open, and one that repeats the notification."""
    steps = payment.steps()
    if payment.payment_type != "credit_card":
        steps -= {Step.CHARGEBACK}  # cards are what gets disputed
    buttons = [
        _button(account, payment, step.value, label, fields)
        for step, labels in _LABELS.items()
        if step in steps
        for label, fields in labels
    ]
    if Step.REFUND in steps and (half := int((payment.gross_amount - payment.refunded) / 2)) > 0:
        buttons.append(_button(account, payment, "refund", "refund half", {"amount": str(half)}))
    buttons += [
        _button(account, payment, "confirm_refund", "bank confirms refund", {"refund_key": refund.key})
        for refund in payment.refunds
        if refund.bank_confirmed_at is None
    ]
    return "".join([*buttons, _button(account, payment, "repeat", "notify again", {})])


def _button(account: Account, payment: Transaction, step: str, label: str, fields: dict[str, str]) -> str:
    path = f"/simulator/{step.replace('_', '-')}/{quote(payment.transaction_id, safe='')}"
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
    )
    return (
        f'<form method="post" action="{path}?merchant={quote(account.merchant_id)}">{hidden}'
        f"<button>{escape(label)}</button></form>"
    )


def _deliveries(simulator: Simulator) -> str:
    newest = list(simulator.sender.deliveries)[: -SHOWN_DELIVERIES - 1 : -1]
    rows = "".join(_delivery_row(delivery) for delivery in newest)
    return (
        "<h2>Notifications</h2><table><thead><tr><th>Order</th><th>Body said</th><th>To</th><th>Delivery</th>"
        f"<th>Last answer</th></tr></thead><tbody>{rows or _empty(5)}</tbody></table>"
    )


def _delivery_row(delivery: Delivery) -> str:
    last = delivery.attempts[-1] if delivery.attempts else None
    answer = "" if last is None else f"{last.http_status or 'no answer'} {last.answer}"
    said = f"{delivery.body['transaction_status']} ({delivery.body['status_code']})"
    state = f"{delivery.state}, {len(delivery.attempts)} tried"
    return (
        f"<tr><td>{escape(delivery.body['order_id'])}</td><td>{escape(said)}</td><td>{escape(delivery.url)}</td>"
        f'<td><span class="status {escape(delivery.state)}">{escape(state)}</span></td>'
        f"<td><small>{escape(answer)}</small></td></tr>"
    )


def _empty(columns: int) -> str:
    return f'<tr><td colspan="{columns}">none yet</td></tr>'
