import asyncio
import json
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import pytest

from service.api.notifications import NotificationEndpoint, is_ours
from service.domain.answers import Answer
from service.domain.merchant import Merchant
from service.domain.receiving import Arrival
from service.domain.records import NewReceipt, Oddity, StoredReceipt
from service.flow.receive import Receiver

Message = MutableMapping[str, Any]


class Silent:
    """Takes everything and does nothing: receipts never become done, metrics count nothing."""

    def receive(self, new: NewReceipt) -> "asyncio.Future[StoredReceipt]":
        return asyncio.get_running_loop().create_future()

    def keep(self, oddity: Oddity) -> None: ...

    def labels(self, merchant: str, answer: str, /) -> "Silent":
        return self

    def inc(self) -> None: ...

    def observe(self, amount: float, /) -> None: ...

    @property
    def notifications(self) -> "Silent":
        return self

    receive_seconds = notifications


class BrokenMetrics(Silent):
    def labels(self, merchant: str, answer: str, /) -> Silent:
        raise ValueError("a label too many")


class WaitingReceiver(Receiver):
    """Has begun, and never ends."""

    began = False

    async def receive(self, arrival: Arrival) -> Answer:
        self.began = True
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nothing wakes it but cancellation")


class Exchange:
    """One request and the messages sent for it."""

    def __init__(self, body: bytes = b"{}", *, path: str = "/notifications", method: str = "POST") -> None:
        self.sent: list[Message] = []
        self.incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self.send_error: OSError | None = None
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"content-length", b"%d" % len(body))],
        }

    async def receive(self) -> Message:
        return self.incoming.pop(0) if self.incoming else {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.send_error is not None:
            raise self.send_error
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])


def make_endpoint(
    *, metrics: Silent | None = None, receiver: type[Receiver] = Receiver, **options: Any
) -> NotificationEndpoint:
    made = receiver({"default": Merchant("default", ("key",))}, receipts=Silent(), oddities=Silent())
    return NotificationEndpoint(
        made, clock=lambda: datetime(2026, 11, 22, tzinfo=UTC), metrics=metrics or Silent(), **options
    )


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/notifications", True),
        ("/notifications/", True),
        ("/notifications/a/b", True),
        ("/notificationsX", False),
        ("/notification", False),
        ("/v1/notifications", False),
        ("", False),
    ],
)
def test_which_paths_are_answered_here(path: str, ours: bool) -> None:
    assert is_ours(path) is ours


async def test_everything_else_is_handed_on_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    dispatch = make_endpoint().before(app)
    exchange = Exchange(path="/v1/events")
    await dispatch(exchange.scope, exchange.receive, exchange.send)
    await dispatch({"type": "lifespan"}, exchange.receive, exchange.send)
    await dispatch({"type": "websocket", "path": "/notifications"}, exchange.receive, exchange.send)
    assert seen == ["http", "lifespan", "websocket"]


async def test_numbers_that_cannot_be_counted_cost_no_answer() -> None:
    exchange = Exchange()
    await make_endpoint(metrics=BrokenMetrics())(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == 422


async def test_a_request_cut_off_at_the_end_of_the_process_is_answered_507_and_lets_go() -> None:
    endpoint, exchange = make_endpoint(receiver=WaitingReceiver), Exchange()
    task = asyncio.create_task(endpoint(exchange.scope, exchange.receive, exchange.send))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert exchange.status == 507
    assert json.loads(exchange.sent[1]["body"])["error"] == "not_stored"


async def test_a_client_that_went_away_before_its_answer_breaks_nothing() -> None:
    exchange = Exchange()
    exchange.send_error = ConnectionResetError()
    await make_endpoint()(exchange.scope, exchange.receive, exchange.send)


async def test_a_client_that_went_away_before_its_body_was_whole_is_answered_nothing() -> None:
    exchange = Exchange()
    exchange.incoming = [{"type": "http.request", "body": b"{", "more_body": True}]
    await make_endpoint()(exchange.scope, exchange.receive, exchange.send)
    assert exchange.sent == []


async def test_a_request_that_makes_no_sense_to_the_endpoint_itself_is_507() -> None:
    exchange = Exchange()
    del exchange.scope["headers"]
    await make_endpoint()(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == 507


async def test_an_answer_begins_only_when_it_is_whole() -> None:
    exchange = Exchange()
    await make_endpoint()(exchange.scope, exchange.receive, exchange.send)
    start, body = exchange.sent
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])
    assert body["more_body"] is False


async def test_a_refused_body_that_still_comes_is_heard_out_before_the_end() -> None:
    exchange = Exchange(b"x" * 11)
    exchange.incoming = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.request", "body": b"x", "more_body": False},
        {"type": "http.request", "body": b"left alone", "more_body": False},
    ]
    await make_endpoint(max_body_bytes=10)(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == 413
    assert (b"connection", b"close") in exchange.sent[0]["headers"]
    assert [message.get("more_body") for message in exchange.sent[1:]] == [True, False]
    assert len(exchange.incoming) == 1
