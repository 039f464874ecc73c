"""What an equipment sent in a period comes back exactly from its chunks, and folds as the readings themselves do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Value
from edge.store.chunks import FRAME, Chunk, PackedRow, pack
from edge.store.frames import Frame
from edge.store.packing import GOOD, clean
from edge.store.span import thin
from edge.store.steps import AGGREGATES, HOLD_NS, IN_ORDER, Aggregate, Reading, Steps

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=4), st.integers(0, 5), st.integers(0, 99).map(lambda n: n / 10),
)  # fmt: skip
MARKS = st.sampled_from(["good", "good", "bad/comm", "uncertain/clock"])


def row(time_ns: int, mask: int, values: tuple[Value, ...], marks: tuple[str, ...] | None, source: int) -> PackedRow:
    """A row with the points of a mask."""
    places = [place for place in range(4) if mask >> place & 1]
    kept, told = clean([values[n] for n in places], marks and [marks[n] for n in places])
    return PackedRow(time_ns, tuple(n + 1 for n in places), kept, told, source if source % 2 else None)


NS = st.one_of(st.integers(0, 9), st.integers(-(2**63), 2**63 - 1))
ROWS = st.lists(
    st.builds(
        row, NS, st.integers(1, 15), st.tuples(VALUES, VALUES, VALUES, VALUES),
        st.none() | st.tuples(MARKS, MARKS, MARKS, MARKS), NS,
    ),
    min_size=1, max_size=12,
)  # fmt: skip


def readings_of(number: int, found: Sequence[PackedRow]) -> list[Reading]:
    told: list[Reading] = []
    for row in sorted(found, key=lambda row: row.time_ns):
        if number in row.series:
            place = row.series.index(number)
            told.append((row.time_ns, row.values[place], row.marks[place] if row.marks else GOOD))
    return told


@given(ROWS)
def test_any_rows_come_back_in_order_of_time_with_types_qualities_and_stamps(given: list[PackedRow]) -> None:
    frame, chunks = packed(given)
    assert chunks.keys() == {number for row in given for number in row.series}
    for number in chunks:
        assert list(map(repr, Chunk(number, Frame.later(frame), *chunks[number]).readings())) == list(
            map(repr, readings_of(number, given))
        )
    in_order = sorted(given, key=lambda row: row.time_ns)
    unpacked = Frame.unpack(frame)
    assert list(unpacked.times()) == [row.time_ns for row in in_order]
    assert unpacked.sources() == [row.source_ns for row in in_order]


S = 10**9
START = 1_767_225_600 * S


def series(kind: str, count: int = 4000, step_s: float = 1) -> list[PackedRow]:
    """One point, number 1, beside another that is not in every row."""
    chance = random.Random(7)
    found = []
    for n in range(count):
        value: Value = {"int": n * 3 % 50, "real": round(20 + chance.gauss(0, 1), 1), "counter": n // 7 % 400}[kind]
        marks = None if n % 1000 else ("bad/comm",) * (1 + n % 2)
        numbers = (1, 2) if n % 2 else (1,)
        time_ns = START + round((n * step_s + chance.random() * 0.01) * S) + (3000 * S if n > count // 2 else 0)
        found.append(PackedRow(time_ns, numbers, (value, 1.5)[: len(numbers)], marks and marks[: len(numbers)], None))
    return found


def packed(given: Sequence[PackedRow]) -> tuple[bytes, dict[int, tuple[bytes | None, bytes]]]:
    first, *rest = (each for each in pack(list(given)) if each)
    assert first.series == FRAME
    return first.body, {each.series: (each.summary, each.body) for each in rest}


@cache
def packed_series(kind: str) -> tuple[bytes, dict[int, tuple[bytes | None, bytes]]]:
    return packed(series(kind))


def folded(kind: str, every: int, aggregate: Aggregate, begin: int, end: int) -> list[Reading]:
    frame, chunks = packed_series(kind)
    steps = Steps(every, 10_000, aggregate, begin, end)
    Chunk(1, Frame.later(frame), *chunks[1]).fold(steps, begin, end)
    return steps.results()


@pytest.mark.parametrize("kind", ["int", "real", "counter"])
@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("every_s", [7, 100, 1234, 86_400])
def test_steps_from_summaries_are_those_from_the_readings(kind: str, aggregate: Aggregate, every_s: int) -> None:
    given = series(kind)
    assert packed_series(kind)[1][1][0] is not None
    begin, end = START + 333 * S, START + 6_500 * S
    found = folded(kind, every_s * S, aggregate, begin, end)
    inside = [each for each in readings_of(1, given) if each[0] < end and (aggregate in IN_ORDER or each[0] >= begin)]
    expected = thin(inside, every_s * S, 10_000, aggregate, begin, end, HOLD_NS)
    assert [(time_ns, mark) for time_ns, _, mark in found] == [(time_ns, mark) for time_ns, _, mark in expected]
    assert [each[1] for each in found] == pytest.approx([each[1] for each in expected])
    if aggregate in ("min", "max", "last", "count"):
        assert [repr(each[1]) for each in found] == [repr(each[1]) for each in expected]


def test_a_chunk_of_few_readings_and_one_of_texts_have_no_summary() -> None:
    assert packed(series("int", 100))[1][1][0] is None
    texts = [PackedRow(START + n, (1,), ("up",), None, None) for n in range(1000)]
    assert packed(texts)[1][1][0] is None


def test_a_day_of_a_point_each_second_takes_little_more_than_its_noise() -> None:
    chance = random.Random(2)
    rows = [PackedRow(START + n * S, (1,), (round(chance.uniform(0, 25.5), 1),), None, None) for n in range(86_400)]
    size = sum(len(each.body) + len(each.summary or b"") for each in pack(rows) if each)
    assert size < 86_400 * 1.25  # a byte of noise, and the summaries
