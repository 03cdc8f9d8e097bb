import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

import service
from service.alarms import ALARMS, Alarms
from service.domain.pace import Pause
from service.domain.records import ReceiptState
from service.metrics import Metrics

SOURCES = sorted(Path(service.__file__).parent.rglob("*.py"))
OPERATING = Path(service.__file__).parents[1] / "docs" / "operating.md"


def families(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    text = metrics.render()[0].decode()
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def calls(method: str) -> Iterator[str]:
    """Yield the first argument of every call of *method* in the service that is a text."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_call = (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == method
            )
            if is_call and isinstance(node, ast.Call) and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


def documented_names() -> set[str]:
    """Return every name that operators may meet: our metrics as Prometheus shows them, gauges, alarms."""
    text = Metrics().render()[0].decode()
    own = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
        if family.name.startswith("midtrans_")
    }
    return own | {f"midtrans_{name}" for name in calls("watch")} | set(ALARMS)


def test_what_is_counted_is_read_by_prometheus() -> None:
    metrics = Metrics()
    metrics.notifications.labels("default", "200").inc(3)
    metrics.writer_waiting.set(7)
    metrics.question_seconds.observe(0.02)
    found = families(metrics)
    assert (
        found["midtrans_notifications"] == {("200", "default"): 3}
        or 3 in found["midtrans_notifications"].values()
    )
    assert found["midtrans_writer_waiting"] == {(): 7}
    assert "midtrans_question_seconds" in found
    assert metrics.render()[1].startswith("text/plain")


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.writer_waiting.set(1)
    assert families(other)["midtrans_writer_waiting"] == {(): 0}


def test_a_watched_gauge_is_read_when_somebody_scrapes() -> None:
    metrics, lag = Metrics(), {"shipping": 1.0}
    metrics.watch("consumer_lag", "Events not read yet.", lambda: lag, label="consumer")
    metrics.watch("log_position", "The last position.", lambda: 12)
    lag["shipping"] = 5
    found = families(metrics)
    assert found["midtrans_consumer_lag"] == {("shipping",): 5}
    assert found["midtrans_log_position"] == {(): 12}


def test_a_gauge_that_cannot_be_read_hides_no_other() -> None:
    metrics = Metrics()
    metrics.watch("broken", "Raises.", lambda: 1 / 0)
    metrics.watch("fine", "Does not.", lambda: 1)
    with structlog.testing.capture_logs() as entries:
        found = families(metrics)
    assert "midtrans_broken" not in found
    assert found["midtrans_fine"] == {(): 1}
    assert entries[0]["gauge"] == "midtrans_broken"


def test_two_gauges_of_one_name_are_refused() -> None:
    metrics = Metrics()
    metrics.watch("twice", "One.", lambda: 1)
    with pytest.raises(ValueError, match="watched already"):
        metrics.watch("twice", "Two.", lambda: 2)


def test_an_alarm_is_logged_with_its_facts_and_counted() -> None:
    metrics = Metrics()
    with structlog.testing.capture_logs() as entries:
        Alarms(metrics).sound("parked", merchant="default", order_id="order-1")
    assert entries == [
        {
            "event": "alarm",
            "log_level": "error",
            "alarm": "parked",
            "merchant": "default",
            "order_id": "order-1",
            "to_do": ALARMS["parked"],
        }
    ]
    assert 1 in families(metrics)["midtrans_alarms"].values()


def test_every_alarm_that_is_sounded_says_what_to_do() -> None:
    sounded = set(calls("sound")) | set(calls("alarm")) | set(calls("_alarm"))
    sounded |= {"status_unknown", "amount_missing", "partial_refund_without_amount"}  # problem_of
    sounded |= {
        "partial_chargeback_without_amount",
        "refunded_more_than_paid",
        "currency_not_idr",
    }  # alarms_of
    sounded |= {state.value for state in (ReceiptState.PARKED, ReceiptState.CONTRADICTED)}
    sounded |= {pause.value for pause in Pause}
    assert sounded - set(ALARMS) == set()


def test_every_metric_and_alarm_has_a_line_for_operators() -> None:
    text = OPERATING.read_text(encoding="utf-8")
    names = documented_names()
    assert sorted(name for name in names if f"| `{name}" not in text) == []


def test_the_lines_for_operators_speak_of_nothing_that_is_gone() -> None:
    rows = [
        line.split("`")[1]
        for line in OPERATING.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    known = documented_names()
    assert sorted(row for row in rows if row not in known) == []
