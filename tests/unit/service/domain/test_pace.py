import pytest

from service.domain.limits import Limits
from service.domain.pace import Asked, Pace, Pause


def make_pace(**limits: float) -> Pace:
    chosen = {"rate_per_s": 100, "burst": 50, "in_flight": 16, "repeat_share": 0.1, **limits}
    return Pace(Limits(**chosen), confirmed=False, pause=None, now_s=0)  # type: ignore[arg-type]


def ask(pace: Pace, asked: Asked, *, order_id: str = "A", now_s: float = 0, questions: int = 1) -> bool:
    pace.started(now_s, repeat=False)
    return pace.ended(asked, order_id=order_id, questions=questions, now_s=now_s)


def test_no_more_than_so_many_are_in_flight() -> None:
    pace = make_pace(in_flight=3)
    assert pace.room(0) == 3
    for _ in range(3):
        pace.started(0, repeat=False)
    assert pace.room(0) == 0


def test_repeats_share_a_tenth_and_first_questions_do_not_wait_for_them() -> None:
    pace = make_pace(burst=50, in_flight=1000)
    assert pace.room(0, repeat=True) == 5
    for _ in range(5):
        pace.started(0, repeat=True)
    assert pace.room(0, repeat=True) == 0
    assert pace.room(0) == 45


def test_a_share_too_small_for_one_still_lets_one_repeat_pass() -> None:
    pace = make_pace(burst=2, repeat_share=0.01)
    assert pace.room(0, repeat=True) == 1


def test_second_questions_count() -> None:
    pace = make_pace(burst=10)
    ask(pace, Asked.FOUND, questions=2)
    assert pace.room(0) == 8


def test_all_keys_refused_pauses_probes_every_minute_and_goes_on_by_itself() -> None:
    pace = make_pace()
    assert ask(pace, Asked.REFUSED)
    assert pace.pause is Pause.KEYS_REFUSED
    assert pace.room(59) == 0
    assert not pace.may_probe(59)
    assert pace.may_probe(60)
    assert not ask(pace, Asked.REFUSED, now_s=60)
    assert not pace.may_probe(119)
    assert ask(pace, Asked.MISSING, now_s=120)  # an answer, so the key was accepted
    assert pace.pause is None


def test_twenty_distinct_unknown_orders_doubt_the_environment() -> None:
    pace = make_pace()
    for number in range(19):
        ask(pace, Asked.MISSING, order_id=f"A-{number}")
        ask(pace, Asked.MISSING, order_id=f"A-{number}")  # the same order again is no further sign
    assert pace.pause is None
    assert ask(pace, Asked.MISSING, order_id="A-19")
    assert pace.pause is Pause.WRONG_ENVIRONMENT
    assert not ask(pace, Asked.MISSING, now_s=60)
    assert pace.pause is Pause.WRONG_ENVIRONMENT
    assert ask(pace, Asked.FOUND, now_s=120)
    assert pace.pause is None


def test_after_one_confirmation_unknown_orders_are_no_sign() -> None:
    pace = make_pace()
    ask(pace, Asked.FOUND)
    for number in range(100):
        ask(pace, Asked.MISSING, order_id=f"A-{number}")
    assert pace.pause is None


@pytest.mark.parametrize("asked", [Asked.UNAVAILABLE, Asked.MISSING, Asked.FOUND, Asked.REFUSED, Asked.LOST])
def test_only_faults_of_midtrans_servers_open_the_breaker(asked: Asked) -> None:
    pace = make_pace()
    for _ in range(50):
        ask(pace, asked)
    assert pace.breaker_state(0) == "closed"


def test_an_open_breaker_lets_one_question_pass_at_a_time() -> None:
    pace = make_pace()
    for number in range(10):
        ask(pace, Asked.FAILED, order_id=f"A-{number}")
    assert pace.room(0.5) == 0
    assert pace.room(1.0) == 1
    pace.started(1.0, repeat=False)
    assert pace.room(1.0) == 0
    pace.ended(Asked.FOUND, order_id="A", questions=1, now_s=1.1)
    assert pace.room(1.1) > 1


def test_one_order_whose_questions_fail_opens_the_breaker_for_nobody() -> None:
    pace = make_pace()
    for _ in range(50):
        ask(pace, Asked.FAILED, order_id="odd")
    assert pace.breaker_state(0) == "closed"


def test_a_failing_probe_keeps_the_breaker_open_whosever_order_it_asks_about() -> None:
    pace = make_pace()
    for number in range(10):
        ask(pace, Asked.FAILED, order_id=f"A-{number}")
    pace.started(1.0, repeat=False)
    pace.ended(Asked.FAILED, order_id="A-0", questions=1, now_s=1.0)
    assert pace.breaker_state(2.5) == "open"
