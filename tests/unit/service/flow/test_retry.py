from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.domain.records import ReceiptState
from service.flow.retry import CUT, Left, cuts, sort_out

IDS = st.integers(0, 9).map(lambda number: UUID(int=number))
KNOWN = st.dictionaries(IDS, st.tuples(st.sampled_from(list(ReceiptState)), st.booleans()))


@given(st.lists(IDS), KNOWN)
def test_each_receipt_goes_once_or_is_left_with_its_reason(
    ids: list[UUID], known: dict[UUID, tuple[str, bool]]
) -> None:
    going, left = sort_out(ids, known)
    assert len(going) == len(set(going))
    assert set(going) | set(left) == set(ids)
    assert set(going).isdisjoint(left)
    for one in going:
        state, can_be_asked = known[one]
        assert can_be_asked
        assert state != ReceiptState.WAITING
    for one, why in left.items():
        assert (why is Left.UNKNOWN) == (one not in known)
        assert (why is Left.CANNOT_BE_ASKED) == (one in known and not known[one][1])


@given(st.integers(0, 5 * CUT))
def test_cuts_hold_everything_in_order_and_none_holds_the_writer_long(count: int) -> None:
    ids = [UUID(int=number) for number in range(count)]
    pieces = cuts(ids)
    assert [one for piece in pieces for one in piece] == ids
    assert all(0 < len(piece) <= CUT for piece in pieces)
