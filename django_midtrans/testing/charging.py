"""From a charge's payload to a transaction: what is refused, and what each payment type adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from django_midtrans.testing.bodies import money
from django_midtrans.testing.cards import read_token
from django_midtrans.testing.transaction import AUTHORIZATION_HOLDS, SWAPPED_BANKS, Transaction

VA_BANKS = frozenset({"bca", "bni", "bri", "cimb", "permata"}) | SWAPPED_BANKS
STORES = frozenset({"indomaret", "alfamart"})
LONGEST_ORDER_ID = 50
LONGEST_CUSTOM_FIELD = 255
LONGEST_EXPIRY = 1_000_000  # of any unit
OPEN_FOR: Mapping[str, timedelta] = {  # how long each type waits for the customer
    "bank_transfer": timedelta(hours=24),
    "echannel": timedelta(hours=24),
    "cstore": timedelta(hours=24),
    "akulaku": timedelta(hours=24),
    "kredivo": timedelta(hours=24),
    "gopay": timedelta(minutes=15),
    "qris": timedelta(minutes=15),
    "dana": timedelta(minutes=15),
    "shopeepay": timedelta(minutes=15),
    "credit_card": timedelta(minutes=10),  # 3DS
    "ovo": timedelta(seconds=65),
}
_UNITS = frozenset({"second", "minute", "hour", "day"})


@dataclass(frozen=True, kw_only=True)
class Making:
    """All that a new transaction is made of."""

    payload: Mapping[str, Any]
    now: datetime
    transaction_id: str
    number: int  # counts the account's charges: virtual accounts and payment codes come from it
    public_url: str
    customer_fee: Decimal


def problems_of(payload: Mapping[str, Any]) -> list[str]:
    """Return the ``validation_messages`` of a charge, empty when it can be made."""
    payment_type = payload.get("payment_type")
    problems = [] if payment_type in OPEN_FOR else ["payment_type is not supported"]
    problems += _problems_of_order(_object(payload, "transaction_details"))
    problems += _problems_of_items(payload)
    if payment_type == "bank_transfer" and _object(payload, "bank_transfer").get("bank") not in VA_BANKS:
        problems.append("bank_transfer.bank is required and must be a supported bank")
    if payment_type == "cstore" and _object(payload, "cstore").get("store") not in STORES:
        problems.append("cstore.store is required and must be indomaret or alfamart")
    problems += [
        f"{name} must be text of at most {LONGEST_CUSTOM_FIELD} characters"
        for name in ("custom_field1", "custom_field2", "custom_field3")
        if not isinstance(payload.get(name, ""), str) or len(payload.get(name, "")) > LONGEST_CUSTOM_FIELD
    ]
    if not isinstance(payload.get("metadata", {}), dict):
        problems.append("metadata must be an object")
    return problems + _problems_of_expiry(payload)


def lacks_card_token(payload: Mapping[str, Any]) -> bool:
    """Tell whether a card charge has no token that this Midtrans could have made: its 411."""
    return payload["payment_type"] == "credit_card" and read_token(_token_of(payload)) is None


def open_transaction(making: Making) -> Transaction:
    """Return the transaction of a payload without problems; a card without 3DS is decided at once."""
    payload, details = making.payload, making.payload["transaction_details"]
    payment_type = payload["payment_type"]
    payment = Transaction(
        order_id=details["order_id"],
        transaction_id=making.transaction_id,
        payment_type=payment_type,
        channel="",
        gross_amount=Decimal(details["gross_amount"]) + making.customer_fee,
        transaction_time=making.now,
        expiry_time=_expiry(payload, making.now),
        echoed=_echoed(payload),
    )
    add_fee(payment, making.customer_fee)
    _TYPES[payment_type](payment, making)
    payment.advance(payment.status)
    return payment


def add_fee(payment: Transaction, fee: Decimal) -> None:
    """Note in the metadata that *fee* of the gross amount is the customer's; 0 notes nothing."""
    if not fee:
        return
    names = ("original_amount", "gross_amount", "customer_imposed_payment_fee")
    amounts = (payment.gross_amount - fee, payment.gross_amount, fee)
    told = {name: money(amount) for name, amount in zip(names, amounts, strict=True)}
    payment.echoed["metadata"] = {
        **payment.echoed.get("metadata", {}),
        "extra_info": {"gross_amount_info": told},
    }


def decide_card(payment: Transaction, now: datetime) -> None:
    """Give a card payment the end that its number stands for."""
    if payment.card_outcome in {"deny", "fraud"}:
        payment.status = "deny"
        payment.fraud_status = "deny" if payment.card_outcome == "fraud" else "accept"
        return
    payment.fraud_status = payment.card_outcome
    payment.when_paid["approval_code"] = str(int(now.timestamp() * 1000))
    payment.when_paid.update(channel_response_code="00", channel_response_message="Approved")
    if payment.preauthorized:
        payment.status, payment.expiry_time = "authorize", now + AUTHORIZATION_HOLDS
        payment.details.update(payment.when_paid)  # an authorisation shows them too
    else:
        payment.status, payment.expiry_time = "capture", None


def _problems_of_order(details: Mapping[str, Any]) -> list[str]:
    problems = []
    order_id, amount = details.get("order_id"), details.get("gross_amount")
    if (
        not isinstance(order_id, str)
        or not 0 < len(order_id) <= LONGEST_ORDER_ID
        or not order_id.isprintable()
    ):
        problems.append(f"transaction_details.order_id is required, {LONGEST_ORDER_ID} characters at most")
    if isinstance(amount, bool) or not isinstance(amount, int) or amount < 1:
        problems.append("transaction_details.gross_amount must be a positive integer")
    return problems


def _problems_of_items(payload: Mapping[str, Any]) -> list[str]:
    items = payload.get("item_details")
    if items is None:
        return []
    try:
        total = sum(Decimal(str(item["price"])) * int(item["quantity"]) for item in items)
        expected = Decimal(str(_object(payload, "transaction_details").get("gross_amount")))
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return ["item_details must have price and quantity"]
    return (
        []
        if total == expected
        else ["transaction_details.gross_amount is not equal to the sum of item_details"]
    )


def _problems_of_expiry(payload: Mapping[str, Any]) -> list[str]:
    wanted = payload.get("custom_expiry")
    if wanted is None:
        return []
    duration = wanted.get("expiry_duration") if isinstance(wanted, dict) else None
    if (
        not isinstance(duration, int)
        or not 0 < duration <= LONGEST_EXPIRY
        or wanted.get("unit", "minute") not in _UNITS
    ):
        return ["custom_expiry.expiry_duration or custom_expiry.unit is not valid"]
    return []


def _expiry(payload: Mapping[str, Any], now: datetime) -> datetime:
    wanted = payload.get("custom_expiry")
    if wanted is None or payload["payment_type"] == "ovo":  # OVO's 65 seconds are fixed
        return now + OPEN_FOR[payload["payment_type"]]
    return now + timedelta(**{wanted.get("unit", "minute") + "s": wanted["expiry_duration"]})


def _echoed(payload: Mapping[str, Any]) -> dict[str, Any]:
    names = ("custom_field1", "custom_field2", "custom_field3", "metadata")
    return {name: payload[name] for name in names if payload.get(name)}


def _object(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def _token_of(payload: Mapping[str, Any]) -> object:
    return _object(payload, "credit_card").get("token_id")


def _link(making: Making, name: str, path: str, method: str = "GET") -> dict[str, str]:
    return {"name": name, "method": method, "url": f"{making.public_url}/v2/{path}"}


def _bank_transfer(payment: Transaction, making: Making) -> None:
    payment.channel = making.payload["bank_transfer"]["bank"]
    number = f"8{making.number:015d}"
    if payment.channel == "permata":
        payment.details["permata_va_number"] = number
        return
    payment.details["va_numbers"] = [{"bank": payment.channel, "va_number": number}]
    if payment.channel in {"bca", "bri"}:
        payment.when_paid["payment_amounts"] = []  # BNI alone fills it, when paid


def _echannel(payment: Transaction, making: Making) -> None:
    payment.channel = "mandiri"
    payment.details.update(biller_code="70012", bill_key=f"9{making.number:011d}")


def _cstore(payment: Transaction, making: Making) -> None:
    payment.channel = making.payload["cstore"]["store"]
    payment.details.update(store=payment.channel, payment_code=f"3{making.number:015d}")
    if payment.channel == "indomaret":
        payment.fraud_status = None  # Indomaret is not evaluated
        payment.when_paid["approval_code"] = f"IND{making.number:09d}"


def _gopay(payment: Transaction, making: Making) -> None:
    own = payment.transaction_id
    payment.offered["actions"] = [
        _link(making, "generate-qr-code", f"gopay/{own}/qr-code"),
        _link(making, "deeplink-redirect", f"gopay/{own}/deeplink"),
        _link(making, "get-status", f"{own}/status"),
        _link(making, "cancel", f"{own}/cancel", "POST"),
    ]
    payment.when_paid["payment_option_type"] = "GOPAY_WALLET"
    payment.when_denied.update(channel_response_code="201", channel_response_message="Insufficient Balance")


def _qris(payment: Transaction, making: Making) -> None:
    acquirer = _object(making.payload, "qris").get("acquirer", "gopay")
    payment.channel = "airpay shopee" if "shopee" in str(acquirer) else "gopay"
    payment.details["acquirer"] = payment.channel
    payment.offered["qr_string"] = f"0002010102simulated{making.number:06d}6304"
    payment.offered["actions"] = [_link(making, "generate-qr-code", f"qris/{payment.transaction_id}/qr-code")]
    payment.when_paid.update(transaction_type="off-us", issuer="dana")
    if payment.channel == "gopay":
        payment.when_paid["merchant_cross_reference_id"] = f"cross-{payment.transaction_id}"
    else:
        payment.when_paid.update(_shopee_references(making))


def _shopeepay(payment: Transaction, making: Making) -> None:
    payment.channel = "shopeepay"
    payment.offered["actions"] = [
        _link(making, "deeplink-redirect", f"shopeepay/{payment.transaction_id}/deeplink")
    ]
    payment.when_paid.update(_shopee_references(making))


def _shopee_references(making: Making) -> dict[str, str]:
    return {"shopeepay_reference_number": f"1{making.number:017d}", "reference_id": f"ref-{making.number}"}


def _dana(payment: Transaction, making: Making) -> None:
    payment.transaction_id = f"A12{making.now:%Y%m%d%H%M%S}{making.number:07d}JTID"  # 28 characters, no UUID
    payment.offered["actions"] = [
        _link(making, "deeplink-redirect", f"dana/{payment.transaction_id}/deeplink")
    ]


def _ovo(payment: Transaction, making: Making) -> None:
    phone = _object(making.payload, "ovo").get("phone_number", "081200000000")
    payment.details.update(payer_phone_number=phone, merchant_invoice=f"INV-{making.number:08d}")


def _paylater(payment: Transaction, making: Making) -> None:
    path = quote(f"{payment.payment_type}/redirect/{payment.transaction_id}")
    payment.offered["redirect_url"] = f"{making.public_url}/v2/{path}"


def _credit_card(payment: Transaction, making: Making) -> None:
    card = making.payload["credit_card"]
    masked_card, payment.card_outcome = read_token(card["token_id"]) or ("", "")
    payment.channel = card.get("bank", "bni")
    payment.preauthorized = card.get("type") == "authorize"
    payment.details.update(masked_card=masked_card, bank=payment.channel, card_type="credit", on_us=False)
    payment.when_denied.update(channel_response_code="05", channel_response_message="Do not honour")
    if "installment_term" in card:
        payment.details["installment_term"] = card["installment_term"]
    if card.get("save_token_id"):
        payment.details["saved_token_id"] = f"{masked_card[:6]}simulated{making.number}{masked_card[-4:]}"
    if card.get("authentication"):
        payment.details.update(three_ds_version="2", challenge_completion=True, eci="05")
        payment.offered["redirect_url"] = (
            f"{making.public_url}/v2/token/rba/redirect/{masked_card}-{payment.transaction_id}"
        )
    else:
        payment.details["eci"] = "07"
        decide_card(payment, making.now)


_TYPES: Mapping[str, Callable[[Transaction, Making], None]] = {
    "bank_transfer": _bank_transfer,
    "echannel": _echannel,
    "cstore": _cstore,
    "gopay": _gopay,
    "qris": _qris,
    "shopeepay": _shopeepay,
    "dana": _dana,
    "ovo": _ovo,
    "akulaku": _paylater,
    "kredivo": _paylater,
    "credit_card": _credit_card,
}
