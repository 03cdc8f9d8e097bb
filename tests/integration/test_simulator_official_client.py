"""Midtrans' own Python client, its host constant pointed at the simulator, otherwise as published."""

from collections.abc import Iterator
from typing import Any

import midtransclient
import pytest
from midtransclient.config import ApiConfig
from midtransclient.error_midtrans import MidtransAPIError

from django_midtrans.testing import signature
from service.simulator.server import RunningSimulator, running_simulator

KEY = "SB-Mid-server-official"


@pytest.fixture(scope="module")
def simulator() -> Iterator[RunningSimulator]:
    with running_simulator(server_keys=[KEY]) as running:
        yield running


@pytest.fixture
def core(simulator: RunningSimulator, monkeypatch: pytest.MonkeyPatch) -> midtransclient.CoreApi:
    monkeypatch.setattr(ApiConfig, "CORE_SANDBOX_BASE_URL", simulator.url)
    return midtransclient.CoreApi(is_production=False, server_key=KEY, client_key="SB-Mid-client-official")


def payload(order_id: str, payment_type: str = "gopay", **more: Any) -> dict[str, Any]:
    details = {"order_id": order_id, "gross_amount": 44_000}
    return {"payment_type": payment_type, "transaction_details": details, **more}


def refused(error: pytest.ExceptionInfo[MidtransAPIError]) -> tuple[int, str]:
    return error.value.http_status_code, error.value.api_response_dict["status_code"]


def test_it_charges_reads_and_cancels(core: midtransclient.CoreApi) -> None:
    charged = core.charge(payload("official-1", "bank_transfer", bank_transfer={"bank": "bca"}))
    assert (charged["status_code"], charged["va_numbers"][0]["bank"]) == ("201", "bca")
    found = core.transactions.status("official-1")
    assert found["transaction_id"] == charged["transaction_id"]
    assert found["signature_key"] == signature("official-1", "201", "44000.00", KEY)
    assert core.transactions.cancel("official-1")["transaction_status"] == "cancel"
    assert core.transactions.status("official-1")["transaction_status"] == "cancel"


def test_it_expires_and_407_is_no_error(core: midtransclient.CoreApi) -> None:
    core.charge(payload("official-2"))
    assert core.transactions.expire("official-2")["status_code"] == "407"
    assert core.transactions.status("official-2")["status_code"] == "407"


def test_it_pays_by_card_token_and_refunds(core: midtransclient.CoreApi, simulator: RunningSimulator) -> None:
    card = {
        "card_number": "4511111111111117",
        "card_cvv": "123",
        "card_exp_month": "12",
        "card_exp_year": "2040",
    }
    token = core.card_token({**card, "client_key": "SB-Mid-client-official"})["token_id"]
    core.charge(payload("official-3", "credit_card", credit_card={"token_id": token}))
    assert core.transactions.approve("official-3")["fraud_status"] == "accept"
    simulator.simulator.midtrans.account(KEY).settle("official-3")
    assert core.transactions.refund("official-3", {"amount": 4_000})["transaction_status"] == "partial_refund"
    answer = core.transactions.refundDirect("official-3", {"refund_key": "rest"})
    assert (answer["transaction_status"], answer["refund_amount"]) == ("refund", "40000.00")
    assert len(core.transactions.statusb2b("official-3")["transactions"]) == 1


def test_it_captures_an_authorisation(core: midtransclient.CoreApi) -> None:
    card = {"token_id": "48111111-1114-x", "type": "authorize"}
    reserved = core.charge(payload("official-4", "credit_card", credit_card=card))
    captured = core.capture({"transaction_id": reserved["transaction_id"], "gross_amount": 40_000})
    assert (captured["transaction_status"], captured["gross_amount"]) == ("capture", "40000.00")


def test_it_takes_a_notification_as_status(core: midtransclient.CoreApi, simulator: RunningSimulator) -> None:
    core.charge(payload("official-5"))
    body = simulator.simulator.midtrans.account(KEY).pay("official-5")
    assert core.transactions.notification(body)["transaction_status"] == "settlement"


def test_it_raises_what_the_body_says_while_http_says_200(core: midtransclient.CoreApi) -> None:
    with pytest.raises(MidtransAPIError) as unknown:
        core.transactions.status("never-charged")
    assert refused(unknown) == (200, "404")
    core.charge(payload("official-6"))
    with pytest.raises(MidtransAPIError) as duplicate:
        core.charge(payload("official-6"))
    assert refused(duplicate) == (200, "406")
    with pytest.raises(MidtransAPIError) as unchangeable:
        core.transactions.deny("official-6")
    assert refused(unchangeable) == (200, "412")


def test_a_wrong_key_is_http_401(core: midtransclient.CoreApi) -> None:
    core.api_config.server_key = "SB-Mid-server-other"
    with pytest.raises(MidtransAPIError) as error:
        core.transactions.status("official-1")
    assert refused(error) == (401, "401")
