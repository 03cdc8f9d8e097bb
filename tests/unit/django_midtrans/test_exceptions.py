from __future__ import annotations

import copy
import pickle

import pytest

from django_midtrans import exceptions
from django_midtrans.exceptions import MidtransAPIError, MidtransError, MidtransTransportError

STRAIGHT_BELOW = [
    "MidtransAPIError",
    "MidtransAuthenticationError",
    "MidtransValidationError",
    "MidtransDuplicateOrderError",
    "MidtransRateLimitError",
    "MidtransSignatureError",
    "MidtransConfigurationError",
]


@pytest.mark.parametrize("name", STRAIGHT_BELOW)
def test_each_error_stands_straight_below_the_root(name: str) -> None:
    assert getattr(exceptions, name).__bases__ == (MidtransError,)


def test_a_lost_answer_is_an_api_error() -> None:
    assert MidtransTransportError.__bases__ == (MidtransAPIError,)


def test_facts_that_are_missing_are_none_and_data_is_always_a_dict() -> None:
    error = MidtransError("text")
    assert (error.message, error.status_code, error.http_status, error.data) == ("text", None, None, {})
    assert (str(error), error.retry_after_s) == ("text", None)


def test_the_body_is_kept_but_never_shown() -> None:
    error = MidtransAPIError("refused", 412, 200, {"payer_phone_number": "0811"})
    assert error.data == {"payer_phone_number": "0811"}
    assert "0811" not in f"{error} {error!r}"


@pytest.mark.parametrize("name", [*STRAIGHT_BELOW, "MidtransError", "MidtransTransportError"])
def test_errors_survive_pickling_and_copying(name: str) -> None:
    error = getattr(exceptions, name)("text", 404, 200, {"id": "1"}, retry_after_s=2.0)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
