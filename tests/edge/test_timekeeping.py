"""When the box's clock is believed, what is told until then, and which of its jumps are steps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from edge.clock import ManualClock
from edge.kerneltime import boot_id, synchronised
from edge.timekeeping import EARLIEST_NS, Memory, Source, Timekeeper, Turn

NOW = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * 10**9
HOUR = 3600 * 10**9


def keeper(
    clock: ManualClock, source: Source = "auto", newest_ns: int = 0, *, synchronised: bool = False, known_in: str = ""
) -> Timekeeper:
    return Timekeeper(clock, source, 600, Memory(newest_ns, synchronised, known_in), "boot-2")


def test_a_clock_that_the_kernel_vouches_for_is_believed_at_once() -> None:
    time = keeper(ManualClock(NOW), "kernel", NOW + HOUR)
    assert time.look() == Turn("known", -HOUR)
    assert time.known()
    assert time.wall_ns() == NOW
    assert time.memory() == Memory(NOW, True, "boot-2")


def test_in_1970_time_goes_on_from_the_newest_that_is_known_until_the_clock_is_set() -> None:
    clock = ManualClock(3 * 10**9, known=False)
    time = keeper(clock, "clock", NOW)
    assert time.look() is None
    assert (time.known(), time.wall_ns()) == (False, NOW)
    clock.advance(90)
    assert time.wall_ns() == NOW + 90 * 10**9
    clock.step_wall((NOW + 2 * HOUR - clock.wall_ns()) / 1e9)
    assert time.wall_ns() == NOW + 90 * 10**9, "whoever reads the time before anybody has looked is told the old one"
    assert time.look() == Turn("known", 2 * HOUR - 90 * 10**9)
    assert time.wall_ns() == clock.wall_ns() == NOW + 2 * HOUR


def test_with_nothing_known_1970_is_as_good_as_any_time_and_never_believed() -> None:
    clock = ManualClock(3 * 10**9, known=False)
    time = keeper(clock, "clock")
    for _ in range(3):
        assert time.look() is None
        clock.advance(86_400)
    assert time.wall_ns() == clock.wall_ns() < EARLIEST_NS


def test_a_clock_chip_is_believed_at_once_unless_it_is_behind_what_was_recorded() -> None:
    assert keeper(ManualClock(NOW, known=False), "clock", NOW - HOUR).look() == Turn("known", 0)
    clock = ManualClock(NOW, known=False)
    behind = keeper(clock, "clock", NOW + HOUR)
    clock.advance(700)
    assert behind.look() is None
    clock.step_wall(3600)
    assert behind.look() is not None


def test_a_box_without_a_chip_waits_for_the_kernel_and_believes_its_clock_after_a_while() -> None:
    clock = ManualClock(NOW, known=False)
    time = keeper(clock, "kernel", NOW - HOUR)
    clock.advance(599)
    assert time.look() is None
    clock.advance(1)
    assert time.look() == Turn("known", 0)


@pytest.mark.parametrize(("seen", "known"), [(False, True), (True, False)])
def test_a_kernel_that_was_synchronised_once_is_waited_for(seen: bool, known: bool) -> None:
    time = keeper(ManualClock(NOW, known=False), newest_ns=NOW - HOUR, synchronised=seen)
    time.look()
    assert time.known() is known


def test_what_was_known_in_this_boot_stays_known_through_a_restart_and_not_through_a_power_cut() -> None:
    clock = ManualClock(NOW, known=False)
    same = keeper(clock, "kernel", NOW + HOUR, known_in="boot-2")
    assert same.look() is not None
    other = keeper(clock, "kernel", NOW + HOUR, known_in="boot-1")
    assert other.look() is None
    assert other.memory() == Memory(NOW + HOUR, False, "boot-1")


def test_the_clock_of_a_box_that_cannot_name_its_boot_is_not_known_by_it() -> None:
    time = Timekeeper(ManualClock(NOW, known=False), "kernel", 600, Memory(NOW, False, ""), "")
    assert time.look() is None


@pytest.mark.parametrize("seconds", [3600, -3600, 2.5])
def test_a_step_of_a_known_clock_is_told_once(seconds: float) -> None:
    clock = ManualClock(NOW)
    time = keeper(clock)
    time.look()
    clock.advance(5)
    assert time.look() is None
    clock.step_wall(seconds)
    assert time.look() == Turn("stepped", round(seconds * 1e9))
    assert time.look() is None


def test_the_corrections_of_ntp_are_no_steps() -> None:
    clock = ManualClock(NOW)
    time = keeper(clock)
    time.look()
    for _ in range(1000):
        clock.advance(1)
        clock.step_wall(0.0005)
        assert time.look() is None


def test_this_kernel_can_be_asked() -> None:
    assert synchronised() in (True, False)
    assert boot_id() == boot_id()
