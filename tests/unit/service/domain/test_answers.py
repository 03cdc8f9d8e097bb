import json
from pathlib import Path
from uuid import uuid4

import pytest

from service.domain.answers import (
    ANSWERS,
    Answer,
    Happened,
    as_markdown,
    clean,
    dashboard_test,
    refusal,
    retries_after,
    stored,
)

DOCS = Path(__file__).parents[4] / "docs" / "receiving.md"
REFUSALS = [happened for happened, row in ANSWERS.items() if row.status >= 400]


def length_told(answer: Answer) -> int:
    return int(dict(answer.headers)[b"content-length"])


def test_everything_that_can_happen_has_a_row() -> None:
    assert set(ANSWERS) == set(Happened)


@pytest.mark.parametrize(
    ("happened", "status", "retries"),
    [
        (Happened.ACCEPTED, 200, 0),
        (Happened.DUPLICATE, 200, 0),
        (Happened.TEST, 200, 0),
        (Happened.METHOD, 405, 5),
        (Happened.ENCODING, 415, 5),
        (Happened.UNKNOWN_MERCHANT, 422, 5),
        (Happened.TOO_LARGE, 413, 5),
        (Happened.INCOMPLETE, 408, 5),
        (Happened.NOT_JSON, 400, 2),
        (Happened.UNUSABLE, 422, 5),
        (Happened.KIND_NOT_ENABLED, 422, 5),
        (Happened.SIGNATURE, 403, 5),
        (Happened.OVERLOADED, 429, 5),
        (Happened.NOT_STORED, 507, 5),
        (Happened.FAILED, 507, 5),
    ],
)
def test_the_status_is_chosen_for_the_repeats_it_brings(
    happened: Happened, status: int, retries: int
) -> None:
    assert ANSWERS[happened].status == status
    assert retries_after(status) == retries


@pytest.mark.parametrize(
    ("status", "retries"), [(201, 0), (302, 0), (404, 2), (500, 1), (502, 5), (503, 4), (504, 5)]
)
def test_repeats_of_statuses_that_are_never_given(status: int, retries: int) -> None:
    assert status not in {row.status for row in ANSWERS.values()}
    assert retries_after(status) == retries


@pytest.mark.parametrize("duplicate", [True, False])
def test_a_stored_notification_is_answered_with_its_id(duplicate: bool) -> None:
    receipt_id = str(uuid4())
    answer = stored(receipt_id, duplicate=duplicate)
    status = "duplicate" if duplicate else "accepted"
    assert json.loads(answer.body) == {"status": status, "id": receipt_id}
    assert (answer.happened, answer.status, length_told(answer)) == (status, 200, len(answer.body))


@pytest.mark.parametrize(("verified", "signature"), [(True, "good"), (False, "bad")])
def test_a_dashboard_test_is_always_200_and_says_what_the_signature_was(
    verified: bool, signature: str
) -> None:
    answer = dashboard_test(verified=verified)
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "test", "signature": signature})
    assert length_told(answer) == len(answer.body)


@pytest.mark.parametrize("happened", REFUSALS)
def test_a_refusal_says_what_was_wrong_even_when_nothing_more_is_known(happened: Happened) -> None:
    answer = refusal(happened)
    body = json.loads(answer.body)
    assert body == {"error": happened.value, "detail": clean(ANSWERS[happened].detail)}
    assert len(body["detail"]) > 20
    assert length_told(answer) == len(answer.body)


def test_the_answers_that_need_one_more_header_have_it() -> None:
    assert (b"allow", b"POST") in refusal(Happened.METHOD).headers
    assert (b"retry-after", b"5") in refusal(Happened.OVERLOADED).headers


def test_a_detail_is_cut_and_cleaned() -> None:
    detail = json.loads(refusal(Happened.UNUSABLE, "a\r\nb\x00\ud800é" + "x" * 10_000).body)["detail"]
    assert detail.startswith("a?b?x")
    assert detail.endswith("...")
    assert len(detail) <= 400


def test_the_documentation_holds_this_very_table() -> None:
    assert as_markdown() in DOCS.read_text(encoding="utf-8")
