from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_midtrans import MidtransClient, MidtransConfigurationError
from django_midtrans.signature import expected_signature, pay_account_signature, signature_matches

# Published by Midtrans, or recorded from its sandbox; every hash was computed again with hashlib.
_FIXTURE_KEY = "SB-Mid-server-test"
_RECORDED_KEY = "VT-server-9Htb-RxXkg7-7hznSCCjxvoY"
VECTORS = [
    pytest.param(
        ("1111", "200", "100000.00", "askvnoibnosifnboseofinbofinfgbiufglnbfg"),
        "edc076b21793ebe3e17926350f5b8ae67d902fe657b3d0aa31b932d5c127e237"
        "5d308a2bc94f3265ac2d80a1f181a79b997ac178a236fcff35af263fc4d4c231",
        id="the-docs-example",
    ),
    pytest.param(
        ("ORDER-sandbox-0001", "200", "150000.00", _FIXTURE_KEY),
        "d65b4adf15335095fe1bfafe24964d48009dcc2989393e13570b0c9852ea60df"
        "0040b1a9646b9c9ef9433317f77acc8e387c59998dc20f5bd93fff93d23672e4",
        id="settlement",
    ),
    pytest.param(
        ("ORDER-sandbox-0003", "202", "50000.00", _FIXTURE_KEY),
        "a51d1bd2aa8b1dca9228f3827cd641b6dadf52ebb9ed40fb45db6a06dbb33de7"
        "cde8e80caa93dfb5e6beeaaf44f698dc7f6f56edd46556eddaa2a774ff7692c6",
        id="expire",
    ),
    pytest.param(
        ("ORDER-partial-refund-0001", "200", "150000.00", _FIXTURE_KEY),
        "d115a0f55a40f2c60465006118c1e48f52c3baf5a953f8443221d84dea9a9ebd"
        "7ba20f7c76d2320dfcdd31c3de41a047f6b43a4075bea5f734dd8c5231268906",
        id="partial-refund",
    ),
    pytest.param(
        ("ORDER-RECUR-2026-07-01-cust-0001", "200", "150000.00", _FIXTURE_KEY),
        "f43ba6958030a7d2d7b4ab9ed3a1c8ab4f89b57b1d608945667c61796c3c0791"
        "f20a54312303bc697069f91e8938dd910e21a5e3a40b3192b3d26681cf3e3979",
        id="recurring",
    ),
    pytest.param(
        ("1554320900", "201", "100000.00", _RECORDED_KEY),
        "9b0a7d1b2672b148d869c5b1135603f08cc043ef353602045df299712d1c8584"
        "15ed2acada1c618a997a5a9e635791ecfda46d7d61a8d6dd13e6d5821a669a75",
        id="recorded-2019",
    ),
    pytest.param(
        ("1415110500", "201", "100000.00", _RECORDED_KEY),
        "6a79b17ff900a9f991b7b16c693e4a8b00843c65d09657fdf586be77597f87fa"
        "573c9b8e9aad78784f3208a1ab61f005cc337ef6f763235e282e975bbbf2e0ce",
        id="recorded-2014",
    ),
]
_TEXTS = ("order-1", "200", "10000.00")
_GOOD = expected_signature(*_TEXTS, "key")

ODD_VALUES = [None, 1, 200, 1.5, True, b"bytes", "\ud800", "\x00", [], {}, object(), ""]


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIDTRANS_SERVER_KEY", raising=False)


@pytest.mark.parametrize(("texts", "signature"), VECTORS)
def test_published_signatures_are_computed_and_verified(
    texts: tuple[str, str, str, str], signature: str
) -> None:
    order_id, status_code, gross_amount, key = texts
    assert expected_signature(*texts) == signature
    assert MidtransClient.verify_signature(order_id, status_code, gross_amount, signature, key) is True


def test_a_linked_account_is_signed_over_its_own_three_texts() -> None:
    account_id = "00000269-7836-49e5-bc65-e592afafec14"
    assert pay_account_signature(account_id, "ENABLED", "200", _FIXTURE_KEY) == (
        "de24b1d8d89df463338129750577babef069a13406962090039ddeac2fb620c5"
        "9bece2e8876594bab3ca66f5b20d6a5b7ad854cca54f94b82018e78b1b7c4826"
    )


@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("odd", ODD_VALUES, ids=lambda odd: re.sub(r" at 0x\w+", "", repr(odd)))
def test_odd_input_is_false_and_never_an_exception(position: int, odd: object) -> None:
    arguments: list[object] = [*_TEXTS, _GOOD, "key"]
    assert signature_matches(*arguments) is True
    arguments[position] = odd
    assert signature_matches(*arguments) is False


@given(st.lists(st.one_of(st.text(), st.none(), st.binary(), st.integers()), min_size=5, max_size=5))
def test_nothing_anyone_sends_raises(arguments: list[object]) -> None:
    assert signature_matches(*arguments) is False


def test_an_empty_key_verifies_nothing_although_everyone_can_sign_with_it() -> None:
    forged = expected_signature(*_TEXTS, "")
    assert MidtransClient.verify_signature(*_TEXTS, forged, "") is False


@pytest.mark.parametrize("changed", range(3))
def test_any_changed_text_breaks_the_signature(changed: int) -> None:
    texts = list(_TEXTS)
    texts[changed] += "0"
    assert signature_matches(texts[0], texts[1], texts[2], _GOOD, "key") is False


def test_upper_case_and_cut_signatures_are_false() -> None:
    for signature in (_GOOD.upper(), _GOOD[:-1], _GOOD + "0", f" {_GOOD}"):
        assert MidtransClient.verify_signature(*_TEXTS, signature, "key") is False


def test_without_a_key_the_configured_one_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "key")
    assert MidtransClient.verify_signature(*_TEXTS, _GOOD) is True
    assert MidtransClient.verify_signature(*_TEXTS, "f" * 128) is False


def test_without_any_key_it_says_what_was_looked_for() -> None:
    with pytest.raises(MidtransConfigurationError, match="MIDTRANS_SERVER_KEY"):
        MidtransClient.verify_signature(*_TEXTS, _GOOD)
