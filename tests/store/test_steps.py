"""Each aggregate says of a step what its definition says, one by one or from pieces."""

from __future__ import annotations

import pytest

from edge.store.packing import GOOD
from edge.store.span import thin
from edge.store.steps import Aggregate, Reading, Steps

HOLD = 1_000


def fold(
    aggregate: Aggregate, readings: list[Reading], every: int = 10, from_ns: int = 0, to_ns: int = 100
) -> list[Reading]:
    return thin(readings, every, 1000, aggregate, from_ns, to_ns, HOLD)


READINGS: list[Reading] = [
    (0, 4, GOOD), (2, 1.5, GOOD), (5, 9, GOOD), (6, 99, "bad/range"), (7, 3, GOOD), (8, None, "bad/sensor"),
    (30, True, GOOD), (33, "up", GOOD), (40, 5, "uncertain/stale"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("aggregate", "first", "switches", "doubtful"),
    [
        ("mean", (4.375, GOOD), ("up", GOOD), (5, "uncertain/stale")),
        ("min", (1.5, GOOD), ("up", GOOD), (5, "uncertain/stale")),
        ("max", (9, GOOD), ("up", GOOD), (5, "uncertain/stale")),
        ("last", (3, GOOD), ("up", GOOD), (5, "uncertain/stale")),
        ("count", (4, GOOD), (2, GOOD), (0, GOOD)),
        ("increase", (1.5 + 7.5 + 3, GOOD), (None, GOOD), (None, "uncertain/stale")),
    ],
)
def test_only_good_values_count_and_a_step_without_any_is_told_by_its_last(
    aggregate: Aggregate, first: object, switches: object, doubtful: object
) -> None:
    assert [(time_ns, (value, mark)) for time_ns, value, mark in fold(aggregate, READINGS)] == [
        (0, first), (30, switches), (40, doubtful)
    ]  # fmt: skip


def test_least_and_greatest_keep_their_type() -> None:
    assert [type(fold(kind, [(0, 4, GOOD), (1, 4.5, GOOD)])[0][1]) for kind in ("min", "max")] == [int, float]


def test_a_time_weighted_mean_weighs_each_value_by_the_time_for_which_it_held() -> None:
    assert fold("twa", [(0, 10, GOOD), (8, 0, GOOD), (10, 5, GOOD)], to_ns=20) == [(0, 8.0, GOOD), (10, 5.0, GOOD)]


def test_a_value_holds_on_into_steps_without_a_reading_and_from_before_the_span() -> None:
    held = fold("twa", [(3, 2, GOOD), (25, 4, GOOD)], from_ns=10, to_ns=30)
    assert held == [(10, 2.0, GOOD), (20, 3.0, GOOD)]


def test_a_switch_weighs_as_the_share_of_time_for_which_it_was_on() -> None:
    assert fold("twa", [(0, True, GOOD), (4, False, GOOD)], to_ns=10) == [(0, 0.4, GOOD)]


def test_a_gap_has_no_weight() -> None:
    readings: list[Reading] = [(0, 10, GOOD), (2, 77, "bad/comm"), (8, 20, GOOD)]
    assert fold("twa", readings, to_ns=10) == [(0, 15.0, GOOD)]  # 2 ns of 10, 2 ns of 20
    silent = thin([(0, 10, GOOD), (90, 4, GOOD)], 10, 100, "twa", 0, 100, hold_ns=15)
    assert silent == [(0, 10.0, GOOD), (10, 10.0, GOOD), (90, 4.0, GOOD)]


def test_a_counter_that_falls_has_begun_again_at_zero() -> None:
    readings: list[Reading] = [(1, 100, GOOD), (5, 130, GOOD), (12, 7, GOOD), (15, 9, GOOD), (31, 9, GOOD)]
    assert fold("increase", readings) == [(0, 30.0, GOOD), (10, 9.0, GOOD), (30, 0.0, GOOD)]


def test_an_increase_over_a_gap_counts_where_the_next_good_number_lies() -> None:
    readings: list[Reading] = [(1, 100, GOOD), (12, None, "bad/comm"), (25, 140, GOOD)]
    assert fold("increase", readings) == [(0, 0.0, GOOD), (10, None, "bad/comm"), (20, 40.0, GOOD)]


def test_the_counter_before_the_span_is_known() -> None:
    assert fold("increase", [(1, 100, GOOD), (12, 103, GOOD)], from_ns=10) == [(10, 3.0, GOOD)]


@pytest.mark.parametrize("aggregate", ["twa", "increase"])
def test_readings_that_come_out_of_order_are_put_in_order(aggregate: Aggregate) -> None:
    readings: list[Reading] = [(25, 8, GOOD), (1, 2, GOOD), (12, 3, GOOD)]
    assert fold(aggregate, readings, to_ns=30) == fold(aggregate, sorted(readings), to_ns=30)


def test_no_more_steps_than_asked_for_are_made() -> None:
    steps = Steps(10, 2, "twa", 0, 1_000, HOLD)
    for n in range(5):
        steps.add(n * 10, n, GOOD)
    assert steps.full
    assert steps.results() == [(0, 0.0, GOOD), (10, 1.0, GOOD)]


@pytest.mark.parametrize("aggregate", ["mean", "twa", "increase"])
def test_a_sum_that_no_number_holds_is_told_as_out_of_range(aggregate: Aggregate) -> None:
    readings: list[Reading] = [(n, 1.0 if n % 2 else 1.7e308, GOOD) for n in range(5)]
    assert fold(aggregate, readings, to_ns=10) == [(0, None, "bad/range")]
