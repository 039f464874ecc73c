"""Bus calculus: shares, blocking and age, and advice that is true when it is followed."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.driver import Keys, Request, drivers
from drivers.modbus.keys import Limits, RegisterKeys, RtuSettings, TcpSettings, UnitKeys
from drivers.point import Block, Device
from edge.load import Load, load_of
from edge.relief import advice
from edge.site_file import load_site
from tests.drivers.devices import Kind, device

RTU = drivers()["modbus-rtu"]
CASES = Path(__file__).parent.parent / "cases"


def requests(*kinds: tuple[float, float], points: bool = False) -> list[Request]:
    """Requests of (period, wire time), each of a device of its own: d0 with the point d0.p, if any, and so on."""
    made = []
    key: dict[str, tuple[Kind, Keys]] = {
        "p": ("int", RegisterKeys.model_validate({"register": "input", "address": 0}))
    }
    for number, (period_s, wire_s) in enumerate(kinds):
        who = device(f"d{number}", UnitKeys(unit_id=1), Limits(), key if points else {})
        made.append(Request(who, Block(who.id, who.points), period_s, wire_s))
    return made


def loads(*kinds: tuple[float, float]) -> Load:
    """Their load, without the words of a protocol."""
    return load_of(drivers()["mqtt"], requests(*kinds))


def test_shares_add_up_and_the_dearest_is_named_first() -> None:
    load = loads((1, 0.1), (2, 0.6), (1, 0.05))
    assert load.total == pytest.approx(0.45)
    assert load.devices == {"d1": pytest.approx(0.3), "d0": pytest.approx(0.1), "d2": pytest.approx(0.05)}
    assert load.dearest(2) == "d1 takes 30.0%, d0 takes 10.0% of this bus"


def test_a_request_alone_is_never_held_up() -> None:
    (only,) = loads((1, 0.1)).requests
    assert only.blocking_s == 0
    assert only.worst_age_s == pytest.approx(1.1)


def test_a_request_waits_for_one_answer_of_each_other_with_its_period() -> None:
    first, *_ = loads((1, 0.1), (1, 0.2), (1, 0.3)).requests
    assert first.blocking_s == pytest.approx(0.5)
    assert first.worst_age_s == pytest.approx(1.6)
    assert not first.tight


def test_turns_that_cannot_always_be_kept_are_marked() -> None:
    quick, slow = loads((0.1, 0.02), (10, 0.3)).requests
    assert quick.tight
    assert not slow.tight


def wait_of(number: int, tasks: list[tuple[int, int, bool]], offsets: list[int], until: int) -> tuple[int, bool]:
    """The longest wait of one task's turns on a line that serves urgent ones first, then the earliest deadline, and
    cuts nothing off, in ticks; and whether all turns of all tasks were answered in their periods."""
    jobs = sorted(
        (offset + turn * period, offset + (turn + 1) * period, each)
        for each, ((period, _, _), offset) in enumerate(zip(tasks, offsets, strict=True))
        for turn in range((until - offset) // period)
    )
    now, longest, kept = 0, 0, True
    waiting: list[tuple[int, int, int]] = []
    while jobs or waiting:
        while jobs and jobs[0][0] <= now:
            waiting.append(jobs.pop(0))
        if not waiting:
            now = jobs[0][0]
            continue
        # The worst order among equal deadlines: the looked-at task last.
        job = min(waiting, key=lambda each: (not tasks[each[2]][2], each[1], each[2] == number))
        waiting.remove(job)
        if job[2] == number:
            longest = max(longest, now - job[0])
        now += tasks[job[2]][1]
        kept = kept and now <= job[1]
    return longest, kept


TASKS = st.lists(st.tuples(st.integers(4, 40), st.integers(1, 6), st.booleans()), min_size=1, max_size=5)


@given(TASKS, st.lists(st.integers(0, 40), min_size=5, max_size=5))
def test_no_turn_waits_longer_than_predicted_while_all_are_answered_in_time(
    tasks: list[tuple[int, int, bool]], offsets: list[int]
) -> None:
    made = requests(*((float(period), float(wire)) for period, wire, _ in tasks), points=True)
    urgent = {f"d{number}.p" for number, (_, _, first) in enumerate(tasks) if first}
    load = load_of(drivers()["mqtt"], made, urgent)
    assume(load.total <= 1)
    for number, each in enumerate(load.requests):
        longest, kept = wait_of(number, tasks, offsets[: len(tasks)], 400)
        assume(kept)
        assert longest <= each.blocking_s + 1e-6
        assert math.isfinite(each.worst_age_s)


def wait_among(
    number: int, tasks: list[tuple[int, int, bool, int]], offsets: list[int], until: int, places: int
) -> tuple[int, bool]:
    """As `wait_of`, where so many may be out, of one lane one."""
    jobs = sorted(
        (offset + turn * period, offset + (turn + 1) * period, each)
        for each, ((period, _, _, _), offset) in enumerate(zip(tasks, offsets, strict=True))
        for turn in range((until - offset) // period)
    )
    longest, kept = 0, True
    waiting: list[tuple[int, int, int]] = []
    out: list[tuple[int, int]] = []
    for now in range(2 * until):
        out = [(end, lane) for end, lane in out if end > now]
        while jobs and jobs[0][0] <= now:
            waiting.append(jobs.pop(0))
        for job in sorted(waiting, key=lambda each: (not tasks[each[2]][2], each[1], each[2] == number)):
            lane = tasks[job[2]][3]
            if len(out) < places and lane not in {other for _, other in out}:
                waiting.remove(job)
                out.append((now + tasks[job[2]][1], lane))
                longest = max(longest, now - job[0]) if job[2] == number else longest
                kept = kept and now + tasks[job[2]][1] <= job[1]
    return longest, kept


@given(
    st.lists(
        st.tuples(st.integers(4, 30), st.integers(1, 6), st.booleans(), st.integers(1, 3)), min_size=1, max_size=5
    ),
    st.lists(st.integers(0, 30), min_size=5, max_size=5),
    st.integers(2, 3),
)
def test_no_turn_waits_longer_than_predicted_where_several_requests_are_out(
    tasks: list[tuple[int, int, bool, int]], offsets: list[int], places: int
) -> None:
    plain = requests(*((float(period), float(wire)) for period, wire, _, _ in tasks), points=True)
    made = [replace(each, lane=lane) for each, (_, _, _, lane) in zip(plain, tasks, strict=True)]
    urgent = {f"d{number}.p" for number, (_, _, first, _) in enumerate(tasks) if first}
    load = load_of(drivers()["mqtt"], made, urgent, places)
    assume(load.total <= 1)
    for number, each in enumerate(load.requests):
        longest, kept = wait_among(number, tasks, offsets[: len(tasks)], 150, places)
        assume(kept)
        assert longest <= each.blocking_s + 1e-6


def test_several_requests_at_once_share_the_time_but_one_unit_has_one_place() -> None:
    plain = requests((1, 0.4), (1, 0.4), (1, 0.4))
    apart = [replace(each, lane=number) for number, each in enumerate(plain)]
    assert load_of(drivers()["mqtt"], apart).total == pytest.approx(1.2)
    assert load_of(drivers()["mqtt"], apart, (), 4).total == pytest.approx(0.4), "each unit's own lane"
    assert load_of(drivers()["mqtt"], apart, (), 2).total == pytest.approx(0.6)
    assert load_of(drivers()["mqtt"], apart, (), 2).devices["d0"] == pytest.approx(0.2)
    one = [replace(each, lane=1) for each in plain]
    assert load_of(drivers()["mqtt"], one, (), 4).total == pytest.approx(1.2), "one unit answers one at a time"
    wide = [replace(each, lane_width=2) for each in one]
    assert load_of(drivers()["mqtt"], wide, (), 4).total == pytest.approx(0.6)


def test_each_point_is_as_old_as_the_best_of_its_requests_makes_it() -> None:
    slow, fast = requests((10, 0.1), (1, 0.1), points=True)
    both = replace(fast, block=Block("d1", (*fast.block.points, *slow.block.points)))
    load = load_of(drivers()["mqtt"], [slow, both])
    assert load.points["d0.p"].request is both
    assert load.points["d0.p"].worst_age_s == load.points["d1.p"].worst_age_s == pytest.approx(1.2)
    assert load_of(drivers()["mqtt"], [slow]).points["d0.p"].worst_age_s == pytest.approx(10.1)


def test_what_alarms_look_at_waits_for_one_ordinary_request_only() -> None:
    made = requests((1, 0.1), (1, 0.2), (1, 0.3), (1, 0.05), points=True)
    first, second, third, fourth = load_of(drivers()["mqtt"], made, {"d0.p", "d3.p"}).requests
    assert first.blocking_s == pytest.approx(0.05 + 0.3)
    assert fourth.blocking_s == pytest.approx(0.1 + 0.3)
    assert second.blocking_s == pytest.approx(
        0.3 + 2 * 0.15
    )  # two turns of each urgent one may come in while it waits
    assert third.blocking_s > 0.2


def registers(name: str, unit: int, count: int) -> Device:
    """A device whose holding registers 0 to count are read each second."""
    keys: dict[str, tuple[Kind, Keys]] = {
        f"r{at}": ("int", RegisterKeys.model_validate({"register": "holding", "address": at})) for at in range(count)
    }
    made = device(name, UnitKeys(unit_id=unit), Limits(), keys)
    return replace(made, points=tuple(replace(point, period_s=1.0) for point in made.points))


def test_each_advice_brings_the_line_to_a_good_load() -> None:
    settings = RtuSettings(type="modbus-rtu", port="/dev/none", baudrate=4800)
    devices = [registers(f"pump-{unit}", unit, 40) for unit in range(1, 9)]
    assert RTU.plan is not None

    def load(settings: RtuSettings, devices: list[Device]) -> float:
        assert RTU.plan is not None
        return load_of(RTU, RTU.plan(settings, devices)).total

    words = advice(RTU, settings, devices, RTU.plan(settings, devices))
    period, rate, moved = (
        re.search(r"read every ([\d.]+) s what is read every 1 s", words),
        re.search(r"to (\d+) baud", words),
        re.search(r"\((\d+) of 8 devices", words),
    )
    assert period
    assert rate
    assert moved
    total = load(settings, devices)
    assert total > 1
    assert 0.6 < total / float(period[1]) <= 0.7
    assert load(settings.model_copy(update={"baudrate": int(rate[1])}), devices) <= 0.7
    assert load(settings, devices[int(moved[1]) :]) <= 0.7
    assert load(settings, devices[int(moved[1]) - 1 :]) > 0.7  # no more are moved than need be


def test_more_requests_at_once_are_advised_where_units_wait_for_each_other() -> None:
    driver = drivers()["modbus-tcp"]
    assert driver.plan is not None
    settings = TcpSettings(type="modbus-tcp", host="h")
    limits = Limits(turnaround=0.2)
    devices = [replace(registers(f"m{unit}", unit, 4), options=limits) for unit in range(1, 9)]
    words = advice(driver, settings, devices, driver.plan(settings, devices))
    wider = re.search(r"write max_in_flight: (\d+) .*?\((\d+)%\)", words)
    assert wider
    settings = TcpSettings(type="modbus-tcp", host="h", max_in_flight=int(wider[1]))
    load = load_of(driver, driver.plan(settings, devices), (), settings.at_once)
    assert load.total <= 0.7
    assert f"{load.total:.0%}" == f"{wider[2]}%"
    alone = replace(devices[0], options=Limits(turnaround=0.9))
    assert "max_in_flight" not in advice(driver, settings, [alone], driver.plan(settings, [alone]))


def test_a_network_has_no_baud_rate_to_raise() -> None:
    settings = TcpSettings(type="modbus-tcp", host="h", pause=0.5)
    devices = [registers(f"m{unit}", unit, 4) for unit in range(1, 5)]
    driver = drivers()["modbus-tcp"]
    assert driver.plan is not None
    assert "baud" not in advice(driver, settings, devices, driver.plan(settings, devices))


def test_requests_are_told_in_the_words_of_their_protocol() -> None:
    site = load_site(Path(CASES).parent.parent / "config" / "site.yaml")
    pumps = site.connections["pump-room"]
    rows = load_of(pumps.driver, pumps.requests).row()["loads"]
    assert {"equipment": "pump-1", "unit": 1, "table": "input", "address": 0}.items() <= rows[0].items()
    assert sum(row["share"] for row in rows) == pytest.approx(pumps.load, abs=1e-3)


def test_each_polled_point_of_the_demo_has_an_age() -> None:
    site = load_site(Path(CASES).parent.parent / "config" / "site.yaml")
    pumps = site.connections["pump-room"]
    load = load_of(pumps.driver, pumps.requests)
    polled = {point.id for device in pumps.devices for point in device.points if point.period_s}
    assert set(load.points) == {each["point"] for each in load.ages()} == polled
    for each in load.ages():
        assert each["read_every_s"] <= each["period_s"]
        assert each["worst_age_s"] == pytest.approx(load.points[each["point"]].worst_age_s, abs=1e-3)
