"""What readings add to meters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Value
from edge.upkeep.counting import Meter, build
from tests.upkeep.scene import meters

HOURS = "m: {unit: h, hours_while: running}"
LAMP = "m: {unit: h, hours_while: lamp}"
STARTS = "m: {count: running}"
COUNTER = "m: {unit: h, counter: hours}"


def meter(text: str, offset: float | None = None) -> Meter:
    (spec,), document = meters(text, None if offset is None else {"m": offset})
    assert not document.faults
    return build(spec)


def taking(made: Meter, *readings: tuple[float, Value]) -> float | None:
    for mono_s, value in readings:
        made.take(value, mono_s)
    return made.value


def hours(made: Meter, *readings: tuple[float, Value]) -> float:
    value = taking(made, *readings)
    assert value is not None
    return value * 3600


# ---- hours ---------------------------------------------------------------------------------------------


def test_run_time_is_the_time_for_which_it_is_true() -> None:
    assert hours(meter(HOURS), (0, False), (10, True), (30, True), (45, False), (50, False)) == pytest.approx(35)


def test_run_time_goes_on_from_what_was_read_on_commissioning() -> None:
    assert taking(meter(HOURS, 1999.9), (0, True), (36, True)) == pytest.approx(1999.91)


def test_time_that_cannot_be_trusted_is_not_run_time() -> None:
    assert hours(meter(HOURS), (0, True), (10, None), (20, True), (25, True)) == pytest.approx(5)


def test_a_long_gap_is_not_run_time() -> None:
    assert hours(meter(HOURS), (0, True), (61, True), (71, True)) == pytest.approx(10)


def test_a_slowly_polled_point_may_be_three_periods_apart() -> None:
    (spec,), _ = meters(HOURS)
    made = build(spec)
    made._gap_s = 3 * 300.0  # type: ignore[attr-defined]  # as for a period of 5 min
    assert hours(made, (0, True), (600, True), (1600, True)) == pytest.approx(600)


def test_a_lamp_that_reports_only_changes_burns_until_it_says_otherwise() -> None:
    made = meter(LAMP)
    made.take(True, 0)
    made.tick(3600)
    assert made.value == pytest.approx(1)
    assert taking(made, (43_200, False)) == pytest.approx(12)
    made.tick(50_000)
    assert made.value == pytest.approx(12)


def test_a_lamp_that_has_fallen_silent_does_not_burn() -> None:
    made = meter(LAMP)
    made.take(True, 0)
    made.take(None, 3600)
    made.tick(7200)

    assert made.value == 0


def test_time_that_goes_backwards_adds_nothing() -> None:
    assert hours(meter(HOURS), (10, True), (5, True), (8, True)) == pytest.approx(3)


# ---- counts --------------------------------------------------------------------------------------------


def test_a_start_is_a_change_from_off_to_on() -> None:
    assert taking(meter(STARTS), (0, True), (1, False), (2, True), (3, True), (4, False), (5, True)) == 2


def test_a_start_during_a_gap_is_counted_once_and_a_run_through_it_not_at_all() -> None:
    assert taking(meter(STARTS), (0, False), (1, None), (2, True), (3, None), (4, True)) == 1


def test_what_is_no_bool_is_no_start() -> None:
    assert taking(meter(STARTS), (0, False), (1, 1), (2, "on"), (3, False)) == 0


# ---- a device's counter --------------------------------------------------------------------------------


def test_a_counter_without_an_offset_shows_what_the_device_shows() -> None:
    made = meter(COUNTER)
    assert made.value is None
    assert taking(made, (0, 1999.9), (1, 2000.1)) == pytest.approx(2000.1)


def test_a_counter_with_an_offset_adds_its_increases() -> None:
    assert taking(meter(COUNTER, 500), (0, 20.0), (1, 21.5)) == pytest.approx(501.5)


def test_a_counter_goes_on_through_a_gap() -> None:
    assert taking(meter(COUNTER, 0), (0, 10.0), (1, None), (500, 17.0)) == 7


def test_a_reset_counter_counts_from_nothing() -> None:
    assert taking(meter(COUNTER, 0), (0, 100.0), (1, 105.0), (2, 3.0), (3, 7.0)) == 12


def test_a_used_device_in_its_place_does_not_bring_its_hours_along() -> None:
    assert taking(meter(COUNTER, 0), (0, 8000.0), (1, 5000.0), (2, 5001.0)) == 1


def test_a_counter_that_shows_nothing_for_a_moment_is_not_counted_again() -> None:
    assert taking(meter(COUNTER, 0), (0, 8000.0), (1, 0.0), (2, 8000.5), (3, 8001.0)) == pytest.approx(1)


def test_a_roll_over_is_no_reset() -> None:
    made = meter("m: {counter: hours, rollover: 65536}", 0)

    assert taking(made, (0, 65_530.0), (1, 4.0), (2, 10.0)) == 16


@pytest.mark.parametrize("value", [None, "7", True, -1.0, float("nan"), float("inf")])
def test_what_is_no_count_adds_nothing(value: Value) -> None:
    assert taking(meter(COUNTER, 0), (0, 10.0), (1, value), (2, 11.0)) == 1


# ---- any readings --------------------------------------------------------------------------------------

READINGS = st.lists(
    st.tuples(
        st.floats(-5, 200),
        st.one_of(st.none(), st.booleans(), st.floats(-10, 1e6), st.integers(0, 70_000), st.just(float("nan"))),
    ),
    max_size=50,
)


@given(st.sampled_from([HOURS, LAMP, STARTS, COUNTER, "m: {counter: hours, rollover: 65536}"]), READINGS)
def test_a_meter_never_falls(text: str, readings: list[tuple[float, Value]]) -> None:
    made = meter(text)
    before, now = 0.0, 0.0
    for seconds, value in readings:
        now += seconds
        made.take(value, now)
        made.tick(now)
        after = made.value
        assert after is None or after >= before
        before = after if after is not None else before


@given(st.lists(st.floats(0, 50), min_size=1, max_size=30), st.data())
def test_a_counter_that_only_rises_ends_at_what_the_device_shows(steps: list[float], data: st.DataObject) -> None:
    made, shown = meter(COUNTER), 0.0
    made.take(shown, 0)
    for number, rise in enumerate(steps):
        shown += rise
        made.take(None if data.draw(st.booleans()) else shown, number)
    made.take(shown, len(steps))

    assert made.value == pytest.approx(shown)


@given(st.lists(st.tuples(st.floats(0.1, 59), st.sampled_from([True, False, None])), max_size=40))
def test_run_hours_are_the_sum_of_the_good_true_stretches(story: list[tuple[float, bool | None]]) -> None:
    made, now, expected, last = meter(HOURS), 0.0, 0.0, None
    for seconds, value in story:
        now += seconds
        if last is True and value is not None:
            expected += seconds
        made.take(value, now)
        last = value

    assert made.value == pytest.approx(expected / 3600)
