"""The same client for asyncio: every call a coroutine."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx

from django_midtrans import endpoints
from django_midtrans.base import DEFAULT_TIMEOUTS, BaseClient, OnAnswer
from django_midtrans.endpoints import Amount, Call, Payload
from django_midtrans.exceptions import MidtransError
from django_midtrans.redaction import in_flight
from django_midtrans.transport import FAILURES, AsyncPool, Timeouts, failure

Json = dict[str, Any]


async def _sleep(seconds: float) -> None:
    import asyncio  # noqa: PLC0415 - slow to import, and there already wherever this is called

    await asyncio.sleep(seconds)


class AsyncMidtransClient(BaseClient):
    """Calls Midtrans from coroutines: ``MidtransClient``'s methods, arguments, answers and errors.

    One instance may be used from several event loops: each has connections of its own, which ``close`` ends
    for the running loop. *on_answer* is a plain function here too.
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
        http_client: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = _sleep,
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
        self._pool = AsyncPool(http_client, max_connections)
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the running loop's connections, once no call is under way; a later call opens new ones."""
        await self._pool.close()

    # Payments
    async def charge(self, payload: Payload) -> Json:
        """As ``MidtransClient.charge``."""
        return await self._run(endpoints.with_payload(endpoints.CHARGE, payload))

    async def get_status(self, order_id: str) -> Json:
        """As ``MidtransClient.get_status``."""
        return await self._run(endpoints.with_id(endpoints.GET_STATUS, order_id))

    async def get_status_b2b(self, order_id: str) -> Json:
        """As ``MidtransClient.get_status_b2b``."""
        return await self._run(endpoints.with_id(endpoints.GET_STATUS_B2B, order_id))

    async def cancel(self, order_id: str) -> Json:
        """As ``MidtransClient.cancel``."""
        return await self._run(endpoints.with_id(endpoints.CANCEL, order_id))

    async def expire(self, order_id: str) -> Json:
        """As ``MidtransClient.expire``."""
        return await self._run(endpoints.with_id(endpoints.EXPIRE, order_id))

    async def capture(self, transaction_id: str, gross_amount: Amount | None) -> Json:
        """As ``MidtransClient.capture``."""
        return await self._run(endpoints.capture(transaction_id, gross_amount))

    async def refund(self, order_id: str, refund_key: str, amount: Amount | None, reason: str = "") -> Json:
        """As ``MidtransClient.refund``."""
        return await self._run(endpoints.refund(endpoints.REFUND, order_id, refund_key, amount, reason))

    async def direct_refund(
        self, order_id: str, refund_key: str, amount: Amount | None, reason: str = ""
    ) -> Json:
        """As ``MidtransClient.direct_refund``."""
        return await self._run(
            endpoints.refund(endpoints.DIRECT_REFUND, order_id, refund_key, amount, reason)
        )

    async def approve(self, order_id: str) -> Json:
        """As ``MidtransClient.approve``."""
        return await self._run(endpoints.with_id(endpoints.APPROVE, order_id))

    async def deny(self, order_id: str) -> Json:
        """As ``MidtransClient.deny``."""
        return await self._run(endpoints.with_id(endpoints.DENY, order_id))

    # Cards
    async def get_card_token(
        self,
        card_number: str,
        card_exp_month: str | int,
        card_exp_year: str | int,
        card_cvv: str,
        client_key: str | None = None,
    ) -> Json:
        """As ``MidtransClient.get_card_token``."""
        fields = {
            "card_number": card_number,
            "card_exp_month": card_exp_month,
            "card_exp_year": card_exp_year,
            "card_cvv": card_cvv,
        }
        call = endpoints.card(endpoints.GET_CARD_TOKEN, fields, self._card_key(client_key))
        return await self._run(call)

    async def register_card(
        self,
        card_number: str,
        card_exp_month: str | int,
        card_exp_year: str | int,
        client_key: str | None = None,
    ) -> Json:
        """As ``MidtransClient.register_card``."""
        fields = {
            "card_number": card_number,
            "card_exp_month": card_exp_month,
            "card_exp_year": card_exp_year,
        }
        call = endpoints.card(endpoints.REGISTER_CARD, fields, self._card_key(client_key))
        return await self._run(call)

    async def point_inquiry(self, token_id: str) -> Json:
        """As ``MidtransClient.point_inquiry``."""
        return await self._run(endpoints.with_id(endpoints.POINT_INQUIRY, token_id))

    async def get_bin(self, bin_number: str) -> Json:
        """As ``MidtransClient.get_bin``."""
        return await self._run(endpoints.get_bin(bin_number))

    # GoPay accounts
    async def create_pay_account(self, payload: Payload) -> Json:
        """As ``MidtransClient.create_pay_account``."""
        return await self._run(endpoints.with_payload(endpoints.CREATE_PAY_ACCOUNT, payload))

    async def get_pay_account(self, account_id: str) -> Json:
        """As ``MidtransClient.get_pay_account``."""
        return await self._run(endpoints.with_id(endpoints.GET_PAY_ACCOUNT, account_id))

    async def unbind_pay_account(self, account_id: str) -> Json:
        """As ``MidtransClient.unbind_pay_account``."""
        return await self._run(endpoints.with_id(endpoints.UNBIND_PAY_ACCOUNT, account_id))

    # Subscriptions
    async def create_subscription(self, payload: Payload) -> Json:
        """As ``MidtransClient.create_subscription``."""
        return await self._run(endpoints.with_payload(endpoints.CREATE_SUBSCRIPTION, payload))

    async def get_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """As ``MidtransClient.get_subscription``."""
        return await self._run(endpoints.with_id(endpoints.GET_SUBSCRIPTION, id))

    async def disable_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """As ``MidtransClient.disable_subscription``."""
        return await self._run(endpoints.with_id(endpoints.DISABLE_SUBSCRIPTION, id))

    async def enable_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """As ``MidtransClient.enable_subscription``."""
        return await self._run(endpoints.with_id(endpoints.ENABLE_SUBSCRIPTION, id))

    async def cancel_subscription(self, id: str) -> Json:  # noqa: A002 - the public name
        """As ``MidtransClient.cancel_subscription``."""
        return await self._run(endpoints.with_id(endpoints.CANCEL_SUBSCRIPTION, id))

    async def update_subscription(self, id: str, payload: Payload) -> Json:  # noqa: A002 - the public name
        """As ``MidtransClient.update_subscription``."""
        return await self._run(endpoints.with_payload(endpoints.UPDATE_SUBSCRIPTION, payload, id))

    # Invoices
    async def create_invoice(self, payload: Payload) -> Json:
        """As ``MidtransClient.create_invoice``."""
        return await self._run(endpoints.create_invoice(payload))

    async def get_invoice(self, id: str) -> Json:  # noqa: A002 - the public name
        """As ``MidtransClient.get_invoice``."""
        return await self._run(endpoints.with_id(endpoints.GET_INVOICE, id))

    async def void_invoice(self, invoice_id: str, void_reason: str = "") -> Json:
        """As ``MidtransClient.void_invoice``."""
        return await self._run(endpoints.void_invoice(invoice_id, void_reason))

    async def _run(self, call: Call) -> Json:
        attempt = 1
        while isinstance(outcome := await self._exchange(call), MidtransError):
            pause_s = self._wait_s(call, outcome, attempt)
            if pause_s is None:
                raise outcome  # out here, where no exception of httpx can become its context
            await self._sleep(pause_s)
            attempt += 1
        return outcome

    async def _exchange(self, call: Call) -> Json | MidtransError:
        maker = self._maker(call)
        secrets = call.secrets or maker.secrets
        request = maker.request(call)
        hidden = in_flight.set(secrets)
        started = time.perf_counter()
        try:
            response = await self._pool.get().send(request, auth=None, follow_redirects=False)
        except FAILURES as error:
            return failure(call, error)
        finally:
            in_flight.reset(hidden)
        return self._outcome(call, response, time.perf_counter() - started, secrets)
