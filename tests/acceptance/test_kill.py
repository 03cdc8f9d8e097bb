"""Killed at any moment under load: what was acknowledged reaches an end, nothing is lost, nothing comes twice."""

import random
import time
from pathlib import Path

import pytest
from support.process import ServiceProcess
from support.torment import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

KILLS = 30


def test_nothing_acknowledged_is_lost_or_doubled_by_thirty_kills(tmp_path: Path, free_port: int) -> None:
    with load(tmp_path, free_port, log=tmp_path / "service.log", shops=3) as torment:
        kill_again_and_again(torment.service)
        torment.prove()
        assert torment.count(200) > 10 * KILLS


def kill_again_and_again(service: ServiceProcess) -> None:
    """Kill at random moments: mostly under load, every fourth time while it starts."""
    dice = random.Random(20261122)
    for number in range(KILLS):
        time.sleep(dice.uniform(0.05, 0.6))
        service.kill()
        service.spawn()
        if number % 4 != 3:
            service.wait_until_ready()
    service.wait_until_ready()
    time.sleep(0.5)
