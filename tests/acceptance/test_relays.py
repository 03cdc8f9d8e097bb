"""A service with relays: the log goes out, operators see it, and a broker that is away stops nothing else."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.brokers import Redis
from support.databases import migrated
from support.process import OPERATOR, ServiceProcess
from support.relaying import Log, check_kept, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HEADERS = {"Authorization": f"Bearer {OPERATOR}"}


def test_run_relays_what_is_in_the_log_and_says_how_far_it_is(
    tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> None:
    port, nowhere = free_ports(2)
    broker = Redis(tmp_path / "broker")
    log = Log(f"sqlite:///{migrated(tmp_path / 'midtrans.db')}")
    log.append_many(1200, payments=100)
    log.store.close()
    (tmp_path / "redis.url").write_text(f"redis://127.0.0.1:{broker.server.port}/0\n")
    (tmp_path / "service.toml").write_text(f"""
        [relays.out]
        kind = "redis"
        url_file = "redis.url"
        start = "beginning"
        [relays.away]
        kind = "nats"
        url = "nats://user:pass-word-2@127.0.0.1:{nowhere}"
        start = "beginning"
    """)
    service = ServiceProcess(
        data_dir=tmp_path,
        port=port,
        environ={
            "SERVICE_CONFIG": str(tmp_path / "service.toml"),
            "MIDTRANS_SERVER_KEY": "SB-Mid-server-relays",
        },
    )
    try:
        service.start()
        with httpx.Client(base_url=service.url, headers=HEADERS) as client:

            def lags() -> dict[str, tuple[int, bool]]:
                found = client.get("/v1/relays").json()["relays"]
                return {one["name"]: (one["lag"], one["error"] is None) for one in found}

            until(lambda: lags() == {"out": (0, True), "away": (1200, False)}, about=lags)
            check_kept(log.messages, broker.kept())
            assert len(broker.kept()) == 1200
            metrics = client.get("/metrics").text
            assert 'midtrans_relay_published_total{relay="out"} 1200.0' in metrics
            assert 'midtrans_relay_lag{relay="away"} 1200.0' in metrics
            ready = client.get("/readyz").json()
            assert (ready["status"], "away" in ready["parts"]["relays"]) == ("degraded", True)
            service.kill()  # and started again it goes on at once: the owner is known to be gone
            service.start()
            until(lambda: client.get("/v1/relays/out").json()["owner"] is not None)
            assert len(broker.kept()) == 1200
        assert service.stop() == 0
        assert service.failures() == []
        assert "pass-word-2" not in service.log_text()
    finally:
        service.kill()
        broker.close()
