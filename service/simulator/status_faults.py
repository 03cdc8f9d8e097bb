"""GET status when Midtrans is not well: slow, broken off, a 5xx, or behind itself (``lagging.py``)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from django_midtrans.testing import ImpossibleStep
from service.simulator.faults import NONE

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from django_midtrans.testing import Account
    from service.simulator.simulator import Simulator

_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_TEXTS: Mapping[int, str] = {
    500: "Sorry, we encountered internal server error. We will fix this soon.",
    503: "Bank/partner is experiencing connection issue.",
}
_PROMISED_BYTES = 1_000


class CutOff(Response):
    """Promises more than it sends: the server can only close the connection, and the client reads a broken answer."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the beginning, and no end."""
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(_PROMISED_BYTES).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"status_code": "2', "more_body": True})


async def trouble_of_status(simulator: Simulator, account: Account, id_: str) -> Response | None:
    """Wait where GET status is to be slow; return what comes instead of its answer, if anything does."""
    faults, merchant_id = simulator.faults, account.merchant_id
    if faults.of(merchant_id) is NONE:
        return None
    subject = _order_of(account, id_)
    if faults.happens("status_slow", merchant_id, subject):
        await asyncio.sleep(faults.of(merchant_id).slow_s)
    if faults.happens("status_reset", merchant_id, subject):
        return CutOff()
    if not faults.happens("status_5xx", merchant_id, subject):
        return None
    return _server_error(faults.pick("status_5xx", merchant_id, subject, [500, 502, 503]))


def answer_of_status(simulator: Simulator, account: Account, id_: str) -> dict[str, Any]:
    """Answer GET status, as of a while ago where the faults say so."""
    faults, merchant_id = simulator.faults.of(account.merchant_id), account.merchant_id
    if faults is NONE:
        return account.status(id_)
    lags = simulator.faults.happens("status_lag", merchant_id, _order_of(account, id_))
    if not lags and not faults.status_404_s:
        return account.status(id_)
    lag_s = faults.lag_s if lags else 0.0
    answer = simulator.lagging.answer(account, id_, lag_s=lag_s, hidden_s=faults.status_404_s)
    if faults.status_404_s and "transaction_id" not in answer and "transaction_id" in account.status(id_):
        simulator.faults.count("status_404_s", merchant_id)
    return answer


def _server_error(code: int) -> Response:
    """Return a 5xx: JSON from Midtrans itself, HTML from what stands before it."""
    if code not in _TEXTS:
        return HTMLResponse(_HTML, status_code=code)
    body = json.dumps({"status_code": str(code), "status_message": _TEXTS[code]})
    return Response(body, status_code=code, media_type="application/json")


def _order_of(account: Account, id_: str) -> str:
    """Return what the dice go by: transaction ids differ from run to run, order ids need not."""
    try:
        return account.find(id_).order_id
    except ImpossibleStep:
        return id_
