"""GET status when Midtrans is not well: slow, broken off, or a 5xx."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, Response

from django_midtrans.testing import ImpossibleStep

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from django_midtrans.testing import Account
    from service.simulator.simulator import Simulator

_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
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
    subject = _order_of(account, id_)
    if faults.happens("status_slow", merchant_id, subject):
        await asyncio.sleep(faults.of(merchant_id).slow_s)
    if faults.happens("status_reset", merchant_id, subject):
        return CutOff()
    thrown, probability = faults.draw("status_5xx", merchant_id, subject), faults.of(merchant_id).status_5xx
    return _server_error(thrown / probability) if thrown < probability else None


def _server_error(dice: float) -> Response:
    """Return one of the three kinds of 5xx."""
    if dice < 1 / 3:
        return HTMLResponse(_HTML, status_code=502)
    code, text = (
        ("500", "Sorry, we encountered internal server error. We will fix this soon.")
        if dice < 2 / 3
        else ("503", "Bank/partner is experiencing connection issue.")
    )
    body = json.dumps({"status_code": code, "status_message": text})
    return Response(body, status_code=int(code), media_type="application/json")


def _order_of(account: Account, id_: str) -> str:
    """Return what the dice go by: transaction ids differ from run to run, order ids need not."""
    try:
        return account.find(id_).order_id
    except ImpossibleStep:
        return id_
