"""The newest rows in memory: what lies after a number is the same from whichever end it is looked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.store.readings_file import Row
from edge.store.tail import Tail


def row(seq: int) -> Row:
    return Row(seq, seq, "pump-1", ("pressure",), (1.0,), None, None)


@given(st.integers(1, 60), st.integers(0, 40), st.integers(0, 110), st.integers(0, 110), st.integers(0, 50))
def test_rows_after_a_number_are_those_above_it_up_to_what_may_be_read_and_no_more_than_asked_for(
    first: int, count: int, seq: int, upto: int, limit: int
) -> None:
    tail = Tail(1_000_000)
    for number in range(first, first + count):
        tail.append(row(number))
    wanted = [number for number in range(first, first + count) if seq < number <= upto][:limit]
    assert [each.seq for each in tail.after(seq, upto, limit)] == wanted
