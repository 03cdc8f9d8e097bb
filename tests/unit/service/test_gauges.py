from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, update
from support.world import World, make_world

from service import gauges
from service.db.tables import checks, merchant_states, receipts
from service.db.unit import Unit
from service.doctor import Level
from service.doctor.checks import _work
from service.domain.push import Streak
from service.domain.records import ConsumerSpec, PushSpec, ReceiptState
from service.errors import StoreUnavailable
from service.metrics import Metrics
from service.settings import Configuration

BODY = {"payment_type": "gopay", "transaction_details": {"order_id": "order-1", "gross_amount": 10_000}}


class Scrapes:
    """Metrics of a world's store, scraped at times that tests choose."""

    def __init__(self, world: World, database: Path) -> None:
        self.metrics = Metrics()
        self.now_s = 0.0
        gauges.watch(
            self.metrics,
            world.store,
            merchants=["default", "shop-b"],
            file=database,
            monotonic=lambda: self.now_s,
        )

    def __call__(self) -> dict[str, float]:
        self.now_s += 60
        text = self.metrics.render()[0].decode()
        return {
            " ".join([sample.name.removeprefix("midtrans_"), *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("midtrans_")
        }


def test_what_waits_is_counted_with_its_age_and_each_merchant_is_shown(tmp_path: Path) -> None:
    with make_world(tmp_path) as world:
        scrape = Scrapes(world, tmp_path / "world.db")
        assert (scrape()["receipts_waiting default"], scrape()["receipts_waiting shop-b"]) == (0, 0)
        world.account.charge(BODY)
        world.notify(world.account.notification("order-1"))
        world.clock.pass_time(minutes=2)
        found = scrape()
        assert found["receipts_waiting default"] == 1
        assert found["receipts_oldest_waiting_seconds default"] == 120
        assert found["receipts_oldest_waiting_seconds shop-b"] == 0
        world.confirm_due()
        assert scrape()["receipts_waiting default"] == 0


@pytest.mark.parametrize("state", [ReceiptState.PARKED, ReceiptState.ANOMALY])
def test_what_is_held_is_counted_by_state(state: ReceiptState, tmp_path: Path) -> None:
    with make_world(tmp_path) as world:
        world.account.charge(BODY)
        world.notify(world.account.notification("order-1"))
        hold = update(receipts).values(state=state.value, due_at=None)
        world.store.write(lambda unit: unit.connection.execute(hold)).result()
        found = Scrapes(world, tmp_path / "world.db")()
        held = {name: value for name, value in found.items() if name.startswith("receipts_held")}
        assert held == {"receipts_held anomaly": 0, "receipts_held parked": 0} | {f"receipts_held {state}": 1}


def test_lag_checks_and_pauses_are_shown(tmp_path: Path) -> None:
    with make_world(tmp_path) as world:

        def prepare(unit: Unit) -> None:
            for minutes in (-1, 0, 1):
                due_at = unit.now + timedelta(minutes=minutes)
                row = {"merchant": "shop-b", "order_id": str(minutes), "transaction_id": "", "failures": 0}
                unit.connection.execute(insert(checks), {**row, "due_at": due_at})
            paused = {"merchant": "shop-b", "access_fingerprint": "0", "pause_reason": "keys_refused"}
            unit.connection.execute(
                insert(merchant_states), {**paused, "paused_at": unit.now, "updated_at": unit.now}
            )
            unit.consumers.add("shipping", ConsumerSpec(), cursor=0)
            unit.consumers.add("refunds", ConsumerSpec(types=("midtrans.payment.refunded",)), cursor=0)

        world.store.write(prepare).result()
        world.account.charge(BODY)
        world.notify(world.account.notification("order-1"))
        world.reconciles = False
        world.confirm_due()
        found = Scrapes(world, tmp_path / "world.db")()
        assert found["checks_due shop-b"] == 2
        assert (found["merchant_paused default"], found["merchant_paused shop-b"]) == (0, 1)
        assert (found["consumer_lag shipping"], found["consumer_lag refunds"]) == (1, 0)


def test_pushes_that_fail_and_pauses_are_shown(tmp_path: Path) -> None:
    with make_world(tmp_path) as world:

        def prepare(unit: Unit) -> None:
            push = PushSpec("https://shop.example.com/", ("whsec_x",))
            for name in ("well", "failing", "gone"):
                unit.consumers.add(name, ConsumerSpec(push=push), cursor=0)
            unit.consumers.add("pulled", ConsumerSpec(), cursor=0)
            unit.consumers.note("failing", Streak(3, unit.now - timedelta(minutes=7), "timeout"))
            unit.consumers.pause("gone", paused=True, reason="410")
            unit.consumers.pause("well", paused=True)

        world.store.write(prepare).result()
        found = Scrapes(world, tmp_path / "world.db")()
        assert {name: value for name, value in found.items() if name.startswith("push_")} == {
            "push_failing_seconds well": 0,
            "push_failing_seconds failing": 420,
            "push_failing_seconds gone": 0,
            "push_paused well": 0,
            "push_paused failing": 0,
            "push_paused gone": 1,
        }
        configuration = Configuration(tmp_path, f"sqlite:///{tmp_path / 'world.db'}")
        said = [(finding.check, finding.level) for finding in _work(configuration, world.clock)]
        assert said[:2] == [("consumer gone", Level.FAILED), ("consumer failing", Level.WARNING)]


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    with make_world(tmp_path) as world:
        database = tmp_path / "world.db"
        found = Scrapes(world, database)()
        assert found["database_bytes"] == database.stat().st_size
        assert found["wal_bytes"] == Path(f"{database}-wal").stat().st_size > 0
        assert found["disk_free_bytes"] > 0


def test_one_scrape_reads_the_database_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make_world(tmp_path) as world:
        scrape, read, reads = Scrapes(world, tmp_path / "world.db"), world.store.read, 0

        def counted(query: object) -> object:
            nonlocal reads
            reads += 1
            return read(query)  # type: ignore[arg-type]

        monkeypatch.setattr(world.store, "read", counted)
        scrape()
        assert reads == 1
        scrape()
        assert reads == 2


def test_a_database_that_cannot_be_read_hides_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_world(tmp_path) as world:
        scrape = Scrapes(world, tmp_path / "world.db")

        def fail(_query: object) -> None:
            raise StoreUnavailable("the disk is away")

        monkeypatch.setattr(world.store, "read", fail)
        found = scrape()
        assert "receipts_waiting default" not in found
        assert found["disk_free_bytes"] > 0
        assert "writer_waiting" in found
