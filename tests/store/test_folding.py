"""Steps told by summaries, by halves of stretches and by readings say the same as the readings one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.point import Value
from edge.store.chunks import FRAME, Chunk, PackedRow, pack
from edge.store.frames import Frame
from edge.store.packing import GOOD
from edge.store.span import thin
from edge.store.steps import AGGREGATES, HOLD_NS, Aggregate, Reading, Steps, rise
from edge.store.stretches import area, climb

S = 10**9
START = 1_767_225_600 * S
COUNT = 6_000
KINDS: dict[str, Callable[[int, random.Random], Value]] = {
    "level": lambda n, chance: round(50 + chance.gauss(0, 2), 1),
    "around zero": lambda n, chance: round(chance.gauss(0, 1), 2),
    "zero": lambda n, chance: 0.0,
    "integers": lambda n, chance: chance.randrange(-500, 500),
    "counter": lambda n, chance: n * 3 % 5_000,
    "counter of decimals": lambda n, chance: round(n * 0.1 % 333, 1),
    "falls below zero": lambda n, chance: round(n * 0.5 % 100 - 50, 1),
    "mostly still": lambda n, chance: n // 1_000,
    "spikes": lambda n, chance: 1e15 if n % 301 == 0 else round(chance.gauss(1, 0.1), 3),
    "no decimals": lambda n, chance: chance.random(),
}
SHAPES = ("each second", "late", "silences", "bad now and then", "not in every row", "before 1970")


def row(n: int, value: Value, time_ns: int, shape: str) -> PackedRow:
    """One reading, number 1, in a shape; beside another that other rows lack."""
    mark = "bad/comm" if shape == "bad now and then" and n % 700 == 9 else GOOD
    if shape == "not in every row" and n % 3 == 0:
        return PackedRow(time_ns, (2, 1), (1, value), None, None)
    return PackedRow(time_ns, (1,), (value,), None if mark == GOOD else (mark,), None)


@cache
def readings(kind: str, shape: str) -> tuple[list[Reading], Frame, tuple[bytes | None, bytes]]:
    """A series, and what it is packed to."""
    chance = random.Random(f"{kind} {shape}")
    rows, time_ns = [], -3_600 * S if shape == "before 1970" else START
    for n in range(COUNT):
        time_ns += S if shape != "late" else chance.randrange(2 * S)
        if shape == "silences" and n % 1_100 == 500:
            time_ns += chance.choice((299, 301, 2_000)) * S
        rows.append(row(n, KINDS[kind](n, chance), time_ns, shape))
        if shape == "not in every row" and n % 2:
            rows.append(PackedRow(time_ns + 1, (2,), (1,), None, None))
    told = [(r.time_ns, r.values[r.series.index(1)], (r.marks or (GOOD,))[0]) for r in rows if 1 in r.series]
    frame, *chunks = (each for each in pack(rows) if each)
    assert frame.series == FRAME
    (chunk,) = (each for each in chunks if each.series == 1)
    return told, Frame.unpack(frame.body), (chunk.summary, chunk.body)


@settings(max_examples=150)  # each series is made once
@given(
    st.sampled_from(sorted(KINDS)), st.sampled_from(SHAPES), st.sampled_from(AGGREGATES),
    st.integers(1, 4_000), st.integers(-500, 3_000), st.integers(1, 7_000),
)  # fmt: skip
def test_steps_of_any_length_over_any_span_are_those_of_the_readings(
    kind: str, shape: str, aggregate: Aggregate, every_s: int, skip_s: int, for_s: int
) -> None:
    told, frame, packed = readings(kind, shape)
    assert packed[0] is not None
    begin = told[0][0] + skip_s * S + 7
    end = begin + for_s * S
    steps = Steps(every_s * S, 10_000, aggregate, begin, end)
    Chunk(1, lambda: frame, *packed).fold(steps, begin, end)
    found = steps.results()
    since = begin - HOLD_NS if steps.ordered else begin
    expected = thin([each for each in told if since <= each[0] < end], every_s * S, 10_000, aggregate, begin, end)
    assert [(at, mark) for at, _, mark in found] == [(at, mark) for at, _, mark in expected]
    if aggregate in ("min", "max", "last", "count"):
        assert [repr(each[1]) for each in found] == [repr(each[1]) for each in expected]
    else:
        for (_, one, _), (_, other, _) in zip(found, expected, strict=True):
            assert one == (pytest.approx(other, rel=1e-9, abs=1e-9) if isinstance(other, float) else other)


def test_of_a_stretch_that_is_cut_in_two_the_shorter_side_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    _, frame, (summary, body) = readings("level", "each second")
    chunk = Chunk(1, lambda: frame, summary, body)
    opened, decoded = chunk._open(), 0

    def values(begin: int, end: int) -> Sequence[Any]:
        nonlocal decoded
        decoded += end - begin
        return opened.values(begin, end)

    monkeypatch.setattr(chunk, "_opened", opened._replace(values=values))
    every = 1_234 * S
    steps = Steps(every, 10_000, "mean", START, START + 7_000 * S)
    chunk.fold(steps, START, START + 7_000 * S)
    assert len(steps.results()) == 6
    assert 0 < decoded <= 5 * 150


@given(st.lists(st.integers(-9, 9), min_size=1))
def test_a_climb_is_the_sum_of_all_rises(values: list[int]) -> None:
    assert climb(values) == sum(rise(before, value) for before, value in pairwise(values))


def test_a_counter_that_begins_again_from_far_up_loses_no_digits() -> None:
    assert climb([1e15, 0.25, 0.75, 1e15, 0.5]) == 0.25 + 0.5 + 1e15 - 0.75 + 0.5


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(-99, 99)), min_size=1))
def test_an_area_weighs_each_value_by_the_time_until_the_next(pairs: list[tuple[int, int]]) -> None:
    times = sorted(time_ns for time_ns, _ in pairs)
    values = [value for _, value in pairs]
    assert area(times, values) == sum(v * (b - a) for v, (a, b) in zip(values, pairwise(times), strict=False))


def test_a_full_answer_reads_no_further() -> None:
    _, frame, (summary, body) = readings("level", "each second")
    chunk = Chunk(1, lambda: frame, summary, body)
    steps = Steps(600 * S, 2, "twa", START, START + 7_000 * S)
    chunk.fold(steps, START, START + 7_000 * S)
    assert len(steps.results()) == 2
    assert steps.full
