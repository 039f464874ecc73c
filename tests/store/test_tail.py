"""The newest rows in memory: what lies after a number is the same from whichever end it is looked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.store.readings_file import Row
from edge.store.tail import KEPT_ROWS, ROW_COST, Tail


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


@given(st.lists(st.integers(1, 8), max_size=8), st.integers(0, 3))
def test_what_is_not_committed_is_what_came_after_the_last_commit(parts: list[int], left: int) -> None:
    tail, seq = Tail(1_000_000), 0
    for part in parts:
        for seq in range(seq + 1, seq + part + 1):  # noqa: B020  # goes on counting
            tail.append(row(seq))
        committed = max(tail.committed, seq - left)
        tail.commit(committed)
        assert [each.seq for each in tail.uncommitted()] == list(range(committed + 1, seq + 1))
        assert tail.waiting() == seq - committed
        assert tail.weight == (seq - committed) * (1 + ROW_COST)


def test_of_what_is_committed_the_newest_stay() -> None:
    tail = Tail(1_000_000)
    for number in range(1, KEPT_ROWS + 101):
        tail.append(row(number))
    tail.commit(30)
    assert tail.oldest == 31
    tail.commit(KEPT_ROWS + 100)
    assert tail.oldest == 101
    assert tail.uncommitted() == []


def test_rows_that_had_to_go_before_they_were_committed_do_not_disturb_the_commit() -> None:
    tail = Tail(10 * (1 + ROW_COST))
    for number in range(1, 16):
        tail.append(row(number))
    tail.commit(2)  # what was on its way to the disk while those rows went
    assert (tail.lost, tail.oldest) == (5, 6)
    assert [each.seq for each in tail.uncommitted()] == list(range(6, 16))
    tail.commit(15)
    assert (tail.waiting(), tail.weight) == (0, 0)
