"""Midtrans out: one question, asked with the merchant's keys in turn; its errors become ours here and nowhere else."""

import json
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from django_midtrans.client import Answer, MidtransClient, Timeouts
from django_midtrans.exceptions import (
    MidtransAPIError,
    MidtransAuthenticationError,
    MidtransError,
    MidtransRateLimitError,
    MidtransTransportError,
    MidtransValidationError,
)
from django_midtrans.facts import FactsUnreadable, read_facts
from django_midtrans.settings import PRODUCTION_URL, SANDBOX_URL
from service.clock import Clock
from service.domain.inquiry import Found, Missing, Reply
from service.domain.merchant import Merchant
from service.domain.pace import Asked
from service.errors import CannotBeAsked, GatewayRefused, GatewayUnavailable

TIMEOUTS = Timeouts(connect_s=5.0, read_s=15.0, write_s=5.0, pool_s=5.0)
"""Seconds of each step of a question, 30 in all: a claim's lease (worker.LEASE) must outlast two."""
MAKES_BREAKER_TRIP = 500
NOT_FOUND = 404


class Observer(Protocol):
    """Is told of each question, for metrics."""

    def __call__(self, merchant: str, asked: Asked, *, seconds: float) -> None:
        """Note what it brought and how long it took."""


class MerchantGateway:
    """Asks in the name of one merchant. Safe under threads; the client of each key is made once.

    The key that worked last is tried first; on 401 the others follow in the order of the settings.
    """

    def __init__(
        self,
        merchant: Merchant,
        *,
        clock: Clock,
        connections: int,
    ) -> None:
        self._merchant = merchant
        self._clock = clock
        self._evidence = threading.local()
        self._clients = [
            MidtransClient(
                key,
                merchant.is_production,
                base_url=merchant.base_url or _host(is_production=merchant.is_production),
                timeout=TIMEOUTS,
                retries=0,
                max_connections=connections,
                on_answer=self._keep,
            )
            for key in merchant.server_keys
        ]
        self._preferred = 0

    def get_status(self, asked: str) -> Reply:
        """Ask about an order_id or transaction_id.

        Raises GatewayRefused when no key is accepted, GatewayUnavailable when no answer says anything about the
        payment, CannotBeAsked when the client refuses the id.
        """
        first = self._preferred
        for offset in range(len(self._clients)):
            number = (first + offset) % len(self._clients)
            try:
                reply = self._ask(self._clients[number], asked)
            except MidtransAuthenticationError:
                continue
            self._preferred = number
            return reply
        raise GatewayRefused(self._merchant.name)

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            client.close()

    def _ask(self, client: MidtransClient, asked: str) -> Reply:
        self._evidence.answer = None
        asked_at = self._clock()
        try:
            body = client.get_status(asked)
        except MidtransAuthenticationError:
            raise
        except MidtransError as error:
            if isinstance(error, MidtransValidationError) and error.http_status is None:
                raise CannotBeAsked(asked) from error
            if not _says_not_found(error):
                raise _unavailable(error) from error
            return Missing(asked, asked_at, self._clock(), *self._kept(error.data))
        http_status, raw = self._kept(body)
        try:
            facts = read_facts(body)
        except FactsUnreadable as error:
            reason = f"the answer cannot be understood ({error})"
            raise GatewayUnavailable(reason, http_status=http_status, trips_breaker=False) from error
        return Found(asked, asked_at, self._clock(), http_status, raw, facts)

    def _keep(self, answer: Answer) -> None:
        self._evidence.answer = answer

    def _kept(self, body: Mapping[str, object]) -> tuple[int, bytes]:
        """Return HTTP status and bytes of the answer just read by this thread: the evidence."""
        answer: Answer | None = self._evidence.answer
        if answer is None:
            return 200, json.dumps(body).encode()
        return answer.http_status, answer.content


class Gateway:
    """The gateways of all merchants. *observe* is told of each question."""

    def __init__(
        self,
        merchants: Mapping[str, Merchant],
        *,
        clock: Clock,
        connections: int = 16,
        observe: Observer | None = None,
    ) -> None:
        self._observe = observe or _nobody
        self._gateways = {
            name: MerchantGateway(merchant, clock=clock, connections=connections)
            for name, merchant in merchants.items()
        }

    def get_status(self, merchant: str, asked: str) -> Reply:
        """Ask in the name of *merchant*; see `MerchantGateway.get_status`."""
        began_s = time.perf_counter()
        brought = Asked.LOST
        try:
            reply = self._gateways[merchant].get_status(asked)
            brought = Asked.FOUND if isinstance(reply, Found) else Asked.MISSING
        except GatewayUnavailable as error:
            brought = Asked.FAILED if error.trips_breaker else Asked.UNAVAILABLE
            raise
        except GatewayRefused:
            brought = Asked.REFUSED
            raise
        finally:
            self._observe(merchant, brought, seconds=time.perf_counter() - began_s)
        return reply

    def close(self) -> None:
        """Close every connection."""
        for gateway in self._gateways.values():
            gateway.close()


def _nobody(merchant: str, asked: Asked, *, seconds: float) -> None:
    """Observe nothing."""


def _host(*, is_production: bool) -> str:
    """Name the host outright: a stray MIDTRANS_BASE_URL must not turn a configured merchant elsewhere."""
    return PRODUCTION_URL if is_production else SANDBOX_URL


def _says_not_found(error: MidtransError) -> bool:
    """Only a JSON answer says "not yet"; an HTML 404 page is the edge speaking.

    Source: github.com/Midtrans/midtrans-php issue 11.
    """
    return error.status_code == NOT_FOUND and bool(error.data)


def _unavailable(error: MidtransError) -> GatewayUnavailable:
    status = error.http_status
    trips = isinstance(error, MidtransRateLimitError) or (
        isinstance(error, MidtransAPIError)
        and (
            (isinstance(error, MidtransTransportError) and status is None)
            or max(status or 0, error.status_code or 0) >= MAKES_BREAKER_TRIP
        )
    )
    return GatewayUnavailable(_reason(error), http_status=status, trips_breaker=trips)


def _reason(error: MidtransError) -> str:
    code = error.status_code or error.http_status
    return f"{type(error).__name__} {code}" if code else f"{type(error).__name__}: {error.message}"
