"""What the service sounds by itself when its store gives out."""

from pathlib import Path

import pytest
import structlog
from support.databases import migrated

from service.app import build
from service.db.unit import Unit
from service.domain.merchant import Merchant
from service.errors import StoreUnavailable
from service.settings import Configuration


def test_a_store_that_cannot_write_sounds_its_alarm_once_a_spell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{migrated(tmp_path / 'midtrans.db')}"
    service = build(Configuration(tmp_path, url, (Merchant("default", ("example-server-key",)),)))
    service.store.start()
    with structlog.testing.capture_logs() as lines, monkeypatch.context() as patched:
        patched.setattr("service.db.batch.Batch.fill", _full)
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                service.store.write(_nothing).result(5)
        patched.undo()
        service.store.write(_nothing).result(5)
        service.store.close()
    alarms = [line for line in lines if line["event"] == "alarm"]
    assert [(line["alarm"], line["merchant"]) for line in alarms] == [("store_unavailable", "*")]
    assert "OSError" in alarms[0]["why"]
    assert service.metrics.alarms.labels("*", "store_unavailable")._value.get() == 1


def _nothing(_unit: Unit) -> None:
    return None


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
