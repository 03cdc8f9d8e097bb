import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.world import KEY, World, make_world

from service.domain.limits import Limits
from service.domain.merchant import Merchant
from service.errors import GatewayRefused, GatewayUnavailable, StoreUnavailable
from service.worker import LEASE, Worker


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path) as made:
        yield made


class Seconds:
    """The monotonic clock of limits and probes; it runs as fast as the test wants."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def working(world: World, *, threads: int = 4, **options: Any) -> Iterator[Worker]:
    worker = Worker(
        store=world.store,
        confirmer=world.confirmer,
        merchants=[Merchant("default", (KEY,))],
        limits=options.pop("limits", Limits()),
        threads=threads,
        alarm=options.pop("alarm", lambda alarm, *, merchant, **facts: world.alarms.append((alarm, facts))),
        **options,
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(5)


def until(condition: Callable[[], object], *, within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def pay(world: World, order_id: str) -> dict[str, Any]:
    world.account.charge(
        {
            "payment_type": "bank_transfer",
            "transaction_details": {"order_id": order_id, "gross_amount": 10_000},
            "bank_transfer": {"bank": "bni"},
        }
    )
    return world.account.pay(order_id)


def test_what_is_stored_is_confirmed_by_itself(world: World) -> None:
    with working(world) as worker:
        for number in range(30):
            assert world.notify(pay(world, f"A-{number}")) == 200
        until(lambda: len(world.events()) == 30)
        assert worker.health().ok


def test_no_threads_pause_confirming(world: World) -> None:
    with working(world, threads=0):
        world.notify(pay(world, "A-1"))
        time.sleep(0.1)
    assert world.gateway.asked == []


def test_one_order_is_never_asked_about_twice_at_a_time(world: World) -> None:
    under_way: set[str] = set()
    clashes: list[str] = []

    def watch(asked: str) -> None:
        if asked in under_way:
            clashes.append(asked)
        under_way.add(asked)
        time.sleep(0.01)
        under_way.discard(asked)

    world.gateway.before_answer = watch
    body = pay(world, "A-1")
    with working(world, threads=8):
        for number in range(15):
            world.notify({**body, "custom_field1": str(number)})
        until(lambda: all(state != "waiting" for state, _ in world.receipt_states()))
    assert clashes == []
    assert world.types() == ["settled"]


def test_what_came_before_the_clock_was_set_back_is_asked_about_at_the_next_start(world: World) -> None:
    world.notify(pay(world, "A-1"))
    world.clock.pass_time(hours=-1)
    with working(world):
        until(world.events)


def test_what_came_before_the_clock_was_set_back_is_asked_about_at_once(world: World) -> None:
    free = threading.Event()

    def hold(_asked: str) -> None:
        free.wait(5)

    world.gateway.before_answer = hold
    with working(world, threads=1) as worker:
        until(lambda: worker._looked_at)
        for number in range(6):  # more than one thread takes: some are not claimed yet
            world.notify(pay(world, f"A-{number}"))
        until(lambda: world.gateway.asked)
        world.clock.pass_time(hours=-1)
        free.set()
        until(lambda: len(world.events()) == 6)


def test_no_more_questions_are_in_flight_than_allowed(world: World) -> None:
    counts: list[int] = []
    now, lock = 0, threading.Lock()

    def watch(_asked: str) -> None:
        nonlocal now
        with lock:
            now += 1
            counts.append(now)
        time.sleep(0.01)
        with lock:
            now -= 1

    world.gateway.before_answer = watch
    with working(world, threads=8, limits=Limits(in_flight=3)):
        for number in range(20):
            world.notify(pay(world, f"A-{number}"))
        until(lambda: len(world.events()) == 20)
    assert max(counts) <= 3


@pytest.mark.slow
def test_a_fault_in_confirming_stops_neither_the_worker_nor_the_receipt(world: World) -> None:
    broken = True

    def fail(_asked: str) -> None:
        if broken:
            raise RuntimeError("a bug")

    world.gateway.before_answer = fail
    with working(world):
        world.notify(pay(world, "A-1"))
        until(lambda: "fault of this service" in str(world.receipt_states()))
        broken = False
        world.clock.pass_time(seconds=10)
        until(lambda: world.types() == ["settled"])


@pytest.mark.slow
def test_refused_keys_pause_the_merchant_and_it_goes_on_by_itself(world: World) -> None:
    seconds = Seconds()
    body = pay(world, "A-1")
    world.gateway.answers[body["transaction_id"]] = GatewayRefused("default")
    with working(world, monotonic=seconds) as worker:
        world.notify(body)
        until(lambda: world.alarm_names() == ["keys_refused"])
        assert worker.health().problems == {"default": "keys_refused"}
        asked = len(world.gateway.asked)
        time.sleep(0.1)
        assert len(world.gateway.asked) == asked
        world.gateway.answers.clear()
        seconds.now += 61
        until(lambda: world.types() == ["settled"])
        until(lambda: worker.health().ok)


@pytest.mark.slow
def test_a_wrong_environment_burns_no_receipt(world: World) -> None:
    seconds = Seconds()
    bodies = [pay(world, f"A-{number}") for number in range(20)]
    world.gateway.answers = {body[name]: None for body in bodies for name in ("order_id", "transaction_id")}
    with working(world, monotonic=seconds) as worker:
        for body in bodies:
            world.notify(body)
        until(lambda: worker.health().problems == {"default": "wrong_environment"})
        for _ in range(40):  # more probes than a receipt has tries
            asked = len(world.gateway.asked)
            seconds.now += 61
            worker._wake.set()  # a minute has passed, though not here
            until(lambda asked=asked: len(world.gateway.asked) > asked)  # type: ignore[misc]
        assert {state for state, _ in world.receipt_states()} == {"waiting"}
        world.gateway.answers.clear()
        seconds.now += 61
        until(lambda: len(world.events()) == 20)
    assert world.alarm_names() == ["wrong_environment"]


def test_a_pause_outlives_a_restart(world: World) -> None:
    seconds = Seconds()
    body = pay(world, "A-1")
    world.gateway.answers[body["transaction_id"]] = GatewayRefused("default")
    with working(world, monotonic=seconds):
        world.notify(body)
        until(lambda: world.alarm_names() == ["keys_refused"])
        until(lambda: world.store.read(lambda unit: unit.merchants.get("default")))
    with working(world, monotonic=seconds, threads=0) as worker:
        assert worker.health().problems == {"default": "keys_refused"}


def test_an_open_breaker_keeps_receipts_for_later(world: World) -> None:
    seconds = Seconds()
    bodies = [pay(world, f"A-{number}") for number in range(30)]
    for body in bodies:
        world.gateway.answers[body["transaction_id"]] = GatewayUnavailable("503")
    with working(world, threads=1, monotonic=seconds) as worker:
        for body in bodies:
            world.notify(body)
        until(lambda: not worker.health().ok)
        assert len(world.gateway.asked) < 20
        world.gateway.answers.clear()

        def all_told_as_time_passes() -> bool:
            seconds.now += 31
            world.clock.pass_time(seconds=5)
            return len(world.events()) == 30

        until(all_told_as_time_passes, within_s=20)


def test_claims_of_a_dead_process_of_this_machine_are_freed_at_the_start(world: World) -> None:
    import socket

    world.notify(pay(world, "A-1"))
    dead = f"{socket.gethostname()}:{_dead_pid()}:aaaa"
    assert len(world.claim(owner=dead)) == 1
    with working(world):
        until(lambda: world.types() == ["settled"])


def test_claims_of_a_living_process_are_left_to_it(world: World) -> None:
    import socket

    world.notify(pay(world, "A-1"))
    assert len(world.claim(owner=f"{socket.gethostname()}:{os.getppid()}:aaaa")) == 1
    with working(world):
        time.sleep(0.1)
    assert world.events() == []


def _dead_pid() -> int:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return pid


def test_stopping_gives_back_what_was_not_begun(world: World) -> None:
    world.gateway.before_answer = lambda _asked: time.sleep(0.2)
    with working(world, threads=1):
        for number in range(5):
            world.notify(pay(world, f"A-{number}"))
        until(lambda: world.gateway.asked)
    left = [state for state, _ in world.receipt_states()].count("waiting")
    assert left >= 3
    world.gateway.before_answer = lambda _asked: None
    with working(world):
        until(lambda: len(world.events()) == 5)


def test_a_fault_in_sounding_an_alarm_kills_no_thread(world: World) -> None:
    def refuse(_alarm: str, **_facts: object) -> None:
        raise RuntimeError("a bell that cannot be rung")

    body = pay(world, "A-1")
    world.gateway.answers[body["transaction_id"]] = GatewayRefused("default")
    with working(world, alarm=refuse) as worker:
        world.notify(body)
        until(lambda: worker.health().problems == {"default": "keys_refused"})
        assert all(thread.is_alive() for thread in worker._threads)


def test_a_dead_thread_shows_in_the_health(world: World) -> None:
    with working(world, threads=2) as worker:
        worker._jobs.put(None)  # a worker leaves
        until(lambda: worker.health().problems == {"*": "a thread has died"})


def test_a_claim_that_waited_too_long_is_given_back_unasked(world: World) -> None:
    seconds = Seconds()

    def let_time_pass(_asked: str) -> None:
        seconds.now += LEASE.total_seconds()

    world.gateway.before_answer = let_time_pass
    with working(world, threads=1, monotonic=seconds):
        for number in range(3):
            world.notify(pay(world, f"A-{number}"))
        until(lambda: len(world.events()) == 3, within_s=10)


def test_a_full_or_paused_account_does_not_keep_the_dispatcher_busy(world: World) -> None:
    seconds = Seconds()
    body = pay(world, "A-1")
    world.gateway.answers[body["transaction_id"]] = GatewayRefused("default")
    with working(world, monotonic=seconds) as worker:
        world.notify(body)
        until(lambda: worker.health().problems == {"default": "keys_refused"})
        reads = 0
        read = world.store.read

        def count(query: Callable[[Any], Any]) -> Any:
            nonlocal reads
            reads += 1
            return read(query)

        world.store.read = count  # type: ignore[method-assign]
        time.sleep(0.5)
    assert reads < 10


@pytest.mark.slow
def test_what_could_not_be_written_is_asked_about_again_as_soon_as_it_can(world: World) -> None:
    write, failing = world.store.write, True

    def refuse(work: Callable[[Any], Any]) -> Any:
        if failing and world.gateway.asked:
            failed: Future[Any] = Future()
            failed.set_exception(StoreUnavailable("the disk is full"))
            return failed
        return write(work)

    world.notify(pay(world, "A-1"))
    world.store.write = refuse  # type: ignore[method-assign]
    with working(world, threads=1):
        until(lambda: world.gateway.asked)
        time.sleep(0.1)
        failing = False
        until(lambda: world.types() == ["settled"])  # long before the claim's lease is over
