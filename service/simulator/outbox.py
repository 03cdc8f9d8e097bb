"""Between a payment's change and the sender: here notifications are lost, doubled, delayed and reordered."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.simulator.faults import FaultTable
    from service.simulator.sender import Delivery, NotificationSender


class Outbox:
    """Hands notifications to the sender as the faults say. Safe under threads."""

    def __init__(self, sender: NotificationSender, faults: FaultTable) -> None:
        self._sender = sender
        self._faults = faults
        self._overtaken: dict[tuple[str, str], list[Delivery]] = {}
        self._lock = threading.Lock()

    def post(self, body: dict[str, Any], urls: Sequence[str]) -> None:
        """Send *body* to *urls*, unless it gets lost."""
        merchant_id, order_id = body["merchant_id"], body["order_id"]
        if self._faults.happens("lost", merchant_id, order_id):
            self._sender.lose(body, merchant_id=merchant_id, urls=urls)
            return
        with self._lock:
            earlier = self._overtaken.pop((merchant_id, order_id), [])
        waits_for_next = not earlier and self._faults.happens("reordered", merchant_id, order_id)
        made = self._send(body, urls, self._hold_s(body, waits_for_next=waits_for_next), earlier)
        if waits_for_next:
            with self._lock:
                self._overtaken[merchant_id, order_id] = made

    def _send(
        self, body: dict[str, Any], urls: Sequence[str], hold_s: float, earlier: Sequence[Delivery]
    ) -> list[Delivery]:
        merchant_id = body["merchant_id"]
        times = 1 + self._faults.happens("twice", merchant_id, body["order_id"])
        return [
            delivery
            for _ in range(times)
            for delivery in self._sender.send(
                body, merchant_id=merchant_id, urls=urls, hold_s=hold_s, lets_go=earlier
            )
        ]

    def _hold_s(self, body: dict[str, Any], *, waits_for_next: bool) -> float:
        faults = self._faults.of(body["merchant_id"])
        if waits_for_next:
            return faults.reorder_s
        return (
            faults.delay_s if self._faults.happens("delayed", body["merchant_id"], body["order_id"]) else 0.0
        )
