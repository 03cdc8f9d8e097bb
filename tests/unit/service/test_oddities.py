import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from service.db.migrate import upgrade
from service.db.oddities import KEPT
from service.db.store import Store
from service.domain.records import Oddity
from service.oddities import BATCH, OddityRings

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


class Writer:
    """Runs the work at once, or fails with *error*; holds futures back while *holding*."""

    def __init__(self) -> None:
        self.batches: list[list[Oddity]] = []
        self.error: Exception | None = None
        self.raises: Exception | None = None
        self.held: list[Future[None]] = []
        self.holding = False

    def write(self, work: Callable[[Any], None]) -> Future[None]:
        if self.raises is not None:
            raise self.raises
        future: Future[None] = Future()
        if self.error is not None:
            future.set_exception(self.error)
            return future
        work(SimpleNamespace(oddities=SimpleNamespace(add_many=lambda new: self.batches.append(list(new)))))
        if self.holding:
            self.held.append(future)
        else:
            future.set_result(None)
        return future

    @property
    def written(self) -> list[str]:
        return [oddity.detail for batch in self.batches for oddity in batch]


class Later:
    """A clock in the hand of the test: `pass_` lets one pause pass."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, delay_s: float, call: Callable[[], None], /) -> None:
        self.calls.append((delay_s, call))

    def pass_(self) -> None:
        calls, self.calls = self.calls, []
        for _, call in calls:
            call()


def oddity(detail: str = "", *, merchant: str = "m", reason: str = "signature", body: bytes = b"") -> Oddity:
    return Oddity(merchant, reason, NOW, "192.0.2.1", "/notifications", {}, body, len(body), detail)


def rings() -> tuple[OddityRings, Writer, Later]:
    writer, later = Writer(), Later()
    return OddityRings(writer, later=later), writer, later


def test_many_are_written_together_after_a_second() -> None:
    box, writer, later = rings()
    for number in range(10):
        box.keep(oddity(str(number)))
    assert (writer.batches, [delay for delay, _ in later.calls]) == ([], [1.0])
    later.pass_()
    assert writer.written == [str(number) for number in range(10)]
    assert (box.waiting, later.calls) == (0, [])


def test_no_second_writes_more_than_a_batch() -> None:
    box, writer, later = rings()
    for number in range(KEPT):
        box.keep(oddity(str(number)))
    later.pass_()
    assert writer.written == [str(number) for number in range(BATCH)]
    assert len(later.calls) == 1
    while later.calls:
        later.pass_()
    assert writer.written == [str(number) for number in range(KEPT)]


def test_nothing_is_written_while_the_last_write_is_not_done() -> None:
    box, writer, later = rings()
    writer.holding = True
    box.keep(oddity("a"))
    later.pass_()
    box.keep(oddity("b"))
    assert later.calls == []
    writer.held[0].set_result(None)
    later.pass_()
    assert writer.written == ["a", "b"]


def test_a_flood_keeps_its_newest_200_and_pushes_out_nobody_else() -> None:
    box, writer, later = rings()
    box.keep(oddity("mine", merchant="other"))
    for number in range(10_000):
        box.keep(oddity(str(number)))
    assert box.waiting == KEPT + 1
    later.pass_()
    assert "mine" in writer.written
    while later.calls:
        later.pass_()
    assert writer.written[-1] == "9999"
    assert "9799" not in writer.written


def test_bodies_are_cut_and_their_size_is_kept() -> None:
    box, writer, later = rings()
    box.keep(oddity(body=b"x" * 60_000))
    later.pass_()
    ((kept,),) = writer.batches
    assert (len(kept.body), kept.size) == (16 * 1024, 60_000)


def test_what_could_not_be_written_is_tried_again_in_its_order() -> None:
    box, writer, later = rings()
    box.keep(oddity("a"))
    box.keep(oddity("b"))
    writer.error = RuntimeError("disk full")
    later.pass_()
    writer.error, writer.raises = None, RuntimeError("too much waits")
    later.pass_()
    writer.raises = None
    box.keep(oddity("c"))
    later.pass_()
    assert writer.written == ["a", "b", "c"]


def test_what_could_not_be_written_pushes_out_nothing_newer() -> None:
    box, writer, later = rings()
    writer.holding = True
    box.keep(oddity("old"))
    later.pass_()
    for number in range(KEPT):
        box.keep(oddity(str(number)))
    writer.held[0].set_exception(RuntimeError("disk full"))
    writer.holding = False
    writer.batches.clear()
    box.close()
    assert writer.written == [str(number) for number in range(KEPT)]


def test_closing_writes_all_that_is_left() -> None:
    box, writer, _ = rings()
    for number in range(100):
        box.keep(oddity(str(number)))
    box.close()
    assert len(writer.written) == 100
    assert box.waiting == 0


def test_closing_waits_for_what_the_timer_has_taken_and_not_handed_over_yet() -> None:
    box, writer, later = rings()
    taken, go_on = threading.Event(), threading.Event()
    write = writer.write

    def slow(work: Callable[[Any], None]) -> Future[None]:
        taken.set()
        go_on.wait(10)
        return write(work)

    writer.write = slow  # type: ignore[method-assign]
    box.keep(oddity("early"))
    timer = threading.Thread(target=later.pass_)
    timer.start()
    assert taken.wait(10)
    writer.write = write  # type: ignore[method-assign]
    box.keep(oddity("late"))
    threading.Timer(0.05, go_on.set).start()
    box.close()
    timer.join()
    assert writer.written == ["early", "late"]


def test_closing_goes_on_when_nothing_can_be_written() -> None:
    box, writer, _ = rings()
    box.keep(oddity())
    writer.error = RuntimeError("disk full")
    box.close()


def test_each_one_is_counted() -> None:
    seen: list[str] = []
    box = OddityRings(Writer(), later=Later(), on_keep=lambda kept: seen.append(kept.reason))
    box.keep(oddity())
    assert seen == ["signature"]


def test_the_store_holds_them_newest_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'midtrans.db'}"
    upgrade(url)
    store = Store(url, clock=lambda: NOW)
    store.start()
    box = OddityRings(store, pause_s=0.01)
    for number in range(40):
        box.keep(oddity(str(number), body=b"\x00\xff"))
    box.close()
    newest = store.read(lambda unit: unit.oddities.newest(merchant="m"))
    store.close()
    assert [kept.oddity.detail for kept in newest] == [str(number) for number in reversed(range(40))]
