"""Pushing to an endpoint that is well, and to one that is not: what arrives, in which order, what is tried again."""

import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook
from support.api import Clock
from support.pushing import SECRET, Pushing, make_pushing
from support.receiver import (
    Behaviour,
    Got,
    Receiver,
    after,
    babble,
    endless,
    hang,
    hang_up,
    reply,
    reset,
)

from service.api.models import ConsumerView
from service.db.store import Store
from service.db.tables import events
from service.domain.push import DOWN_AFTER
from service.domain.webhooks import secret_text
from service.flow import consumers

OTHER = secret_text(b"another secret of the tests, 32b")


def of_payment(got: list[Got]) -> dict[str, list[int]]:
    """Return the numbers of the events of each payment, each at its first arrival."""
    found: dict[str, list[int]] = {}
    for one in got:
        numbers = found.setdefault(one.payment, [])
        if one.number not in numbers:
            numbers.append(one.number)
    return found


def failed(times: int) -> Callable[[ConsumerView], bool]:
    """Return what waits for *times* failures in a row."""
    return lambda found: found.push is not None and found.push.failures >= times


# -- what arrives --


def test_an_event_arrives_as_it_is_stored_and_signed(pushing: Pushing, receiver: Receiver) -> None:
    pushing.put(receiver.url)
    pushing.append("a")
    (got,) = receiver.wait_for(1)
    pushing.until_done()
    stored = pushing.store.read(lambda unit: unit.connection.execute(select(events.c.body)).scalar_one())
    assert got.body == stored.encode()
    assert (got.method, got.path) == ("POST", "/events")
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["webhook-id"] == json.loads(stored)["id"]
    assert Webhook(SECRET).verify(got.body, got.headers) == json.loads(stored)
    assert len(receiver.got) == 1
    assert pushing.count("pushed_total", consumer="shipping") == 1
    assert pushing.count("push_seconds_count", consumer="shipping") == 1


def test_every_secret_signs_while_they_are_rotated(pushing: Pushing, receiver: Receiver) -> None:
    pushing.put(receiver.url)
    pushing.append("a")
    receiver.wait_for(1)
    pushing.put(receiver.url, secrets=[OTHER, SECRET])
    pushing.append("b")
    pushing.until_done()
    pushing.put(receiver.url, secrets=[OTHER])
    pushing.append("c")
    _, both, last = receiver.wait_for(3)
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(both.body, both.headers)
    Webhook(OTHER).verify(last.body, last.headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(SECRET).verify(last.body, last.headers)


def test_events_arrive_in_order_per_payment_and_connections_are_used_again(
    pushing: Pushing, receiver: Receiver
) -> None:
    pushing.append(*"abcabcabcabc")
    pushing.put(receiver.url, concurrency=3)
    pushing.until_done()
    assert of_payment(receiver.got) == {"a": [1, 4, 7, 10], "b": [2, 5, 8, 11], "c": [3, 6, 9, 12]}
    assert len(receiver.got) == 12
    assert receiver.connections <= 3


def test_only_what_is_wanted_is_pushed(pushing: Pushing, receiver: Receiver) -> None:
    pushing.put(receiver.url, types=("midtrans.payment.refunded",))
    pushing.append("a")
    pushing.append("b", type_="midtrans.payment.refunded")
    pushing.until_done()
    assert [one.payment for one in receiver.got] == ["b"]


def test_an_event_is_pushed_at_once(pushing: Pushing, receiver: Receiver) -> None:
    pushing.put(receiver.url)
    pushing.append("a")
    receiver.wait_for(1)
    waits = []
    for number in range(2, 22):
        pushing.until_done()
        time.sleep(0.02)
        began_s = time.monotonic()
        pushing.append(f"payment-{number}")
        waits.append(receiver.wait_for(number)[-1].at_s - began_s)
    assert sorted(waits)[len(waits) // 2] < 0.25


def test_no_more_than_the_concurrency_says_are_under_way(pushing: Pushing, receiver: Receiver) -> None:
    receiver.behave = lambda got: after(0.05, reply())
    pushing.append(*(f"payment-{number}" for number in range(30)))
    pushing.put(receiver.url, concurrency=4)
    pushing.until_done()
    assert receiver.most_at_once == 4


# -- what does not arrive --


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        pytest.param(reply(500, b'{"why": "the  warehouse\nis down"}'), "HTTP 500: ", id="500"),
        pytest.param(reply(404), "HTTP 404", id="404"),
        pytest.param(
            reply(301, location="https://shop.example.com/"), "redirects are not followed", id="301"
        ),
        pytest.param(reply(101, upgrade="websocket", connection="upgrade"), "Protocol", id="101"),
        pytest.param(hang, "no answer within 1 s", id="hangs"),
        pytest.param(after(0.2, hang), "no answer within 1 s", id="slow"),
        pytest.param(reset, "", id="resets"),
        pytest.param(hang_up, "disconnected", id="hangs-up"),
        pytest.param(babble, "RemoteProtocolError", id="no-http"),
        pytest.param(endless(500), "HTTP 500: aaaa", id="endless-refusal"),
        pytest.param(endless(headers=True), "", id="endless-headers"),
    ],
)
def test_what_is_not_acked_is_pushed_again(
    pushing: Pushing, receiver: Receiver, behaviour: Behaviour, reason: str
) -> None:
    receiver.behave = lambda got: behaviour if len(receiver.got) == 1 else reply(204)
    pushing.put(receiver.url, timeout_seconds=1)
    pushing.append("a", "a")
    failing = pushing.until(lambda found: found.waiting == 1)
    assert failing.push.failures == 1
    assert reason in failing.push.last_failure
    assert failing.held in (0, 1)
    assert len(failing.push.last_failure) < 300
    time.sleep(0.1)
    assert len(receiver.got) == 1
    pushing.forward(5.1)
    pushing.until_done()
    assert [one.number for one in receiver.got] == [1, 1, 2]
    assert len({one.headers["webhook-id"] for one in receiver.got[:2]}) == 1
    well = pushing.look().push
    assert well is not None
    assert (well.failures, well.failing_since, well.last_failure) == (0, None, None)


def test_an_endless_body_behind_a_2xx_is_an_ack(pushing: Pushing, receiver: Receiver) -> None:
    receiver.behave = lambda got: endless(200)
    pushing.put(receiver.url)
    pushing.append("a")
    pushing.until_done(within_s=4)
    assert len(receiver.got) == 1


def test_an_answer_that_trickles_in_behind_a_2xx_is_an_ack(pushing: Pushing, receiver: Receiver) -> None:
    async def trickle(_got: Got, writer: object) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\na")  # type: ignore[attr-defined]
        await hang(_got, writer)  # type: ignore[arg-type]

    receiver.behave = lambda got: trickle
    pushing.put(receiver.url, timeout_seconds=1)
    pushing.append("a")
    pushing.until_done(within_s=5)
    assert len(receiver.got) == 1


def test_an_endpoint_that_nobody_listens_at_is_tried_again(pushing: Pushing, free_port: int) -> None:
    pushing.put(f"http://127.0.0.1:{free_port}/")
    pushing.append("a")
    failing = pushing.until(lambda found: found.waiting == 1)
    assert "ConnectError" in failing.push.last_failure
    assert pushing.count("push_failed_total", consumer="shipping", result="unreachable") == 1


def test_a_name_without_an_address_is_tried_again(pushing: Pushing) -> None:
    pushing.put("http://nowhere.example.com/")
    pushing.append("a")
    failing = pushing.until(lambda found: found.waiting == 1)
    assert "cannot be looked up" in failing.push.last_failure


def test_waits_double(pushing: Pushing, receiver: Receiver) -> None:
    receiver.behave = lambda got: reply(500)
    pushing.put(receiver.url)
    pushing.append("a")
    for tries, wait_s in enumerate((5, 10, 20, 40), start=1):
        receiver.wait_for(tries)
        pushing.until(lambda found: found.waiting == 1)
        pushing.forward(wait_s - 1)
        time.sleep(0.05)
        assert len(receiver.got) == tries
        pushing.forward(1.1)
    receiver.wait_for(5)


def test_an_event_that_fails_for_ever_dies_and_holds_its_payment(
    pushing: Pushing, receiver: Receiver
) -> None:
    receiver.behave = lambda got: reply(500, b"no") if got.payment == "a" else reply()
    pushing.put(receiver.url, max_attempts=2)
    pushing.append("a", "a", "b")
    receiver.wait_for(2)
    pushing.until(lambda found: found.waiting == 1)
    pushing.forward(6)
    dead = pushing.until(lambda found: found.dead == 1)
    assert (dead.held, dead.in_flight) == (1, 0)
    assert pushing.until_alarm("consumer_dead")["attempts"] == 2
    (letter,) = pushing.store.read(lambda unit: unit.deliveries.dead_letters("shipping", after=0, limit=9))
    assert (letter.attempts, letter.reason) == (2, "HTTP 500: no")
    receiver.behave = lambda got: reply()
    pushing.store.write(lambda unit: consumers.redrive(unit, "shipping", None)).result(10)
    pushing.until_done()
    assert of_payment(receiver.got)["a"] == [1, 2]


def test_a_dead_event_is_overtaken_where_the_consumer_says_so(pushing: Pushing, receiver: Receiver) -> None:
    receiver.behave = lambda got: reply(500) if got.number == 1 else reply()
    pushing.put(receiver.url, max_attempts=1, on_dead="skip")
    pushing.append("a", "a")
    pushing.until(lambda found: found.dead == 1)
    pushing.until_done()
    assert [one.number for one in receiver.got] == [1, 2]


def test_a_retry_after_is_kept_to_by_everything_for_this_endpoint(
    pushing: Pushing, receiver: Receiver
) -> None:
    receiver.behave = lambda got: reply(429, retry_after="60") if len(receiver.got) == 1 else reply()
    pushing.put(receiver.url)
    pushing.append("a")
    pushing.until(lambda found: found.waiting == 1)
    pushing.append("b")
    pushing.forward(50)
    time.sleep(0.1)
    assert len(receiver.got) == 1
    pushing.forward(11)
    pushing.until_done()
    assert sorted(one.payment for one in receiver.got) == ["a", "a", "b"]


# -- an endpoint that is down, gone, or fails for long --


def test_an_endpoint_that_is_down_is_probed_now_and_then_and_burns_no_attempts(
    pushing: Pushing, receiver: Receiver
) -> None:
    receiver.behave = lambda got: reply(503)
    pushing.put(receiver.url, max_attempts=3, concurrency=DOWN_AFTER)
    pushing.append(*(f"payment-{number}" for number in range(40)))
    pushing.until(failed(DOWN_AFTER))
    time.sleep(0.1)
    assert len(receiver.got) == DOWN_AFTER  # the others were not even tried
    for probes in range(1, 30):
        pushing.forward(301)
        receiver.wait_for(DOWN_AFTER + probes)
        pushing.until(failed(DOWN_AFTER + probes))
    time.sleep(0.1)
    assert len(receiver.got) == DOWN_AFTER + 29
    assert pushing.look().dead == 0
    assert len({got.payment for got in receiver.got}) > DOWN_AFTER  # probes take turns
    receiver.behave = lambda got: reply()
    pushing.forward(301)
    pushing.until_done()
    assert pushing.look().dead == 0
    assert {got.payment for got in receiver.got} == {f"payment-{number}" for number in range(40)}


def test_events_that_only_fail_themselves_do_not_hold_up_the_probes(
    pushing: Pushing, receiver: Receiver
) -> None:
    receiver.behave = lambda got: reply() if got.payment == "good" else reply(500)
    pushing.put(receiver.url, concurrency=DOWN_AFTER)
    pushing.append(*(f"bad-{number}" for number in range(DOWN_AFTER)), "good")
    pushing.until(failed(DOWN_AFTER))
    deadline_s = time.monotonic() + 10
    while not any(got.payment == "good" for got in receiver.got):
        assert time.monotonic() < deadline_s
        pushing.forward(301)
        time.sleep(0.05)
    assert [got.payment for got in receiver.got].index("good") <= DOWN_AFTER + 2


def test_an_endpoint_that_fails_for_long_is_paused_and_goes_on_when_resumed(
    store: Store, clock: Clock, receiver: Receiver
) -> None:
    with make_pushing(store, clock, pause_after=timedelta(hours=2)) as pushing:
        receiver.behave = lambda got: reply(500, b"broken")
        pushing.put(receiver.url, concurrency=DOWN_AFTER)
        pushing.append(*(f"payment-{number}" for number in range(20)))
        pushing.until(failed(DOWN_AFTER))
        assert not pushing.look().paused
        pushing.forward(7201)
        paused = pushing.until(lambda found: found.paused)
        assert "HTTP 500: broken" in paused.pause_reason
        alarm = pushing.until_alarm("push_failing")
        assert (alarm["consumer"], alarm["host"]) == ("shipping", "127.0.0.1")
        count = len(receiver.got)
        pushing.forward(3600)
        pushing.append("late")
        time.sleep(0.2)
        assert len(receiver.got) == count
        receiver.behave = lambda got: reply()
        pushing.resume()
        pushing.until_done()
        resumed = pushing.look()
        assert (resumed.paused, resumed.pause_reason, resumed.dead) == (False, None, 0)
        assert len({got.payment for got in receiver.got}) == 21


def test_410_pauses_at_once(pushing: Pushing, receiver: Receiver) -> None:
    receiver.behave = lambda got: reply(410)
    pushing.put(receiver.url, max_attempts=1)
    pushing.append("a", "a")
    paused = pushing.until(lambda found: found.paused)
    assert "410" in paused.pause_reason
    assert pushing.until_alarm("push_gone")["consumer"] == "shipping"
    assert (paused.dead, paused.waiting) == (0, 1)
    receiver.behave = lambda got: reply()
    pushing.forward(6)
    time.sleep(0.1)
    assert len(receiver.got) == 1
    pushing.resume()
    pushing.until_done()
    assert [got.number for got in receiver.got] == [1, 1, 2]


def test_a_slow_endpoint_slows_nobody_else(pushing: Pushing, receiver: Receiver) -> None:
    with Receiver() as slow:
        slow.behave = lambda got: hang
        for number in range(20):
            pushing.put(slow.url, f"slow-{number}", timeout_seconds=30)
        pushing.append(*(f"payment-{number}" for number in range(20)))
        slow.wait_for(200)
        pushing.put(receiver.url)
        pushing.until_done(within_s=5)
        assert len(receiver.got) == 20


# -- changes, and the end --


def test_a_consumer_that_is_deleted_is_pushed_to_no_more(pushing: Pushing, receiver: Receiver) -> None:
    receiver.behave = lambda got: hang
    pushing.put(receiver.url, timeout_seconds=30)
    pushing.append("a")
    receiver.wait_for(1)
    assert pushing.store.write(lambda unit: consumers.remove(unit, "shipping")).result(10)
    pushing.append("b")
    receiver.behave = lambda got: reply()
    pushing.put(receiver.url, "other")
    pushing.until_done("other")
    assert [got.payment for got in receiver.got].count("b") == 1


def test_another_url_counts_from_the_next_event_on(pushing: Pushing, receiver: Receiver) -> None:
    with Receiver() as other:
        pushing.put(receiver.url)
        pushing.append("a")
        receiver.wait_for(1)
        pushing.until_done()
        pushing.put(other.url)
        pushing.append("b")
        other.wait_for(1)
        pushing.until_done()
        assert len(receiver.got) == 1


def test_a_mended_url_is_tried_at_once_although_the_old_one_was_down(
    pushing: Pushing, receiver: Receiver, free_port: int
) -> None:
    pushing.put(f"http://127.0.0.1:{free_port}/", concurrency=DOWN_AFTER)
    pushing.append(*(f"payment-{number}" for number in range(DOWN_AFTER + 1)))
    pushing.until(failed(DOWN_AFTER))
    pushing.put(receiver.url)
    assert receiver.wait_for(1, within_s=4)


def test_what_is_under_way_at_the_end_is_given_back(store: Store, clock: Clock, receiver: Receiver) -> None:
    receiver.behave = lambda got: hang
    with make_pushing(store, clock) as pushing:
        pushing.put(receiver.url, timeout_seconds=30)
        pushing.append("a")
        receiver.wait_for(1)
    receiver.behave = lambda got: reply()
    with make_pushing(store, clock) as pushing:
        _, again = receiver.wait_for(2, within_s=3)
        pushing.until_done()
        assert again.number == 1


def test_a_pause_ends_pushing_and_resume_goes_on(pushing: Pushing, receiver: Receiver) -> None:
    pushing.put(receiver.url)
    pushing.store.write(lambda unit: consumers.pause(unit, "shipping", paused=True)).result(10)
    pushing.append("a")
    time.sleep(0.2)
    assert receiver.got == []
    assert pushing.look().pause_reason is None
    pushing.resume()
    receiver.wait_for(1)


def counts(*pushing: Pushing) -> list[float]:
    return [one.count("pushed_total", consumer="shipping") for one in pushing]


def test_two_processes_push_each_event_once(store: Store, clock: Clock, receiver: Receiver) -> None:
    receiver.behave = lambda got: after(0.01, reply())
    with make_pushing(store, clock) as pushing, make_pushing(store, clock) as other:
        pushing.put(receiver.url)
        for number in range(30):
            pushing.append(*(f"payment-{number}-{place}" for place in range(5)), "same")
        more, until_s = 0, time.monotonic() + 20
        while min(counts(pushing, other)) == 0 and time.monotonic() < until_s:  # until both have a share
            pushing.append(f"more-{more}")
            more += 1
            time.sleep(0.01)
        pushing.until_done(within_s=20)
        assert len(receiver.got) == 180 + more
        numbers = of_payment(receiver.got)["same"]
        assert numbers == sorted(numbers)
        assert sum(counts(pushing, other)) == 180 + more
        assert min(counts(pushing, other)) > 0
