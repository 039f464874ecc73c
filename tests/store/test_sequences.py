"""Whole numbers in any order come back, all of them or a part."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from edge.store.sequences import RUN, Reader, Writer, read, write

NUMBERS = st.one_of(
    st.lists(st.integers(-(2**63), 2**64 - 1), max_size=40),
    st.lists(st.integers(-50, 300), max_size=40),
    st.lists(st.integers(-(2**66), 2**66), max_size=9),
    st.tuples(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(1, 40)).map(lambda t: t[0] * t[1]),
)


@given(NUMBERS, st.integers(0, 1200), st.integers(0, 1200))
def test_any_numbers_come_back_all_or_a_part(numbers: list[int], begin: int, end: int) -> None:
    out = Writer()
    write(out, numbers)
    out.blob(b"next")
    data = Reader(bytes(out.data))
    part = read(data, len(numbers))
    assert data.blob() == b"next"
    assert list(part(0, len(numbers))) == numbers
    begin, end = sorted((min(begin, len(numbers)), min(end, len(numbers))))
    assert list(part(begin, end)) == numbers[begin:end]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=600), st.integers(0, 600), st.integers(0, 600))
def test_bit_patterns_come_back_all_or_a_part(patterns: list[int], begin: int, end: int) -> None:
    out = Writer()
    write(out, patterns, bits=True)
    part = read(Reader(bytes(out.data)), len(patterns))
    assert list(part(0, len(patterns))) == patterns
    begin, end = sorted((min(begin, len(patterns)), min(end, len(patterns))))
    assert list(part(begin, end)) == patterns[begin:end]


@pytest.mark.parametrize(
    ("numbers", "most"),
    [
        ([7] * 5000, 16),
        (list(range(10**18, 10**18 + 5 * 10**12, 10**9)), 200),
        ([10**18 + n * n * 1000 for n in range(5000)], 500),
    ],
)
def test_a_regular_sequence_takes_next_to_nothing_but_what_is_kept_in_full(numbers: list[int], most: int) -> None:
    out = Writer()
    write(out, numbers)
    assert len(numbers) // RUN > 5
    assert len(zstandard.compress(bytes(out.data))) <= most


@given(st.integers(-(2**70), 2**70))
def test_a_number_of_any_size_comes_back(number: int) -> None:
    out = Writer()
    out.number(number)
    assert Reader(bytes(out.data)).number() == number
