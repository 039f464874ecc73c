"""Readings over time, thinned."""

from __future__ import annotations

from edge.store.packing import GOOD
from edge.store.span import thin


def test_without_a_step_the_first_readings_come_in_order_of_time() -> None:
    assert thin([(2, 5, GOOD), (1, 4, GOOD), (3, 6, GOOD)], None, 2) == [(1, 4, GOOD), (2, 5, GOOD)]


def test_a_step_has_the_mean_of_its_good_numbers() -> None:
    readings = [(10, 1.0, GOOD), (12, 2.0, GOOD), (14, 99.0, "uncertain/stale"), (20, 7, GOOD)]
    assert thin(readings, 10, 100) == [(10, 1.5, GOOD), (20, 7.0, GOOD)]


def test_a_step_without_good_numbers_has_its_last_value_and_quality() -> None:
    readings = [(10, True, GOOD), (19, False, GOOD), (20, None, "bad/comm"), (31, "up", GOOD)]
    assert thin(readings, 10, 100) == [(10, False, GOOD), (20, None, "bad/comm"), (30, "up", GOOD)]


def test_no_more_steps_come_than_asked_for() -> None:
    assert thin([(n, n, GOOD) for n in range(100)], 10, 3) == [(0, 4.5, GOOD), (10, 14.5, GOOD), (20, 24.5, GOOD)]
