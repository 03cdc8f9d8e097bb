"""What is kept small comes back to the byte, and what was damaged never comes back as something else."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.db.packing import ANSWER, DICTIONARIES, pack, unpack

PAYLOADS = Path(__file__).parents[3] / "payloads"
BODIES = [
    json.dumps(step["body"], separators=(",", ":")).encode()
    for path in sorted(PAYLOADS.glob("*.json"))
    for story in json.loads(path.read_text())["stories"]
    for step in story["steps"]
]
CONTENTS = (
    st.binary(max_size=300) | st.text(max_size=300).map(str.encode) | st.sampled_from(BODIES)
)  # and all of them below


@pytest.mark.parametrize("dictionary", DICTIONARIES)
@given(content=CONTENTS)
def test_anything_comes_back_to_the_byte(dictionary: int, content: bytes) -> None:
    packed = pack(content, dictionary)
    assert unpack(packed) == content
    assert len(packed) <= len(content) + 1


@pytest.mark.parametrize("dictionary", DICTIONARIES)
def test_every_payload_comes_back_to_the_byte(dictionary: int) -> None:
    assert len(BODIES) > 200
    assert [unpack(pack(body, dictionary)) for body in BODIES] == BODIES


def test_an_answer_of_any_payment_type_takes_less_than_half() -> None:
    assert [body for body in BODIES if len(pack(body, ANSWER)) > len(body) / 2] == []


def test_what_is_longer_than_the_window_comes_back() -> None:
    content = b"".join(BODIES)
    assert len(content) > 100_000
    assert unpack(pack(content, ANSWER)) == content


@given(body=st.sampled_from(BODIES), data=st.data())
def test_damage_is_told(body: bytes, data: st.DataObject) -> None:
    packed = bytearray(pack(body, ANSWER))
    bit = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[bit // 8] ^= 1 << bit % 8
    try:
        found = unpack(bytes(packed))
    except ValueError:
        return
    assert found == body or bit < 8, "only how it is kept could be read otherwise"


@given(body=st.sampled_from(BODIES), cut=st.integers(0, 80))
def test_what_was_cut_or_lengthened_is_told(body: bytes, cut: int) -> None:
    packed = pack(body, ANSWER)
    for wrong in (packed[:cut], packed + b"x"):
        with pytest.raises(ValueError, match="kept"):
            unpack(wrong)


def test_a_later_version_s_rows_are_told() -> None:
    with pytest.raises(ValueError, match="dictionary 255"):
        unpack(b"\xff" + pack(BODIES[0], ANSWER)[1:])


def test_dictionaries_never_change() -> None:
    """Rows that were written with one need it: a better one gets a number of its own, and a line here."""
    digests = {number: hashlib.sha256(text).hexdigest()[:16] for number, text in DICTIONARIES.items()}
    assert digests == {1: "664769312cf75358", 2: "75ff6c016ee79d30", 3: "1985d37aa1a2f704"}
