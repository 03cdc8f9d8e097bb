"""From posted bytes to a notification: strict, exact and fast."""

import contextlib
import hashlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_midtrans.notification import (
    MAX_TEXT,
    NotificationKind,
    NotificationMalformed,
    NotJson,
    Unusable,
    kind_of,
    matching_key,
    parse_object,
    read_payment,
    read_signed,
)
from django_midtrans.values import JsonNumber

KEY = "SB-Mid-server-test"


def sign(order_id: str, status_code: str, gross_amount: str, key: str = KEY) -> str:
    return hashlib.sha512(f"{order_id}{status_code}{gross_amount}{key}".encode()).hexdigest()


def payment(**changes: Any) -> dict[str, Any]:
    """Return a payment body; a change to ... leaves the field out."""
    body = {
        "order_id": "order-1",
        "transaction_id": "tx-1",
        "transaction_status": "settlement",
        "payment_type": "qris",
        "status_code": "200",
        "gross_amount": "10000.00",
        "signature_key": sign("order-1", "200", "10000.00"),
    } | changes
    return {name: value for name, value in body.items() if value is not ...}


# parse_object


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"\xff{}", "not_utf8"),
        (b'{"a": "\xed\xa0\x80"}', "not_utf8"),  # a surrogate in UTF-8's clothes
        (b"\xef\xbb\xbf{}", "not_json"),  # a byte order mark
        ('{"a": 1}'.encode("utf-16"), "not_utf8"),
        ('{"a": 1}'.encode("utf-16-le"), "not_json"),
        (b"order_id=1&status_code=200", "not_json"),
        (b"{'a': 1}", "not_json"),
        (b'{"a": 1,}', "not_json"),
        (b'{"a": 1} x', "not_json"),
        (b'{"a": 01}', "not_json"),
        (b'{"a": "\n"}', "not_json"),
        (b'{"a": "\x00"}', "not_json"),
        (b"[]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"12", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"a": 1, "a": 1}', "duplicate_key"),
        (b'{"x": [{"a": 1, "\\u0061": 2}]}', "duplicate_key"),
        (b'{"a": NaN}', "not_a_number"),
        (b'{"a": [Infinity]}', "not_a_number"),
        (b'{"a": -Infinity}', "not_a_number"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "too_deep"),
        (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", "too_deep"),
        (b"[" * 65_536, "too_deep"),
        (b'{"a":' * 13_000, "too_deep"),
    ],
)
def test_what_is_not_one_json_object_is_refused_by_name(raw: bytes, reason: str) -> None:
    with pytest.raises(NotJson) as refused:
        parse_object(raw)
    assert refused.value.reason == reason


def test_brackets_in_text_are_no_depth() -> None:
    body = parse_object(b'{"a": "' + b"[" * 1000 + b'", "b": "\\"{{{{' + b"{" * 1000 + b'"}')
    assert len(body["a"]) == 1000


def test_thirty_two_levels_are_not_too_deep() -> None:
    assert parse_object(b'{"a":' * 32 + b"1" + b"}" * 32)
    assert parse_object(b'{"a": [' + b",".join([b"[]"] * 500) + b"]}")


def test_a_deeper_limit_than_the_interpreter_bears_is_still_no_recursion_error() -> None:
    with pytest.raises(NotJson, match="too_deep"):
        parse_object(b'{"a":' + b"[" * 500_000, max_depth=10**6)


def test_numbers_keep_their_source_text_and_are_told_from_text() -> None:
    body = parse_object(b'{"a": 10000, "b": 1.50, "c": 1E2, "d": -0, "e": "10000", "f": true}')
    assert [body[name] for name in "abcd"] == ["10000", "1.50", "1E2", "-0"]
    assert all(isinstance(body[name], JsonNumber) for name in "abcd")
    assert type(body["e"]) is str
    assert body["f"] is True


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": ' + b"9" * 65_000 + b"}",
        b'{"a": "' + b'\\"' * 32_000,
        b"[" * 40 + b'"\\' * 32_000,
        b'"' * 65_536,
        b"{" * 40 + b'"' * 65_000,
    ],
)
def test_no_body_of_64_kib_takes_long(raw: bytes) -> None:
    started = time.perf_counter()
    with contextlib.suppress(NotJson):
        parse_object(raw)
    assert time.perf_counter() - started < 0.25


def test_a_lone_surrogate_outside_our_fields_is_kept() -> None:
    assert parse_object(b'{"note": "\\ud800"}')["note"] == "\ud800"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values, max_size=5), st.booleans())
def test_it_agrees_with_the_standard_library_on_valid_objects(body: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(body, ensure_ascii=ascii_only)
    expected = json.loads(text, parse_int=JsonNumber, parse_float=JsonNumber)
    assert parse_object(text.encode("utf-8", "surrogatepass")) == expected


@given(st.binary(max_size=200) | st.text('{}[]":,\\u0dNa1e-. \n', max_size=60).map(str.encode))
def test_arbitrary_bytes_raise_nothing_but_not_json(raw: bytes) -> None:
    with contextlib.suppress(NotJson):
        assert isinstance(parse_object(raw), dict)


# kind_of


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (payment(), "payment"),
        (payment(metadata={"midtrans_invoice_id": "i"}), "payment"),
        (payment(account_id="a", account_status="ENABLED"), "payment"),
        (payment(subscription_id="s"), "payment"),
        (payment(transaction_status=...), "unknown"),
        (payment(signature_key=...), "unknown"),
        ({"account_id": "a", "account_status": "ENABLED", "signature_key": "s"}, "pay_account"),
        ({"account_id": "a", "account_status": "ENABLED", "signature_key": "s", "order_id": "o"}, "unknown"),
        ({"account_id": "a", "account_status": "ENABLED"}, "unknown"),
        ({"event_name": "subscription.charge", "transaction": {}, "subscription": {}}, "subscription"),
        (dict.fromkeys(("id", "name", "status", "schedule", "amount", "token"), "x"), "subscription"),
        ({"reference_no": "r", "amount": "1", "status": "completed", "updated_at": "t"}, "payout"),
        ({"transaction_id": "t", "order_id": "o", "gross_amount": "1", "status": "topup"}, "payout"),
        ({"originalReferenceNo": "r", "latestTransactionStatus": "00"}, "bi_snap"),
        ({"partnerServiceId": "1", "virtualAccountNo": "2", "trxId": "3"}, "bi_snap"),
        ({"additionalInfo": {"accountStatus": "ENABLED"}}, "bi_snap"),
        ({"additionalInfo": "text"}, "unknown"),
        ({"event_name": 1}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_the_kind_is_told_by_shape(body: dict[str, Any], kind: str) -> None:
    assert kind_of(body) is NotificationKind(kind)


# read_payment, read_signed


def test_a_payment_is_read() -> None:
    body = payment(merchant_id="G1")
    read = read_payment(body)
    assert (read.order_id, read.transaction_id, read.transaction_status) == ("order-1", "tx-1", "settlement")
    assert (read.payment_type, read.status_code, read.merchant_id) == ("qris", "200", "G1")
    assert read.gross_amounts == (("text", "10000.00"),)
    assert read.body is body
    assert not read.is_dashboard_test


REQUIRED = ("order_id", "transaction_status", "status_code", "gross_amount", "signature_key")


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (..., "missing_field"),
        (None, "wrong_type"),
        (True, "wrong_type"),
        ([], "wrong_type"),
        ({}, "wrong_type"),
        ("", "empty_field"),
        ("a\x00b", "bad_text"),
        ("a\ud800", "bad_text"),
        ("a" * (MAX_TEXT + 1), "too_long"),
    ],
)
def test_a_required_field_that_does_not_fit_is_named(name: str, value: object, reason: str) -> None:
    with pytest.raises(Unusable) as refused:
        read_payment(payment(**{name: value}))
    assert refused.value.reason == reason
    assert name in refused.value.detail


@pytest.mark.parametrize("name", ["order_id", "transaction_status", "signature_key", "transaction_id"])
def test_a_number_is_no_text_where_text_is_asked_for(name: str) -> None:
    with pytest.raises(Unusable, match=f"wrong_type: {name}"):
        read_payment(payment(**{name: JsonNumber("12")}))


@pytest.mark.parametrize("name", ["transaction_id", "payment_type", "merchant_id"])
@pytest.mark.parametrize("value", ["\x00", "\udfff", "a" * 256])
def test_bad_text_in_an_optional_field_that_we_use_is_refused(name: str, value: str) -> None:
    with pytest.raises(Unusable, match=name):
        read_payment(payment(**{name: value}))


@pytest.mark.parametrize("value", [..., None, ""])
def test_a_payment_may_have_no_transaction_id(value: object) -> None:
    assert read_payment(payment(transaction_id=value)).transaction_id is None


@pytest.mark.parametrize("name", ["payment_type", "merchant_id"])
@pytest.mark.parametrize("value", [..., None, "", 7, [], JsonNumber("7")])
def test_an_odd_type_in_a_field_for_show_says_nothing(name: str, value: object) -> None:
    assert getattr(read_payment(payment(**{name: value})), name) is None


def test_bad_text_in_a_field_that_we_do_not_use_is_kept() -> None:
    assert read_payment(payment(note="\x00\ud800")).body["note"] == "\x00\ud800"


@pytest.mark.parametrize(
    ("source", "forms"),
    [
        ("10000", (("source", "10000"), ("two_decimals", "10000.00"))),
        ("10000.0", (("source", "10000.0"), ("two_decimals", "10000.00"))),
        ("10000.00", (("source", "10000.00"),)),
        ("1e4", (("source", "1e4"),)),
        ("-1", (("source", "-1"),)),
    ],
)
def test_a_number_as_amount_has_both_forms(source: str, forms: tuple[tuple[str, str], ...]) -> None:
    body = parse_object(json.dumps(payment(gross_amount="X")).replace('"X"', source).encode())
    assert read_payment(body).gross_amounts == forms


def test_an_amount_as_text_is_never_reformatted() -> None:
    assert read_payment(payment(gross_amount="10000")).gross_amounts == (("text", "10000"),)


def test_a_number_as_status_code_is_its_source_text() -> None:
    assert read_payment(payment(status_code=JsonNumber("201"))).status_code == "201"


def test_the_dashboards_test_button_is_known() -> None:
    assert read_payment(payment(order_id="payment_notif_test_G1_x")).is_dashboard_test
    assert read_signed(payment(order_id="payment_notif_test_G1_x")).is_dashboard_test
    assert not read_payment(payment(order_id="my_payment_notif_test_")).is_dashboard_test


def test_a_signed_body_of_no_known_kind_is_read() -> None:
    read = read_signed(payment(transaction_status=...))
    assert (read.order_id, read.status_code) == ("order-1", "200")
    assert matching_key(read, [KEY]) == (0, "text")


@pytest.mark.parametrize("name", ["order_id", "status_code", "gross_amount", "signature_key"])
def test_a_body_without_what_is_signed_is_unusable(name: str) -> None:
    with pytest.raises(Unusable, match=f"missing_field: {name}"):
        read_signed(payment(**{name: ...}))


def test_no_error_shows_a_value() -> None:
    with pytest.raises(NotificationMalformed) as refused:
        read_payment(payment(order_id=["hidden"], signature_key="hidden"))
    assert "hidden" not in str(refused.value)


# matching_key

VECTORS = [
    (
        "1111",
        "200",
        "100000.00",
        "askvnoibnosifnboseofinbofinfgbiufglnbfg",
        "edc076b21793ebe3e17926350f5b8ae67d902fe657b3d0aa31b932d5c127e2375d308a2bc94f3265ac2d80a1f181a79b997ac178a236fcff35af263fc4d4c231",
    ),
    (
        "1554320900",
        "201",
        "100000.00",
        "VT-server-9Htb-RxXkg7-7hznSCCjxvoY",
        "9b0a7d1b2672b148d869c5b1135603f08cc043ef353602045df299712d1c858415ed2acada1c618a997a5a9e635791ecfda46d7d61a8d6dd13e6d5821a669a75",
    ),
    (
        "ORDER-sandbox-0001",
        "200",
        "150000.00",
        KEY,
        "d65b4adf15335095fe1bfafe24964d48009dcc2989393e13570b0c9852ea60df0040b1a9646b9c9ef9433317f77acc8e387c59998dc20f5bd93fff93d23672e4",
    ),
]


@pytest.mark.parametrize(("order_id", "status_code", "amount", "key", "signature"), VECTORS)
def test_published_signatures_match(
    order_id: str, status_code: str, amount: str, key: str, signature: str
) -> None:
    body = payment(order_id=order_id, status_code=status_code, gross_amount=amount, signature_key=signature)
    assert matching_key(read_payment(body), ["wrong", key]) == (1, "text")
    assert matching_key(read_payment(body), ["wrong", key.swapcase()]) is None


@pytest.mark.parametrize(("signed", "form"), [("10000", "source"), ("10000.00", "two_decimals")])
def test_the_form_that_was_signed_is_said(signed: str, form: str) -> None:
    body = payment(gross_amount=JsonNumber("10000"), signature_key=sign("order-1", "200", signed))
    assert matching_key(read_payment(body), ["wrong", KEY]) == (1, form)


def test_the_first_of_equal_keys_is_named() -> None:
    assert matching_key(read_payment(payment()), [KEY, KEY]) == (0, "text")


@pytest.mark.parametrize("keys", [[], [""], ["", "wrong"], [KEY + " "], ["\ud800"]])
def test_no_other_key_matches_and_the_empty_one_never(keys: list[str]) -> None:
    assert matching_key(read_payment(payment()), keys) is None
    forged = payment(signature_key=sign("order-1", "200", "10000.00", key=""))
    assert matching_key(read_payment(forged), keys) is None


@pytest.mark.parametrize("signature", ["x", "é", "0" * 128, sign("order-1", "200", "10000.00").upper()])
def test_an_odd_signature_matches_nothing_and_raises_nothing(signature: str) -> None:
    assert matching_key(read_payment(payment(signature_key=signature)), [KEY]) is None
