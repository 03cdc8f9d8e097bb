"""Every published answer of Midtrans is fed to the method it belongs to: what is returned, what is raised.

The samples are not part of this repository: MIDTRANS_SAMPLES names a folder that holds them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import respx

from django_midtrans import (
    AsyncMidtransClient,
    MidtransAPIError,
    MidtransAuthenticationError,
    MidtransClient,
    MidtransDuplicateOrderError,
    MidtransError,
    MidtransValidationError,
)

FOLDER = os.environ.get("MIDTRANS_SAMPLES")
ANSWERS = ("status.", "charge.", "action.", "api.", "error.")
pytestmark = pytest.mark.skipif(not FOLDER, reason="MIDTRANS_SAMPLES names no folder of published answers")

CALLS: Mapping[str, tuple[Any, ...]] = {
    "charge": ({"payment_type": "bank_transfer"},),
    "get_status": ("order-1",),
    "cancel": ("order-1",),
    "expire": ("order-1",),
    "deny": ("order-1",),
    "capture": ("transaction-1", 1000),
    "refund": ("order-1", "key-1", 1000),
    "direct_refund": ("order-1", "key-1", 1000),
    "get_bin": ("45563300",),
    "get_card_token": ("4811111111111114", "01", "2030", "123"),
    "register_card": ("4811111111111114", "01", "2030"),
    "get_subscription": ("s-1",),
    "update_subscription": ("s-1", {"name": "M"}),
    "create_pay_account": ({"payment_type": "gopay"},),
    "create_invoice": ({"order_id": "order-1"},),
}

# file → method and HTTP status; below also the class raised and its status_code
RETURNED: Mapping[str, tuple[str, int]] = {
    "action.cancel.bank_transfer.cancel.recorded.json": ("cancel", 200),
    "action.cancel.bank_transfer.cancel.recorded.v2.json": ("cancel", 200),
    "action.cancel.dana.cancel.json": ("cancel", 200),
    "action.expire.bank_transfer.expire.recorded.json": ("expire", 200),
    "action.refund.dana.refund.json": ("refund", 200),
    "api.bin.json": ("get_bin", 200),
    "api.capture.deny_202.json": ("capture", 200),
    "api.card_register.200.json": ("register_card", 200),
    "api.refund.200.json": ("direct_refund", 200),
    "api.subscription.get.json": ("get_subscription", 200),
    "api.subscription.updated.json": ("update_subscription", 200),
    "api.token.200.json": ("get_card_token", 200),
    "api.token.200.recorded.json": ("get_card_token", 200),
    "charge.akulaku.pending.json": ("charge", 200),
    "charge.bank_transfer.bca.pending.json": ("charge", 200),
    "charge.bank_transfer.bni.pending.json": ("charge", 200),
    "charge.bank_transfer.bri.pending.json": ("charge", 200),
    "charge.bank_transfer.permata.pending.json": ("charge", 200),
    "charge.bank_transfer.permata.pending.recorded.json": ("charge", 200),
    "charge.bank_transfer.permata.pending.recorded.v2.json": ("charge", 200),
    "charge.bri_epay.pending.json": ("charge", 200),
    "charge.cimb_clicks.pending.json": ("charge", 200),
    "charge.credit_card.capture.json": ("charge", 200),
    "charge.credit_card.capture.recorded.json": ("charge", 200),
    "charge.credit_card.capture.v2.json": ("charge", 200),
    "charge.credit_card.capture.v3.json": ("charge", 200),
    "charge.credit_card.pending.json": ("charge", 200),
    "charge.credit_card.pending.v2.json": ("charge", 200),
    "charge.cstore.alfamart.pending.json": ("charge", 200),
    "charge.cstore.indomaret.pending.json": ("charge", 200),
    "charge.danamon_online.pending.json": ("charge", 200),
    "charge.echannel.pending.json": ("charge", 200),
    "charge.gopay.pending.json": ("charge", 200),
    "charge.qris.pending.json": ("charge", 200),
    "error.pay_account.202.json": ("create_pay_account", 200),  # a failure, but of the 2xx class
    "status.bank_transfer.pending.recorded.json": ("get_status", 200),
    "status.bank_transfer.permata.pending.recorded.v2.json": ("get_status", 200),
    "status.cimb_clicks.settlement.json": ("get_status", 200),
    "status.credit_card.cancel.php_stub.json": ("get_status", 200),
    "status.credit_card.capture.channel.json": ("get_status", 200),
    "status.credit_card.capture.json": ("get_status", 200),
    "status.credit_card.capture.php_stub.json": ("get_status", 200),
    "status.credit_card.capture.php_stub.v2.json": ("get_status", 200),
    "status.credit_card.deny.php_stub.json": ("get_status", 200),
    "status.credit_card.refund.php_stub.json": ("get_status", 200),
    "status.credit_card.settlement.json": ("get_status", 200),
    "status.credit_card.settlement.php_stub.json": ("get_status", 200),
    "status.dana.pending.json": ("get_status", 200),
    "status.echannel.expire.php_stub.json": ("get_status", 200),  # 407 is an answer
    "status.ovo.pending.json": ("get_status", 200),
}
RAISED: Mapping[str, tuple[str, int, type[MidtransError], int | None]] = {
    "error.400.validation.json": ("get_card_token", 200, MidtransValidationError, 400),
    "error.401.status.recorded.json": ("get_status", 200, MidtransAuthenticationError, 401),
    "error.404.cancel.recorded.json": ("cancel", 200, MidtransAPIError, 404),
    "error.404.cancel.recorded.v2.json": ("cancel", 200, MidtransAPIError, 404),
    "error.404.capture.recorded.json": ("capture", 200, MidtransAPIError, 404),
    "error.404.expire.recorded.json": ("expire", 200, MidtransAPIError, 404),
    "error.404.not_found.json": ("get_status", 200, MidtransAPIError, 404),
    "error.404.status.recorded.json": ("get_status", 200, MidtransAPIError, 404),
    "error.404.status.recorded.v2.json": ("get_status", 200, MidtransAPIError, 404),
    "error.404.transaction_not_exist.json": ("get_status", 200, MidtransAPIError, 404),
    "error.406.charge.recorded.json": ("charge", 200, MidtransDuplicateOrderError, 406),
    "error.412.deny.recorded.json": ("deny", 200, MidtransAPIError, 412),
    "error.412.modify.json": ("cancel", 200, MidtransAPIError, 412),
    "error.412.refund.recorded.json": ("refund", 200, MidtransAPIError, 412),
    "error.bin.404.json": ("get_bin", 404, MidtransAPIError, None),
    "error.error_messages.json": ("create_invoice", 400, MidtransValidationError, None),
    "error.error_messages.v2.json": ("create_invoice", 401, MidtransAuthenticationError, None),
    "error.error_messages.v3.json": ("create_invoice", 400, MidtransValidationError, None),
}


def sample(name: str) -> bytes:
    return (Path(FOLDER or "") / name).read_bytes()


def both(method: str, http_status: int, content: bytes) -> list[dict[str, Any] | MidtransError]:
    """Return what each of the two clients makes of one answer."""

    def called() -> dict[str, Any]:
        with MidtransClient("server-key", client_key="client-key", retries=0) as client:
            answer: dict[str, Any] = getattr(client, method)(*CALLS[method])
            return answer

    async def awaited() -> dict[str, Any]:
        async with AsyncMidtransClient("server-key", client_key="client-key", retries=0) as client:
            answer: dict[str, Any] = await getattr(client, method)(*CALLS[method])
            return answer

    outcomes: list[dict[str, Any] | MidtransError] = []
    for run in (called, lambda: asyncio.run(awaited())):
        with respx.mock() as router:
            router.route().respond(http_status, content=content)
            try:
                outcomes.append(run())
            except MidtransError as error:
                outcomes.append(error)
    return outcomes


def test_every_sample_answer_has_its_expected_outcome() -> None:
    there = {path.name for path in Path(FOLDER or "").glob("*.json") if path.name.startswith(ANSWERS)}
    assert there == {*RETURNED, *RAISED}


@pytest.mark.parametrize("name", RETURNED)
def test_an_answer_is_returned_as_published(name: str) -> None:
    method, http_status = RETURNED[name]
    content = sample(name)
    assert both(method, http_status, content) == [json.loads(content)] * 2


@pytest.mark.parametrize("name", RAISED)
def test_an_error_raises_its_class_with_its_facts(name: str) -> None:
    method, http_status, kind, code = RAISED[name]
    content = sample(name)
    for error in both(method, http_status, content):
        assert type(error) is kind
        assert (error.http_status, error.status_code) == (http_status, code)
        assert error.data == json.loads(content)
        assert error.message.startswith(f"{method}: HTTP {http_status}")
        assert error.message.count(": ") == 2  # what Midtrans says of it is there
