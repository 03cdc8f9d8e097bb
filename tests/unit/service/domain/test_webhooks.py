"""Signatures: what Standard Webhooks' own library accepts, and nothing else."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from service.domain.webhooks import check_secrets, fingerprint, headers, secret_key, secret_text
from service.errors import RequestInvalid

KEYS = st.binary(min_size=24, max_size=64)
BODIES = st.text(max_size=200)


def signed(keys: list[bytes], body: str, *, at: datetime | None = None) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return dict(headers(keys, message_id="5f0c7c8e-6c2c", at=at, body=body.encode()))


@given(KEYS, BODIES)
def test_the_reference_library_accepts_what_is_signed(key: bytes, body: str) -> None:
    Webhook(secret_text(key)).verify(body, signed([key], body), json_parse=False)


@given(KEYS, st.lists(KEYS, max_size=3), BODIES)
def test_any_of_several_secrets_verifies_while_they_are_rotated(
    key: bytes, others: list[bytes], body: str
) -> None:
    Webhook(secret_text(key)).verify(body, signed([*others, key], body), json_parse=False)


@given(KEYS, KEYS, BODIES)
def test_another_secret_verifies_nothing(key: bytes, other: bytes, body: str) -> None:
    if key == other:
        return
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(other)).verify(body, signed([key], body), json_parse=False)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body"])
def test_id_time_and_body_are_all_signed(changed: str) -> None:
    key, body = b"k" * 32, "{}"
    sent = signed([key], body)
    if changed == "body":
        body = "{ }"
    else:
        sent[changed] = str(int(sent[changed]) - 1) if changed == "webhook-timestamp" else "other"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(key)).verify(body, sent)


def test_a_signature_as_the_specification_shows_it() -> None:
    # the example of the specification's reference libraries
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    sent = headers([key], message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", at=at, body=b'{"test": 2432232314}')
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(KEYS)
def test_a_secret_reads_back_as_it_was_written(key: bytes) -> None:
    assert secret_key(secret_text(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("whsec_", id="nothing-behind-the-prefix"),
        pytest.param(base64.b64encode(b"k" * 32).decode(), id="no-prefix"),
        pytest.param("whsec_" + base64.b64encode(b"k" * 23).decode(), id="too-short"),
        pytest.param("whsec_" + base64.b64encode(b"k" * 65).decode(), id="too-long"),
        pytest.param("whsec_not base64 at all, by no means!", id="no-base64"),
        pytest.param("whsec_" + base64.b64encode(b"k" * 32).decode().rstrip("="), id="no-padding"),
        pytest.param("whsec_" + "ä" * 40, id="not-ascii"),
        pytest.param("whsec_" + base64.b64encode(b"k" * 32).decode() + "\n", id="line-end"),
    ],
)
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        check_secrets([text])
    assert caught.value.field == "secrets[0]"
    assert not text.removeprefix("whsec_").strip() or text.removeprefix("whsec_") not in str(caught.value)


def test_a_secret_twice_is_refused() -> None:
    secret = secret_text(b"k" * 32)
    with pytest.raises(RequestInvalid, match="twice"):
        check_secrets([secret, secret])


def test_a_fingerprint_tells_secrets_apart_and_holds_none() -> None:
    one, other = secret_text(b"k" * 32), secret_text(b"l" * 32)
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == hashlib.sha256(one.encode()).hexdigest()[:12]
