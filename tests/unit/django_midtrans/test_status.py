"""Every word and every ordered pair of statuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from django_midtrans.status import (
    AFTER_SETTLEMENT,
    ANY_FRAUD_STATUS,
    OUTCOME_OF,
    REACHABLE,
    STATUS_OF,
    STEPS,
    Outcome,
    PaymentStatus,
    Relation,
    read_status,
    relation,
)

ORDER = (
    "pending",
    "challenged",
    "authorized",
    "captured",
    "settled",
    "partially_refunded",
    "refunded",
    "partially_charged_back",
    "charged_back",
    "reversed",
    "denied",
    "cancelled",
    "expired",
    "failed",
)
LETTER = {"N": Relation.NEXT, "=": Relation.SAME, "B": Relation.BEHIND, "x": Relation.CONTRADICTION}
# known, then the relation of each status of ORDER seen after it
MATRIX = """
pending                 =NNNNNNNNNNNNN
challenged              B=NNNNNNNNNNNx
authorized              BB=NNNNNNNNNNx
captured                BBB=NNNNNNxNxx
settled                 BBBB=NNNNNxxxx
partially_refunded      BBBBB=Nxxxxxxx
refunded                BBBBBB=xxxxxxx
partially_charged_back  BBBBBxx=Nxxxxx
charged_back            BBBBBxxB=xxxxx
reversed                BBBBBxxxx=xxxx
denied                  BBBxxxxxxx=xxx
cancelled               BBBBxxxxxxx=xx
expired                 BBBxxxxxxxxx=x
failed                  Bxxxxxxxxxxxx=
"""
PAIRS = [
    pytest.param(PaymentStatus(known), PaymentStatus(seen), LETTER[letter], id=f"{known}-{seen}")
    for known, row in (line.split() for line in MATRIX.strip().splitlines())
    for seen, letter in zip(ORDER, row, strict=True)
]


def test_the_matrix_names_every_ordered_pair() -> None:
    assert len(PAIRS) == len(PaymentStatus) ** 2 == 196


@pytest.mark.parametrize(("known", "seen", "expected"), PAIRS)
def test_every_pair_has_the_relation_of_the_reviewed_matrix(
    known: PaymentStatus, seen: PaymentStatus, expected: Relation
) -> None:
    assert relation(known, seen) is expected


def test_next_and_behind_mirror_each_other() -> None:
    mirrored = {Relation.NEXT: Relation.BEHIND, Relation.BEHIND: Relation.NEXT}
    for known in PaymentStatus:
        for seen in PaymentStatus:
            there = relation(known, seen)
            assert relation(seen, known) is mirrored.get(there, there)


def test_no_status_leads_back_to_itself() -> None:
    """With a cycle, an old answer would be next and undo a newer one."""
    assert not [status for status in PaymentStatus if status in REACHABLE[status]]


def test_tables_cover_every_status() -> None:
    assert set(STEPS) == set(OUTCOME_OF) == set(REACHABLE) == set(PaymentStatus)
    assert set(STATUS_OF.values()) == set(PaymentStatus) - {PaymentStatus.REVERSED}


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.OPEN, {"pending", "authorized", "challenged"}),
        (Outcome.PAID, {"captured", "settled", "partially_refunded", "partially_charged_back"}),
        (Outcome.UNPAID, {"denied", "cancelled", "expired", "failed"}),
        (Outcome.RETURNED, {"refunded", "charged_back", "reversed"}),
    ],
)
def test_outcomes(outcome: Outcome, statuses: set[str]) -> None:
    assert {status.value for status, of in OUTCOME_OF.items() if of is outcome} == statuses


def test_what_comes_after_settlement() -> None:
    assert {status.value for status in AFTER_SETTLEMENT} == {
        "settled",
        "partially_refunded",
        "refunded",
        "partially_charged_back",
        "charged_back",
        "reversed",
    }


WORDS = [
    ("pending", None, "pending"),
    ("pending", "challenge", "pending"),
    ("PENDING", "accept", "pending"),
    ("authorize", None, "authorized"),
    ("authorize", "accept", "authorized"),
    ("authorize", "challenge", "challenged"),
    ("authorize", "deny", "denied"),
    ("capture", None, "captured"),
    ("capture", "", "captured"),
    ("capture", "ACCEPT", "captured"),
    ("capture", "challenge", "challenged"),
    ("capture", "denied", "denied"),
    ("settlement", None, "settled"),
    ("Settlement", "Accept", "settled"),
    ("settlement", "challenge", "challenged"),
    ("settlement", "deny", "denied"),
    ("deny", None, "denied"),
    ("deny", "accept", "denied"),
    ("deny", "what", "denied"),
    ("cancel", "accept", "cancelled"),
    ("expire", None, "expired"),
    ("failure", None, "failed"),
    ("refund", "accept", "refunded"),
    ("partial_refund", "accept", "partially_refunded"),
    ("chargeback", None, "charged_back"),
    ("partial_chargeback", None, "partially_charged_back"),
]


@pytest.mark.parametrize(("word", "fraud", "expected"), WORDS)
def test_midtrans_words_are_read(word: str, fraud: str | None, expected: str) -> None:
    assert read_status(word, fraud) is PaymentStatus(expected)


@pytest.mark.parametrize(
    ("word", "fraud"),
    [
        ("", None),
        ("settled", None),  # our word, not Midtrans'
        ("expired", None),
        ("settlement ", None),
        ("capture", "undecided"),
        ("settlement", ANY_FRAUD_STATUS),
        ("authorize", ANY_FRAUD_STATUS),
        ("escheat", "accept"),
    ],
)
def test_an_unknown_word_is_none_and_never_a_guess(word: str, fraud: str | None) -> None:
    assert read_status(word, fraud) is None


def run_generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parents[3] / "docs" / "generate.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )


def test_the_page_in_the_docs_is_what_the_table_says() -> None:
    checked = run_generate("--check")
    assert checked.returncode == 0, checked.stderr


def test_the_diagram_shows_every_documented_step_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "states.md").read_text()
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", page, re.MULTILINE))
    assert drawn == {(known.value, seen.value) for known, after in STEPS.items() for seen in after}
