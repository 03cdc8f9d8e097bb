"""Merchants that the database knows and the settings do not."""

from pathlib import Path

import structlog
from support.world import make_world

from service.app import build, utc_now
from service.doctor import Level, examine
from service.domain.merchant import Merchant
from service.settings import Configuration

BODY = {"payment_type": "gopay", "transaction_details": {"order_id": "order-1", "gross_amount": 10_000}}


def settings(folder: Path, merchant: str) -> Configuration:
    """Return settings of one merchant on a database where a receipt of `default` waits."""
    with make_world(folder) as world:
        world.account.charge(BODY)
        world.notify(world.account.notification("order-1"))
    merchants = (Merchant(merchant, ("example-server-key",), base_url="http://127.0.0.1:1"),)
    return Configuration(folder, f"sqlite:///{folder / 'world.db'}", merchants, worker_threads=0)


def lines_of_a_start(configuration: Configuration) -> list[tuple[str, int]]:
    service = build(configuration)
    with structlog.testing.capture_logs() as lines:
        service.start()
        service.stop()
    return [(line["merchant"], line["waiting"]) for line in lines if line["event"] == "merchant_missing"]


def test_receipts_of_a_merchant_that_was_renamed_are_told_at_the_start(tmp_path: Path) -> None:
    assert lines_of_a_start(settings(tmp_path, "shop-b")) == [("default", 1)]


def test_receipts_of_merchants_that_are_set_up_need_no_word(tmp_path: Path) -> None:
    assert lines_of_a_start(settings(tmp_path, "default")) == []


def test_doctor_fails_over_receipts_of_a_merchant_that_was_renamed(tmp_path: Path, free_port: int) -> None:
    configuration = settings(tmp_path, "shop-b")
    found = {
        finding.check: finding
        for finding in examine(
            configuration,
            clock=utc_now,
            service_url=f"http://127.0.0.1:{free_port}",
            public_url=None,
        )
    }
    assert found["merchant default"].level is Level.FAILED
    assert "1 of its receipts wait" in found["merchant default"].says
