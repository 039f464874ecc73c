"""Values and qualities of a point come back exactly, whatever their type."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Quality, Value
from edge.store import columns
from edge.store.columns import read_marks, read_values, write_marks, write_values
from edge.store.packing import clean
from edge.store.sequences import Reader, Writer

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
DECIMALS = st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 6)).map(lambda t: t[0] / 10 ** t[1])
DECIMALS32 = DECIMALS.map(lambda value: struct.unpack("f", struct.pack("f", value))[0])
SCALED = SINGLES.filter(lambda value: abs(value) < 1e30).map(lambda value: value * 0.001)
TEXTS = st.text(max_size=8)
COLUMNS = st.one_of(
    *(
        st.one_of(st.lists(each, max_size=50), st.lists(st.one_of(each, st.none()), max_size=50))
        for each in (st.booleans(), st.integers(-(2**63), 2**64 - 1), st.integers(-9, 9), FLOATS, SINGLES, DECIMALS,
                     DECIMALS32, SCALED, TEXTS, st.one_of(st.booleans(), st.integers(-5, 5), FLOATS, TEXTS))
    ),
)  # fmt: skip


def back(values: list[Value] | tuple[Value, ...]) -> tuple[int, list[Value]]:
    out = Writer()
    kind = write_values(out, values)
    out.blob(b"next")
    data = Reader(bytes(out.data))
    found, part = read_values(data, len(values))
    assert data.blob() == b"next"
    assert found == kind
    middle = len(values) // 2
    assert [*part(0, middle), *part(middle, len(values))] == list(part(0, len(values)))
    return kind, list(part(0, len(values)))


@given(COLUMNS)
def test_any_column_comes_back_with_types_and_signs(values: list[Value]) -> None:
    kept, _ = clean(values, None)
    found = back(kept)[1]
    assert list(map(repr, found)) == list(map(repr, kept))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None] * 3, columns.EMPTY),
        ([True, False] * 5, columns.BITS),
        ([5, -7, 2**64 - 1], columns.INTEGERS),
        ([21.5, 21.6, -0.1, 19.0], columns.DECIMALS),
        ([struct.unpack("f", struct.pack("f", each))[0] for each in (231.4, 231.5, 229.9)], columns.DECIMALS32),
        ([struct.unpack("f", struct.pack("f", each / 7))[0] for each in range(1, 9)], columns.FLOATS32),
        ([each / 7 for each in range(1, 9)], columns.FLOATS64),
        ([struct.unpack("f", struct.pack("f", each * 7.7))[0] * 0.001 for each in range(1, 99)], columns.SCALED32),
        ([0.0, -0.0, 1.5], columns.FLOATS32),
        (["up", "down", "up"], columns.TEXTS),
        ([1, 1.0, True, "1"], columns.MIXED),
        ([21.5, None, 21.6], columns.DECIMALS + columns.HOLES),
    ],
)
def test_each_kind_of_column_is_known_and_kept_the_short_way(values: list[Value], kind: int) -> None:
    found, again = back(values)
    assert found == kind
    assert list(map(repr, again)) == list(map(repr, values))


def test_ten_thousand_readings_of_a_noisy_decimal_take_about_a_byte_each() -> None:
    out = Writer()
    write_values(out, [22 + (n * 7919 % 100) / 10 for n in range(10_000)])
    assert len(out.data) < 10_200


@given(st.lists(st.sampled_from([quality.value for quality in Quality]), max_size=300))
def test_qualities_come_back(marks: list[str]) -> None:
    out = Writer()
    good = write_marks(out, marks)
    part = read_marks(Reader(bytes(out.data)))
    assert good == (part is None)
    if part is not None:
        assert [*part(0, 7), *part(7, len(marks))] == marks
    else:
        assert set(marks) <= {"good"}
