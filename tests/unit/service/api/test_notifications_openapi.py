import json

from service.api.notifications_openapi import notification_paths
from service.domain.answers import ANSWERS, Happened
from service.domain.merchant import Merchant
from service.domain.receiving import Keys

OPERATIONS = [item["post"] for item in notification_paths().values()]


def test_both_addresses_are_described_as_open_to_everyone() -> None:
    assert list(notification_paths()) == ["/notifications", "/notifications/{merchant}"]
    assert all(operation["security"] == [] for operation in OPERATIONS)
    assert len({operation["operationId"] for operation in OPERATIONS}) == 2


def test_every_answer_is_described_with_an_example_of_each_case() -> None:
    for operation in OPERATIONS:
        for happened, row in ANSWERS.items():
            if happened is Happened.METHOD:
                continue
            response = operation["responses"][str(row.status)]
            example = response["content"]["application/json"]["examples"][happened.value]["value"]
            assert happened.value in (example.get("error"), example.get("status"))


def test_the_example_is_really_signed() -> None:
    from django_midtrans.notification import matching_key, parse_object, read_payment

    example = OPERATIONS[0]["requestBody"]["content"]["application/json"]["example"]
    keys = Keys.of(Merchant("default", ("an-example-server-key",))).keys
    notification = read_payment(parse_object(json.dumps(example).encode()))
    assert matching_key(notification, keys) == (0, "text")


def test_the_description_is_plain_json() -> None:
    assert json.loads(json.dumps(notification_paths())) == notification_paths()
