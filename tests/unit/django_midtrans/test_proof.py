from decimal import Decimal
from typing import Any

import pytest

from django_midtrans.facts import PaymentFacts, read_facts
from django_midtrans.proof import Disproof, Pair, Proof, prove, prove_by_answer
from django_midtrans.signature import expected_signature

KEY = "SB-Mid-server-proof"


def answer(order_id: str = "A-1", transaction_id: str = "tx-1", **fields: Any) -> PaymentFacts:
    body = {
        "order_id": order_id,
        "transaction_id": transaction_id,
        "transaction_status": "settlement",
        "status_code": "200",
        "gross_amount": "10000.00",
        **fields,
    }
    body.setdefault("signature_key", expected_signature(order_id, "200", "10000.00", KEY))
    return read_facts(body)


def pair(**facts: Any) -> Pair:
    return Pair(**{"order_id": "A-1", "transaction_id": "tx-1", "amount": Decimal("10000.00"), **facts})


SWAPPED = answer(order_id="tx-1")
"""As DANA answers: the transaction_id stands in the place of the order_id."""


def test_the_answer_that_names_the_order_proves_it() -> None:
    assert prove_by_answer(pair(), answer(), [KEY]) is Proof.NAMED


def test_a_binding_proves_its_own_order_and_disproves_every_other() -> None:
    assert prove_by_answer(pair(bound_to="A-1"), SWAPPED, [KEY]) is Proof.BOUND
    assert prove_by_answer(pair(bound_to="B-2"), answer(), [KEY]) is Disproof.BOUND_ELSEWHERE


@pytest.mark.parametrize("facts", [{"expected_transaction": "tx-1"}, {"expected_order": "A-1"}])
def test_an_expectation_of_the_pair_proves_it(facts: dict[str, str]) -> None:
    assert prove_by_answer(pair(**facts), SWAPPED, [KEY]) is Proof.EXPECTED


def test_an_answer_signed_for_the_notified_order_proves_it() -> None:
    signed = answer(order_id="tx-1", signature_key=expected_signature("A-1", "200", "10000.00", KEY))
    assert prove_by_answer(pair(), signed, ["other", KEY]) is Proof.SIGNED
    assert prove_by_answer(pair(), signed, ["other"]) is None


def test_without_any_of_these_the_order_has_to_be_asked_about_too() -> None:
    assert prove_by_answer(pair(), SWAPPED, [KEY]) is None
    assert prove_by_answer(pair(), answer(order_id="B-2"), [KEY]) is None


def test_the_orders_answer_proves_the_transaction_it_names() -> None:
    assert prove(pair(), SWAPPED, answer(), [KEY]) is Proof.BY_ORDER
    assert prove(pair(), SWAPPED, answer(transaction_id="tx-2"), [KEY]) is Disproof.OTHER_ORDER


def test_alone_needs_an_answer_that_names_itself_an_unknown_order_and_equal_amounts() -> None:
    assert prove(pair(), SWAPPED, None, [KEY]) is Proof.ALONE
    assert prove(pair(), answer(order_id="B-2"), None, [KEY]) is Disproof.OTHER_ORDER
    assert prove(pair(amount=Decimal("10000.01")), SWAPPED, None, [KEY]) is Disproof.OTHER_ORDER
    assert prove(pair(amount=None), SWAPPED, None, [KEY]) is Disproof.OTHER_ORDER
    no_amount = answer(order_id="tx-1", gross_amount=None)
    assert prove(pair(amount=None), no_amount, None, [KEY]) is Disproof.OTHER_ORDER


def test_alone_gives_way_to_an_expectation_of_another_order_and_to_an_earlier_claim() -> None:
    assert prove(pair(expected_order="B-2"), SWAPPED, None, [KEY]) is Disproof.OTHER_ORDER
    assert prove(pair(rivals=("B-2",)), SWAPPED, None, [KEY]) is Disproof.RIVAL_CLAIM


def test_another_merchant_id_disproves_whatever_else_holds() -> None:
    theirs = answer(merchant_id="G2")
    assert prove_by_answer(pair(merchant_ids=("G1",)), theirs, [KEY]) is Disproof.OTHER_MERCHANT
    assert prove_by_answer(pair(merchant_ids=("G2",)), theirs, [KEY]) is Proof.NAMED
    assert prove_by_answer(pair(merchant_ids=()), theirs, [KEY]) is Proof.NAMED
    assert prove_by_answer(pair(merchant_ids=("G1",)), answer(), [KEY]) is Proof.NAMED
