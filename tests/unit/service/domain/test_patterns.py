"""Patterns of types: what one matches, another covers or not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.patterns import covers, matches

texts = st.text("ab.", max_size=4)
patterns = st.builds(lambda text, star: text + star, texts, st.sampled_from(["", "*"]))


@pytest.mark.parametrize(
    ("known", "pattern", "covered"),
    [
        (["*"], "midtrans.*", True),
        (["*"], "*", True),
        (["midtrans.*"], "*", False),
        (["midtrans.payment.*"], "midtrans.payment.settled", True),
        (["midtrans.payment.*"], "midtrans.payment.*", True),
        (["midtrans.payment.*"], "midtrans.*", False),
        (["midtrans.payment.*"], "midtrans.payment*", False),
        (["midtrans.payment.settled"], "midtrans.payment.settled", True),
        (["midtrans.payment.settled"], "midtrans.payment.s*", False),
        (["a", "b.*"], "b.c*", True),
        ([], "a", False),
    ],
)
def test_what_covers_what(known: list[str], pattern: str, covered: bool) -> None:
    assert covers(known, pattern) is covered


@given(st.lists(patterns, max_size=3), patterns, texts)
def test_whatever_a_covered_pattern_matches_is_matched(known: list[str], pattern: str, value: str) -> None:
    if covers(known, pattern) and matches([pattern], value):
        assert matches(known, value)
