import asyncio
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from service.domain.answers import Answer, Happened
from service.domain.merchant import Merchant
from service.domain.receiving import Arrival, Refused
from service.domain.records import NewReceipt, Oddity, StoredReceipt
from service.errors import StoreOverloaded, StoreUnavailable
from service.flow import receive
from service.flow.receive import LineLimit, Receiver

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
KEY = "example-server-key"


class MemoryReceipts:
    def __init__(self, *, fails_with: Exception | None = None) -> None:
        self.kept: dict[bytes, NewReceipt] = {}
        self.fails_with = fails_with

    def receive(self, new: NewReceipt) -> "asyncio.Future[StoredReceipt]":
        future: asyncio.Future[StoredReceipt] = asyncio.get_running_loop().create_future()
        if self.fails_with is not None:
            future.set_exception(self.fails_with)
            return future
        first = self.kept.setdefault(new.digest, new)
        future.set_result(StoredReceipt(first.id, duplicate=first is not new))
        return future


class MemoryOddities(list[Oddity]):
    def keep(self, oddity: Oddity) -> None:
        self.append(oddity)


class World:
    def __init__(self, *, fails_with: Exception | None = None) -> None:
        self.receipts = MemoryReceipts(fails_with=fails_with)
        self.oddities = MemoryOddities()
        self.receiver = Receiver(
            {"default": Merchant("default", (KEY,))}, receipts=self.receipts, oddities=self.oddities
        )

    async def post(self, raw: bytes) -> Answer:
        return await self.receiver.receive(arrival(raw))


def arrival(raw: bytes = b"") -> Arrival:
    return Arrival("default", raw, len(raw), NOW, "192.0.2.1", "/notifications", {})


def notification(*, key: str = KEY, order_id: str = "order-1") -> bytes:
    signed = hashlib.sha512(f"{order_id}2001000.00{key}".encode()).hexdigest()
    fields = {"order_id": order_id, "status_code": "200", "gross_amount": "1000.00"}
    return json.dumps({**fields, "transaction_status": "settlement", "signature_key": signed}).encode()


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    monkeypatch.setattr(receive, "log", structlog.get_logger())  # one that no earlier test has bound
    with capture_logs() as captured:
        yield captured


async def test_accepted_and_duplicate_name_the_same_receipt(logs: list[Any]) -> None:
    world = World()
    first, second = await world.post(notification()), await world.post(notification())
    assert [first.happened, second.happened] == [Happened.ACCEPTED, Happened.DUPLICATE]
    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]
    assert [line["event"] for line in logs] == ["notification_accepted", "notification_duplicate"]
    assert (
        logs[0].items()
        >= {
            "merchant": "default",
            "order_id": "order-1",
            "kind": "payment",
            "answer": 200,
            "id": json.loads(first.body)["id"],
        }.items()
    )
    assert world.oddities == []


async def test_a_refusal_is_kept_for_operators_and_logged_without_the_body(logs: list[Any]) -> None:
    world = World()
    raw = notification(key="stranger")
    answer = await world.post(raw)
    assert (answer.happened, world.receipts.kept) == (Happened.SIGNATURE, {})
    assert [(oddity.reason, oddity.body) for oddity in world.oddities] == [("signature", raw)]
    assert logs[0]["event"] == "notification_refused"
    assert logs[0]["error"] == "signature"
    assert raw.decode() not in str(logs)


async def test_a_dashboard_test_is_shown_and_not_stored(logs: list[Any]) -> None:
    world = World()
    answer = await world.post(notification(order_id="payment_notif_test_G1_1"))
    assert (answer.happened, world.receipts.kept) == (Happened.TEST, {})
    assert [oddity.reason for oddity in world.oddities] == ["test"]
    assert logs[0]["event"] == "dashboard_test"


@pytest.mark.parametrize(
    ("error", "happened"),
    [(StoreOverloaded(5000), Happened.OVERLOADED), (StoreUnavailable("disk full"), Happened.NOT_STORED)],
)
async def test_what_the_store_refuses_is_answered_and_its_cause_logged_only(
    logs: list[Any], error: Exception, happened: Happened
) -> None:
    world = World(fails_with=error)
    answer = await world.post(notification())
    assert answer.happened is happened
    assert b"disk" not in answer.body
    assert world.oddities == []
    if happened is Happened.NOT_STORED:
        assert logs[0]["detail"] == "disk full"


async def test_what_nobody_foresaw_leaves_the_receiver_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        await World(fails_with=ZeroDivisionError()).post(notification())


def test_a_failure_is_answered_507_and_logged_with_its_traceback(logs: list[Any]) -> None:
    world = World()
    error = ZeroDivisionError("secret")
    answer = world.receiver.fail(arrival(b"what made it fail"), error)
    assert (answer.happened, answer.status) == (Happened.FAILED, 507)
    assert b"secret" not in answer.body
    assert logs[0]["exc_info"] is error
    assert world.oddities[0].body == b"what made it fail"


def test_a_failure_that_repeats_itself_does_not_fill_the_log(logs: list[Any]) -> None:
    receiver = World().receiver
    for _ in range(100):
        receiver.fail(arrival(), ValueError())
    assert len(logs) == 20


def test_a_failure_before_anything_was_read_is_answered_too() -> None:
    assert World().receiver.fail(None, ValueError()).status == 507


def test_being_interrupted_while_closing_is_no_failure(logs: list[Any]) -> None:
    answer = World().receiver.fail(arrival(), asyncio.CancelledError())
    assert answer.happened is Happened.NOT_STORED
    assert "exc_info" not in logs[0]


async def test_a_log_that_cannot_be_written_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    class ClosedPipe:
        def info(self, *_: object, **__: object) -> None:
            raise BrokenPipeError

        warning = error = info

    monkeypatch.setattr(receive, "log", ClosedPipe())
    world = World()
    assert (await world.post(notification())).status == 200
    assert (await world.post(b"")).status == 400
    assert world.receiver.fail(arrival(), ValueError()).status == 507


def test_refusals_are_logged_so_many_times_a_second_and_the_rest_is_counted(logs: list[Any]) -> None:
    receiver = World().receiver
    for _ in range(100):
        receiver.refuse(arrival(), Refused(Happened.SIGNATURE))
    receiver.refuse(arrival(), Refused(Happened.NOT_JSON))
    assert [line["error"] for line in logs] == ["signature"] * 20 + ["not_json"]
    later = arrival()._replace(received_at=NOW + timedelta(seconds=1))
    receiver.refuse(later, Refused(Happened.SIGNATURE))
    assert logs[-1]["unsaid"] == 80


def test_a_line_is_free_again_a_second_later() -> None:
    limit = LineLimit(per_s=1)
    moments = [NOW, NOW, NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)]
    assert [limit.unsaid("m", Happened.SIGNATURE, at) for at in moments] == [0, None, 1, 0]


def test_a_clock_that_went_back_silences_nothing_for_long() -> None:
    limit = LineLimit(per_s=1)
    assert limit.unsaid("m", Happened.SIGNATURE, NOW) == 0
    assert limit.unsaid("m", Happened.SIGNATURE, NOW - timedelta(hours=1)) == 0


def test_the_log_never_quotes_long_text(logs: list[Any]) -> None:
    refused = replace_order(Refused(Happened.SIGNATURE), "o\n" * 5_000)
    World().receiver.refuse(arrival(), refused)
    assert len(logs[0]["order_id"]) <= 400
    assert "\n" not in logs[0]["order_id"]


def replace_order(refused: Refused, order_id: str) -> Refused:
    return refused._replace(order_id=order_id)
