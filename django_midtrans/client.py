"""The client for Midtrans: a method for each call, answers as ``dict``, failures as ``MidtransError``."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import httpx

from django_midtrans import endpoints
from django_midtrans.answers import Answer
from django_midtrans.async_client import AsyncMidtransClient
from django_midtrans.base import DEFAULT_TIMEOUTS, BaseClient, OnAnswer
from django_midtrans.endpoints import Amount, Call, Payload
from django_midtrans.exceptions import MidtransError
from django_midtrans.redaction import in_flight
from django_midtrans.transport import FAILURES, SyncPool, Timeouts, failure, run_in_forked_child

__all__ = ["Answer", "AsyncMidtransClient", "MidtransClient", "Timeouts", "get_client", "reset_client"]

Json = dict[str, Any]


class MidtransClient(BaseClient):
    """Calls Midtrans; one instance serves many threads and survives a fork.

    What is not given is looked up when a call first needs it (``django_midtrans.settings``) and kept.
    *timeout* is a number of seconds for each step, or ``Timeouts``; it is always on. *retries* counts for
    calls that change nothing (all GETs but those of cards): after a timeout, a broken connection, an
    unreadable answer, 5xx or 429, with Retry-After obeyed up to 20 seconds. Nothing that moves money is
    repeated. *max_connections* bounds the one pool of connections, which is opened by the first call.

    *on_answer* is called, in the calling thread, with every HTTP answer before it is judged, those of
    repeated tries included; what it raises goes to the caller. *http_client* brings its own transport,
    proxies, certificates and hooks, but neither headers, cookies, authentication nor timeouts, and is not
    closed here.
    """

    def __init__(
        self,
        server_key: str | None = None,
        is_production: bool | None = None,  # noqa: FBT001 - the public order of arguments
        *,
        client_key: str | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts = DEFAULT_TIMEOUTS,
        retries: int = 2,
        max_connections: int = 20,
        on_answer: OnAnswer | None = None,
        http_client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(
            server_key,
            is_production,
            client_key=client_key,
            base_url=base_url,
            timeout=timeout,
            retries=retries,
            on_answer=on_answer,
            jitter=jitter,
        )
        self._pool = SyncPool(http_client, max_connections)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, once no call is under way; a later call opens new ones."""
        self._pool.close()

    # Payments
    def charge(self, payload: Payload) -> Json:
        """Start a payment; *payload* goes out as it is.

        An answer is no payment yet: read its transaction_status. After a MidtransTransportError ask
        ``get_status`` before charging again.
        """
        return self._run(endpoints.with_payload(endpoints.CHARGE, payload))

    def get_status(self, order_id: str) -> Json:
        """Return what Midtrans knows of a payment, by order_id or transaction_id.

        DANA, BSI and some others are known by the transaction_id only. An unknown one raises
        MidtransAPIError with ``status_code`` 404; an expired one is returned with 407.
        """
        return self._run(endpoints.with_id(endpoints.GET_STATUS, order_id))

    def get_status_b2b(self, order_id: str) -> Json:
        """Return the payments made into one reusable number: ``transactions``, the newest first."""
        return self._run(endpoints.with_id(endpoints.GET_STATUS_B2B, order_id))

    def cancel(self, order_id: str) -> Json:
        """Cancel a payment that is pending, authorized or captured."""
        return self._run(endpoints.with_id(endpoints.CANCEL, order_id))

    def expire(self, order_id: str) -> Json:
        """End a pending payment. Midtrans says 407 when it worked, which is returned."""
        return self._run(endpoints.with_id(endpoints.EXPIRE, order_id))

    def capture(self, transaction_id: str, gross_amount: Amount | None) -> Json:
        """Take a reserved card payment, or a part of it: *gross_amount* in whole rupiah, None for all of it.

        A refused capture is returned with ``status_code`` 202 and transaction_status ``deny``.
        """
        return self._run(endpoints.capture(transaction_id, gross_amount))

    def refund(self, order_id: str, refund_key: str, amount: Amount | None, reason: str = "") -> Json:
        """Give *amount* whole rupiah back, None for all of it. The same *refund_key* never refunds twice.

        A refused refund may be returned with ``status_code`` 202; read transaction_status and refund_amount.
        """
        return self._run(endpoints.refund(endpoints.REFUND, order_id, refund_key, amount, reason))

    def direct_refund(self, order_id: str, refund_key: str, amount: Amount | None, reason: str = "") -> Json:
        """As ``refund``, at once through the payment provider; Midtrans now advises ``refund`` for all."""
        return self._run(endpoints.refund(endpoints.DIRECT_REFUND, order_id, refund_key, amount, reason))

    def approve(self, order_id: str) -> Json:
        """Accept a card payment that fraud detection holds as ``challenge``."""
        return self._run(endpoints.with_id(endpoints.APPROVE, order_id))

    def deny(self, order_id: str) -> Json:
        """Refuse a card payment that fraud detection holds as ``challenge``."""
        return self._run(endpoints.with_id(endpoints.DENY, order_id))

    # Cards
    def get_card_token(
        self,
        card_number: str,
        card_exp_month: str | int,
        card_exp_year: str | int,
        card_cvv: str,
        client_key: str | None = None,
    ) -> Json:
        """Return a one-time token for a card; the query holds the client key, no other key is sent.

        Whoever calls this handles card numbers and is in the scope of PCI DSS: let the browser do it. Never
        repeated.
        """
        fields = {
            "card_number": card_number,
            "card_exp_month": card_exp_month,
            "card_exp_year": card_exp_year,
            "card_cvv": card_cvv,
        }
        call = endpoints.card(endpoints.GET_CARD_TOKEN, fields, self._card_key(client_key))
        return self._run(call)

    def register_card(
        self,
        card_number: str,
        card_exp_month: str | int,
        card_exp_year: str | int,
        client_key: str | None = None,
    ) -> Json:
        """Return a saved token for a card, for later charges; as ``get_card_token``."""
        fields = {
            "card_number": card_number,
            "card_exp_month": card_exp_month,
            "card_exp_year": card_exp_year,
        }
        call = endpoints.card(endpoints.REGISTER_CARD, fields, self._card_key(client_key))
        return self._run(call)

    def point_inquiry(self, token_id: str) -> Json:
        """Return the bank points of the card behind a token: ``point_balance_amount``."""
        return self._run(endpoints.with_id(endpoints.POINT_INQUIRY, token_id))

    def get_bin(self, bin_number: str) -> Json:
        """Return bank, brand and type for the first 6 to 8 digits of a card, under ``data``."""
        return self._run(endpoints.get_bin(bin_number))

    # GoPay accounts
    def create_pay_account(self, payload: Payload) -> Json:
        """Ask to link a customer's account. A refusal may be returned with ``status_code`` 202."""
        return self._run(endpoints.with_payload(endpoints.CREATE_PAY_ACCOUNT, payload))

    def get_pay_account(self, account_id: str) -> Json:
        """Return a linked account and its payment options, whose tokens change: read before each charge."""
        return self._run(endpoints.with_id(endpoints.GET_PAY_ACCOUNT, account_id))

    def unbind_pay_account(self, account_id: str) -> Json:
        """Unlink an account; ``status_code`` 204 is success."""
        return self._run(endpoints.with_id(endpoints.UNBIND_PAY_ACCOUNT, account_id))

    # Subscriptions
    def create_subscription(self, payload: Payload) -> Json:
        """Start charging a saved card or linked account regularly."""
        return self._run(endpoints.with_payload(endpoints.CREATE_SUBSCRIPTION, payload))

    def get_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """Return a subscription; its times have no zone and are GMT+7."""
        return self._run(endpoints.with_id(endpoints.GET_SUBSCRIPTION, id))

    def disable_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """Pause a subscription; retries that are under way go on."""
        return self._run(endpoints.with_id(endpoints.DISABLE_SUBSCRIPTION, id))

    def enable_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """Resume a paused subscription."""
        return self._run(endpoints.with_id(endpoints.ENABLE_SUBSCRIPTION, id))

    def cancel_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """End a subscription for good, retries that are under way included."""
        return self._run(endpoints.with_id(endpoints.CANCEL_SUBSCRIPTION, id))

    def update_subscription(self, id: str, payload: Payload) -> Json:  # noqa: A002 - the public name
        """Change name, amount, currency, token and ``schedule.interval``."""
        return self._run(endpoints.with_payload(endpoints.UPDATE_SUBSCRIPTION, payload, id))

    # Invoices
    def create_invoice(self, payload: Payload) -> Json:
        """Make an invoice; each call has an idempotency key of its own, so two calls make two invoices."""
        return self._run(endpoints.create_invoice(payload))

    def get_invoice(self, id: str) -> Json:  # noqa: A002 - the public name
        """Return an invoice."""
        return self._run(endpoints.with_id(endpoints.GET_INVOICE, id))

    def void_invoice(self, invoice_id: str, void_reason: str = "") -> Json:
        """Void an invoice that is pending or overdue. Without a reason the body is empty, as documented."""
        return self._run(endpoints.void_invoice(invoice_id, void_reason))

    def _run(self, call: Call) -> Json:
        attempt = 1
        while isinstance(outcome := self._exchange(call), MidtransError):
            pause_s = self._wait_s(call, outcome, attempt)
            if pause_s is None:
                raise outcome  # out here, where no exception of httpx can become its context
            self._sleep(pause_s)
            attempt += 1
        return outcome

    def _exchange(self, call: Call) -> Json | MidtransError:
        maker = self._maker(call)
        secrets = call.secrets or maker.secrets
        request = maker.request(call)
        hidden = in_flight.set(secrets)
        started = time.perf_counter()
        try:
            response = self._pool.send(request)
        except FAILURES as error:
            return failure(call, error)
        finally:
            in_flight.reset(hidden)
        return self._outcome(call, response, time.perf_counter() - started, secrets)


class _Shared:
    """Holds the one client of ``get_client``, and the lock of those who race for it."""

    def __init__(self) -> None:
        self.client: MidtransClient | None = None
        self.renew_lock()

    def renew_lock(self) -> None:
        """Another thread may have held it at the fork; in the child nobody would ever let it go."""
        self.lock = threading.Lock()


_shared = _Shared()
run_in_forked_child(_shared.renew_lock)


def get_client() -> MidtransClient:
    """Return the one shared client, also to many threads at once and in a forked child.

    It reads settings and environment at its first call; ``reset_client`` makes the next one read them again.
    """
    if _shared.client is None:
        with _shared.lock:
            if _shared.client is None:
                _shared.client = MidtransClient()
            return _shared.client
    return _shared.client


def reset_client() -> None:
    """Forget the shared client and close its connections: for tests that change settings."""
    with _shared.lock:
        client, _shared.client = _shared.client, None
    if client is not None:
        client.close()
