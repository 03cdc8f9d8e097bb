"""What both clients share: their configuration, and turning an exchange into an answer or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from django_midtrans import settings
from django_midtrans.answers import Answer, judge
from django_midtrans.endpoints import Call
from django_midtrans.exceptions import MidtransConfigurationError, MidtransError
from django_midtrans.retry import parse_retry_after, wait_s
from django_midtrans.signature import signature_matches
from django_midtrans.transport import RequestMaker, Timeouts, checked_timeouts

OnAnswer = Callable[[Answer], None]

DEFAULT_TIMEOUTS = Timeouts()


class BaseClient:
    """Keys and hosts, found when a call first needs them and kept from then on; how answers are judged."""

    def __init__(
        self,
        server_key: str | None,
        is_production: bool | None,  # noqa: FBT001 - the public order of arguments
        *,
        client_key: str | None,
        base_url: str | None,
        timeout: float | Timeouts,
        retries: int,
        on_answer: OnAnswer | None,
        jitter: Callable[[], float],
    ) -> None:
        if retries < 0:
            raise ValueError("retries is 0 or more")
        self._server_key = server_key
        self._is_production = is_production
        self._client_key = client_key
        self._base_url = base_url
        self._timeouts = checked_timeouts(timeout)
        self._retries = retries
        self._on_answer = on_answer
        self._jitter = jitter
        self._with_key: RequestMaker | None = None
        self._without_key: RequestMaker | None = None

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} of {self.base_url}>"
        except MidtransConfigurationError:
            return f"<{type(self).__name__} without a usable address>"

    @property
    def base_url(self) -> str:
        """The address that calls go to. Raises MidtransConfigurationError for unusable settings."""
        return settings.find_base_url(self._base_url, is_production=self._is_production)

    @property
    def merchant_id(self) -> str | None:
        """The merchant id of the settings or the environment; no call needs it."""
        return settings.find_merchant_id()

    @staticmethod
    def verify_signature(
        order_id: object,
        status_code: object,
        gross_amount: object,
        signature_key: object,
        server_key: str | None = None,
    ) -> bool:
        """Say whether *signature_key* was made with *server_key* (None: the configured one).

        Give the three texts exactly as they came in the body. Compares in constant time; odd input and an
        empty key are False, never an exception. Raises MidtransConfigurationError when *server_key* is None
        and none is configured. True says who sent it, not what became of the payment: ask ``get_status``.
        """
        key = settings.find_server_key() if server_key is None else server_key
        return signature_matches(order_id, status_code, gross_amount, signature_key, key)

    def _card_key(self, client_key: str | None) -> str:
        return settings.find_client_key(self._client_key if client_key is None else client_key)

    def _maker(self, call: Call) -> RequestMaker:
        """Return what makes requests; reads the settings at the first use, perhaps in several threads."""
        if call.endpoint.with_server_key:
            if self._with_key is None:
                key = settings.find_server_key(self._server_key)
                self._with_key = RequestMaker(self.base_url, key, self._timeouts)
            return self._with_key
        if self._without_key is None:
            self._without_key = RequestMaker(self.base_url, None, self._timeouts)
        return self._without_key

    def _outcome(
        self, call: Call, response: httpx.Response, elapsed_s: float, secrets: tuple[str, ...]
    ) -> dict[str, Any] | MidtransError:
        if self._on_answer is not None:
            self._on_answer(Answer(call.endpoint.name, response.status_code, response.content, elapsed_s))
        outcome = judge(call.endpoint, response.status_code, response.content, secrets=secrets)
        if isinstance(outcome, MidtransError):
            outcome.retry_after_s = parse_retry_after(response.headers.get("Retry-After"))
        return outcome

    def _wait_s(self, call: Call, error: MidtransError, attempt: int) -> float | None:
        """Return how long to wait before the next try, None if there is to be none."""
        if not call.endpoint.repeatable or attempt > self._retries:
            return None
        return wait_s(error, attempt, jitter=self._jitter())
