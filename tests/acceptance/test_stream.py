"""A stream across restarts and kills of the service: whoever comes back with the last id misses and repeats nothing."""

import random
import time
from pathlib import Path

import pytest
from support.process import OPERATOR
from support.proof import events_of, wait_until
from support.sse import Listener
from support.torment import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ENDS = 8


def test_a_reader_that_comes_back_misses_and_repeats_nothing(tmp_path: Path, free_port: int) -> None:
    operator = {"Authorization": f"Bearer {OPERATOR}"}
    with load(tmp_path, free_port, log=tmp_path / "service.log") as torment:
        everything = Listener(torment.service.url, operator, after="beginning")
        settled = Listener(
            torment.service.url, operator, "settled", after="beginning", types="midtrans.payment.settled"
        )
        for listener in (everything, settled):
            listener.start()
        dice = random.Random(20261122)
        for number in range(ENDS):
            time.sleep(dice.uniform(0.3, 1.2))
            if number % 2:
                torment.service.kill()
            else:
                assert torment.service.stop() == 0
            torment.service.spawn()
            torment.service.wait_until_ready()
        torment.wait_for(200, 20)
        torment.end_stories()
        wait_until(lambda: torment.reader.read != [] and _is_quiet(torment.database), "all is told")
        events = events_of(torment.database)
        told = [event["id"] for event in events]
        wanted = [event["id"] for event in events if event["type"] == "midtrans.payment.settled"]
        wait_until(lambda: len(everything.ids()) >= len(told), "all is streamed", within_s=30)
        wait_until(lambda: len(settled.ids()) >= len(wanted), "all that is wanted is streamed", within_s=30)
        for listener in (everything, settled):
            listener.finish()
            assert listener.connections > ENDS
        assert everything.ids() == told
        assert settled.ids() == wanted
        torment.prove()


def _is_quiet(database: Path) -> bool:
    before = len(events_of(database))
    time.sleep(1)
    return len(events_of(database)) == before
