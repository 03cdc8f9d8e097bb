"""What the benchmarks send is what the service takes in: figures of refusals would look splendid."""

import json

from benchmarks import bodies, status_api
from django_midtrans.facts import read_facts
from django_midtrans.notification import NotificationKind, kind_of, matching_key, parse_object, read_payment


def test_every_notification_is_a_payment_signed_with_the_key_and_like_no_other() -> None:
    first, second = (parse_object(bodies.notification(number)) for number in (1, 2))
    for body in (first, second):
        assert kind_of(body) is NotificationKind.PAYMENT
        assert matching_key(read_payment(body), [bodies.KEY]) == (0, "text")
    assert first["order_id"] != second["order_id"]
    assert first["transaction_id"] != second["transaction_id"]


def test_a_request_says_how_long_its_body_is() -> None:
    head, _, body = bodies.request(7).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert body == bodies.notification(7)


def test_the_status_api_answers_by_either_id_with_the_payment_notified() -> None:
    notified = read_payment(parse_object(bodies.notification(42)))
    for some_id in (bodies.order_id(42), bodies.transaction_id(42)):
        head, _, body = status_api.answer_to(f"GET /v2/{some_id}/status HTTP/1.1\r\n\r\n".encode()).partition(
            b"\r\n\r\n"
        )
        facts = read_facts(json.loads(body))
        assert (facts.order_id, facts.transaction_id) == (notified.order_id, notified.transaction_id)
        assert f"Content-Length: {len(body)}".encode() in head


def test_the_status_api_knows_nothing_else() -> None:
    assert status_api.answer_to(b"GET /readyz HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404")
