"""Texts that repeat themselves from row to row, kept small: by zlib, with a dictionary of what they are made of.

The first byte says how: 0, the bytes as they are; else the number of a dictionary, and a zlib stream follows. That
names its dictionary and ends with a checksum of what it holds. **A dictionary never changes:** rows that were written
with it need it for ever. A better one gets a number of its own.
"""

import zlib
from collections.abc import Mapping
from typing import Final

ANSWER: Final = 1
STATE: Final = 2
EVENT: Final = 3

# What stands further back costs less to point at: whole texts as they mostly are come last, rare words first.
DICTIONARIES: Final[Mapping[int, bytes]] = {
    ANSWER: b'"challenge","deny","cancel","expire","failure","refund","partial_refund","chargeback"'
    b',"partial_chargeback""authorize","capture","pending","status_message":"midtrans payment notification"'
    b',"channel_response_message":"'
    b'"Approved","channel_response_code":"00","eci":"05","masked_card":"48111111-1114","card_type":"debit"'
    b'"card_type":"credit","approval_code":"1","three_d_secure_version":"2","challenge_completion":true'
    b'"on_us":false,"installment_term":3,"saved_token_id":"","refund_amount":"10000.00","refunds":[{"refund_chargeback'
    b'_id":1,"refund_chargeback_uuid":"","refund_amount":"10000.00","created_at":"2026-01-01 10:00:00","reason":"'
    b'","refund_key":"","refund_method":"online","bank_confirmed_at":"2026-01-01 10:00:00"}]'
    b'"custom_field1":"","custom_field2":"","custom_field3":"","metadata":{},"customer_details":{"full_name":"","phone'
    b'":"+62","email":"@gmail.com"},"store":"alfamart","store":"indomaret","payment_code":"","approval_code":""'
    b'"biller_code":"70012","bill_key":"","permata_va_number":"","bank":"bni"}],"bank":"bri"}],"bank":"mandiri"'
    b'"bank":"permata","bank":"cimb","issuer":"gopay","acquirer":"airpay shopee","acquirer":"gopay"'
    b'"transaction_type":"on-us","transaction_type":"off-us","shopeepay_reference_number":"","reference_id":""'
    b'"merchant_cross_reference_id":"","settlement_amount":"","payment_amounts":[{"paid_at":"2026-01-01 10:00:00"'
    b',"amount":"150000.00"}]"payment_type":"credit_card","payment_type":"echannel","payment_type":"cstore"'
    b'"payment_type":"shopeepay","payment_type":"dana","payment_type":"ovo","payment_type":"gopay","payment_type":"qris'
    b'","status_code":"201","status_message":"Success, transaction is found","fraud_status":"accept","transaction_time'
    b'":"2026-01-01 10:00:00","transaction_status":"settlement","settlement_time":"2026-01-01 10:00:00","expiry_time'
    b'":"2026-01-02 10:00:00","transaction_id":"","order_id":"","signature_key":"","status_code":"200","payment_type'
    b'":"bank_transfer","gross_amount":"00.00","currency":"IDR","fraud_status":"accept","merchant_id":"G","payment'
    b'_amounts":[],"va_numbers":[{"va_number":"","bank":"bca"}]}',
    STATE: b'"authorized","challenged","captured","denied","cancelled","expired","failed","partially_refunded"'
    b',"refunded""charged_back","reversed":1,"refund","deny","cancel","expire","capture","status_code":"202","credit_card"'
    b'"echannel","cstore","shopeepay","gopay","qris","channel":"bni","channel":"bri","channel":"mandiri"'
    b'"channel":"permata","refunds":[{"key":"","amount":{"value":"10000.00","currency":"IDR"},"method":"'
    b'","reason":"","created_at":"2026-01-01T10:00:00Z","bank_confirmed_at":"2026-01-01T10:00:00Z"}]'
    b'"settlement_time":null,"expiry_time":null,"transaction_status":"pending","fraud_status":null,"status_code":"201'
    b'","settled_before":false,"sequence":2,"entries":{"pending":1}}'
    b'{"status":"pending","amount":"{"status":"settled","amount":"50000.00","currency":"IDR","amount_before_fee":null'
    b',"refunded":"0.00","refunds":[],"refund_confirmations":0,"charged_back":"0.00","payment_type":"bank_transfer'
    b'","channel":"bca","merchant_id":"G100000001","transaction_time":"2026-01-01T10:00:00Z","settlement_time":"2026-'
    b'01-01T10:00:00Z","expiry_time":"2026-01-02T10:00:00Z","custom_fields":[null,null,null],"metadata":{}'
    b',"transaction_status":"settlement","fraud_status":"accept","status_code":"200","settled_before":true'
    b',"sequence":1,"entries":{"pending":1,"settled":1}}',
    EVENT: b'"authorized","challenged","captured","denied","cancelled","expired","failed","partially_refunded"'
    b',"refunded""charged_back","reversed","refund_confirmed","partially_charged_back","unpaid","returned","outcome_changed":false'
    b'"finality":"provisional","reversible_until":"2026-01-01T10:00:00Z","irregular":true,"confirmed_by":"reconcile"'
    b'"midtrans":{"transaction_status":"refund","deny","cancel","expire","capture","status_code":"202"'
    b'"amount_before_fee":{"value":"10000.00","currency":"IDR"},"refunds":[{"key":"","amount":{"value":"10000.00'
    b'","currency":"IDR"},"method":"","reason":"","created_at":"2026-01-01T10:00:00Z","bank_confirmed_at":"2026-01-01T'
    b'10:00:00Z"}]"expected":{"value":"10000.00","currency":"IDR"},"amount_matches":true,"amount_matches":false'
    b'"credit_card","echannel","cstore","shopeepay","gopay","qris","channel":"bni","channel":"bri","channel":"mandiri"'
    b'"channel":"permata","type":"midtrans.payment.pending","status":"pending","previous_status":null,"outcome":"open'
    b'","order":{"outcome":"open","paid_payments":0,"occurred_at":null,"midtrans":{"transaction_status":"pending'
    b'","fraud_status":null,"status_code":"201"}'
    b'{"specversion":"1.0","id":"","source":"/midtrans/default","type":"midtrans.payment.settled","subject":"","time'
    b'":"2026-01-01T10:00:00Z","datacontenttype":"application/json","dataschema":"urn:midtrans-service:schema:payment:1'
    b'","partitionkey":"default/","sequence":"0000000002","sequence":"0000000001","data":{"merchant":"default","order_id'
    b'":"","transaction_id":"","payment_type":"bank_transfer","channel":"bca","status":"settled","previous_status'
    b'":"pending","outcome":"paid","outcome_changed":true,"finality":"firm","reversible_until":null,"irregular":false'
    b',"amount":{"value":"50000.00","currency":"IDR"},"amount_before_fee":null,"refunded":{"value":"0.00","currency'
    b'":"IDR"},"refunds":[],"charged_back":{"value":"0.00","currency":"IDR"},"order":{"outcome":"paid","paid_payments'
    b'":1,"expected":null,"amount_matches":null},"occurred_at":"2026-01-01T10:00:00Z","confirmed_at":"2026-01-01T10:00:'
    b'00Z","confirmed_by":"notification","midtrans":{"transaction_status":"settlement","fraud_status":"accept'
    b'","status_code":"200"},"custom_fields":[null,null,null],"metadata":{}}}',
}
_WINDOW: Final = (
    12  # 4 KiB: the texts and their dictionaries are shorter, and a larger one costs more to clear
)
_MEMORY: Final = 5  # likewise
_LEVEL: Final = 3  # a higher one saves 5 bytes in 100


def pack(content: bytes, dictionary: int) -> bytes:
    """Return *content* as it is kept: by *dictionary*, or as it is where that would not be shorter."""
    packer = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, DICTIONARIES[dictionary]
    )
    packed = packer.compress(content) + packer.flush()
    return bytes((dictionary,)) + packed if len(packed) < len(content) else b"\0" + content


def unpack(packed: bytes) -> bytes:
    """Return what `pack` was given, to the byte.

    Raises:
        ValueError: It was not made by `pack`, or is damaged, or a later version made it.
    """
    if not packed:
        raise ValueError("nothing is kept here, not even how")
    if packed[0] == 0:
        return packed[1:]
    if packed[0] not in DICTIONARIES:
        raise ValueError(f"kept with dictionary {packed[0]}, which this version does not have")
    unpacker = zlib.decompressobj(_WINDOW, DICTIONARIES[packed[0]])
    try:
        content = unpacker.decompress(packed[1:])
    except zlib.error as error:
        raise ValueError("what is kept here is damaged") from error
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("what is kept here is cut or has something behind it")
    return content
