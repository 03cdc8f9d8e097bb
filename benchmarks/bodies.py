"""Distinct, signed notifications and the answers to the questions about them: both follow from a number."""

import hashlib
from collections.abc import Iterator

KEY = "SB-Mid-server-benchmark"
"""The server key of every process measured; no one's."""

_COMMON = (
    '"transaction_time":"2026-11-20 09:00:00","transaction_status":"settlement",'
    '"settlement_time":"2026-11-20 09:04:12","expiry_time":"2026-11-21 09:00:00",'
    '"transaction_id":"{transaction_id}","order_id":"{order_id}","signature_key":"{signature}",'
    '"status_code":"200","payment_type":"bank_transfer","gross_amount":"150000.00","currency":"IDR",'
    '"fraud_status":"accept","merchant_id":"G100000001","payment_amounts":[],'
    '"va_numbers":[{{"va_number":"700010000000001","bank":"bca"}}]'
)
_NOTIFICATION = '{{"status_message":"midtrans payment notification",' + _COMMON + "}}"
_STATUS = '{{"status_message":"Success, transaction is found",' + _COMMON + "}}"
_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Veritrans\r\nAccept: application/json\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)


def order_id(number: int) -> str:
    """Return the order of payment *number*."""
    return f"bench-{number:012d}"


def transaction_id(number: int) -> str:
    """Return the transaction of payment *number*; it ends as its order does."""
    return f"5f0ae1c2-7f7d-4d7a-9d1e-{number:012d}"


def number_of(some_id: str) -> int:
    """Return the number of the payment with this order or transaction id."""
    return int(some_id[-12:])


def notification(number: int) -> bytes:
    """Return the body that tells of payment *number*, paid by a BCA virtual account."""
    return _fill(_NOTIFICATION, number)


def status(number: int) -> bytes:
    """Return what get_status says of it."""
    return _fill(_STATUS, number)


def request(number: int, *, path: str = "/notifications") -> bytes:
    """Return the whole HTTP request, as Midtrans would send it."""
    body = notification(number)
    return _HEAD.format(path=path, length=len(body)).encode() + body


def requests(count: int) -> list[bytes]:
    """Return the first *count* requests, made before the clock runs."""
    return [request(number) for number in range(count)]


def endless() -> Iterator[bytes]:
    """Yield requests, made as they are needed."""
    number = 0
    while True:
        yield request(number)
        number += 1


def _fill(template: str, number: int) -> bytes:
    order = order_id(number)
    signed = f"{order}200150000.00{KEY}"
    return template.format(
        order_id=order,
        transaction_id=transaction_id(number),
        signature=hashlib.sha512(signed.encode()).hexdigest(),
    ).encode()
