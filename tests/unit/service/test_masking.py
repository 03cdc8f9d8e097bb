import json

import pytest

from service.masking import MASKED, mask_body, mask_text

SIGNATURE = "a1" * 64


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            f'{{"signature_key":"{SIGNATURE}","order_id":"A-1"}}',
            f'{{"signature_key":"{MASKED}","order_id":"A-1"}}',
        ),
        ('{"signature_key": "short \\" one"}', f'{{"signature_key": "{MASKED}"}}'),
        (f'{{"signature\\u005fkey":"{SIGNATURE}"}}', f'{{"signature\\u005fkey":"{MASKED}"}}'),
        ('{"saved_token_id":"4811-abc"}', f'{{"saved_token_id":"{MASKED}"}}'),
        ('{"x":"SB-Mid-server-abc"}', f'{{"x":"{MASKED}"}}'),
        ('{"card":"4811111111111114"}', f'{{"card":"{MASKED}"}}'),
        ('{"signature_key":"cut in the mid', f'{{"signature_key":"{MASKED}'),
        ('{"va_number":"12345678901","email":"a@b.id"}', '{"va_number":"12345678901","email":"a@b.id"}'),
    ],
)
def test_a_body_is_shown_without_what_signs_opens_or_pays(body: str, shown: str) -> None:
    assert mask_body(body) == shown


def test_a_masked_body_is_json_still() -> None:
    body = {"signature_key": SIGNATURE, "gross_amount": "1.00", "nested": {"token": "t", "list": [1, "\\"]}}
    shown = json.loads(mask_body(json.dumps(body)))
    assert shown == {**body, "signature_key": MASKED, "nested": {**body["nested"], "token": MASKED}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach nats://user:pass-word@10.0.0.1:4222",
        "redis://:pass-word@cache/0 refused",
        "tried amqps://shop:pass%2Dword@broker.example.com/vhost and nats://pass-word@h",
    ],
)
def test_a_login_in_a_url_is_masked_and_its_host_is_not(text: str) -> None:
    masked = mask_text(text)
    assert "word" not in masked
    assert any(host in masked for host in ("10.0.0.1", "cache", "broker.example.com"))
