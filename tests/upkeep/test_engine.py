"""Plans by meter and by alarm, and what stands after a restart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.point import Quality
from edge.upkeep import engine as engine_module
from edge.upkeep.orders import OrderRefused
from tests.upkeep.scene import Upkeep, local

GREASE = "grease: {meter: run_hours, every: 2000}"
BEARING = "bearing: {on_alarm: bearing_hot, priority: high}"


def run(upkeep: Upkeep, hours: float, step_s: float = 30) -> None:
    """The pump runs."""
    upkeep.read(True)
    for _ in range(round(hours * 3600 / step_s)):
        upkeep.wait(step_s)
        upkeep.read(True)


# ---- by meter ------------------------------------------------------------------------------------------


def test_run_hours_open_an_order() -> None:
    upkeep = Upkeep(GREASE, offsets={"run_hours": 1999.9})
    assert upkeep.tick() == []
    run(upkeep, 0.05)
    assert upkeep.tick() == []
    run(upkeep, 0.15)
    (event,) = upkeep.tick()

    order = event.order
    assert (order.cause.zh, order.cause.en) == ("运行时间已达 2000 h（2000.1）", "Run hours 2000 h reached (2000.1)")
    assert (order.due_value, order.due_ns, order.opened_ns) == (2000, None, upkeep.wall_ns)
    assert upkeep.tick() == []


def counter_at(upkeep: Upkeep, value: float) -> list[str]:
    upkeep.read(value)
    return [event.order.cause.en for event in upkeep.tick()]


COUNTER = "run_hours: {unit: h, counter: hours, name: {zh: 运行时间, en: Run hours}}"


def test_a_floating_plan_counts_from_the_reading_at_which_the_work_was_done() -> None:
    upkeep = Upkeep("grease: {meter: run_hours, every: 100}", COUNTER)
    assert counter_at(upkeep, 99.9) == []
    assert counter_at(upkeep, 100.1) == ["Run hours 100 h reached (100.1)"]
    counter_at(upkeep, 120.0)
    upkeep.step(upkeep.engine.orders()[0], "start", "done")
    assert counter_at(upkeep, 219.9) == []
    assert counter_at(upkeep, 220.0) == ["Run hours 220 h reached (220)"]


def test_a_fixed_plan_stays_at_its_multiples() -> None:
    upkeep = Upkeep("grease: {meter: run_hours, every: 100, fixed: true}", COUNTER)
    counter_at(upkeep, 99.0)
    counter_at(upkeep, 120.0)
    upkeep.step(upkeep.engine.orders()[0], "start", "done")
    assert counter_at(upkeep, 199.9) == []
    assert counter_at(upkeep, 200.0) == ["Run hours 200 h reached (200)"]
    counter_at(upkeep, 350.0)
    upkeep.step(upkeep.engine.orders()[1], "start", "done")
    assert counter_at(upkeep, 351.0) == []
    assert counter_at(upkeep, 400.0) == ["Run hours 400 h reached (400)"]


def test_an_order_is_opened_its_lead_before_the_reading() -> None:
    upkeep = Upkeep("grease: {meter: run_hours, every: 100, lead: 10, fixed: true}", COUNTER)
    assert counter_at(upkeep, 89.9) == []
    assert counter_at(upkeep, 90.0) == ["Run hours 100 h near (90)"]
    upkeep.step(upkeep.engine.orders()[0], "start", "done")
    assert counter_at(upkeep, 110.0) == []
    assert counter_at(upkeep, 190.0) == ["Run hours 200 h near (190)"]


def test_a_machine_with_a_past_begins_at_its_last_multiple() -> None:
    upkeep = Upkeep(GREASE, COUNTER)
    assert counter_at(upkeep, 16_345.0) == []
    assert counter_at(upkeep, 18_000.0) == ["Run hours 18000 h reached (18000)"]


def test_the_site_file_says_at_what_reading_it_was_done_last() -> None:
    upkeep = Upkeep(GREASE, COUNTER, last={"grease": 15_000})
    assert counter_at(upkeep, 16_345.0) == []
    assert counter_at(upkeep, 17_000.5) == ["Run hours 17000 h reached (17000.5)"]


def test_a_counter_that_cannot_be_read_yet_opens_nothing() -> None:
    upkeep = Upkeep(GREASE, COUNTER)
    upkeep.read(5000.0, quality=Quality.BAD_COMM)
    assert upkeep.tick() == []
    assert upkeep.engine.meters()[0].value is None


def test_a_plan_by_meter_does_not_wait_for_the_clock() -> None:
    upkeep = Upkeep(GREASE, COUNTER, start="1970-01-01T08:00")
    upkeep.read(1999.0, quality=Quality.UNCERTAIN_CLOCK)
    assert upkeep.tick() == []
    assert counter_at(upkeep, 2001.0) == ["Run hours 2000 h reached (2001)"]


def test_a_cancelled_order_waits_for_the_next_reading() -> None:
    upkeep = Upkeep(GREASE, COUNTER)
    counter_at(upkeep, 1999.0)
    counter_at(upkeep, 2001.0)
    upkeep.step(upkeep.engine.orders()[0], "cancel")
    assert counter_at(upkeep, 2002.0) == []
    assert counter_at(upkeep, 4001.0) == ["Run hours 4001 h reached (4001)"]


def test_meters_are_shown_with_their_names_and_units() -> None:
    upkeep = Upkeep(GREASE, offsets={"run_hours": 12.5})
    (view,) = upkeep.engine.meters()

    assert (view.equipment, view.name, view.title.zh, view.unit, view.value) == (
        "pump-1", "run_hours", "运行时间", "h", 12.5,
    )  # fmt: skip


# ---- by alarm ------------------------------------------------------------------------------------------


def test_an_alarm_opens_one_order_until_it_is_finished_and_the_alarm_has_cleared() -> None:
    upkeep = Upkeep(BEARING)
    (event,) = upkeep.alarm("raised")
    assert (event.order.cause.zh, event.order.cause.en) == ("报警：轴承温度高", "alarm: Bearing hot")
    assert event.order.priority == "high"
    assert upkeep.alarm("acknowledged") == []
    assert upkeep.alarm("cleared") == []
    assert upkeep.alarm("re-raised") == []  # the order is not finished
    upkeep.step(event.order, "start", "done")
    assert upkeep.alarm("re-raised") == []  # the alarm has not cleared since
    assert upkeep.alarm("cleared") == []

    assert [each.order.id for each in upkeep.alarm("raised")] == ["WO-000002"]


def test_an_alarm_from_the_shelf_is_no_second_order() -> None:
    upkeep = Upkeep(BEARING)
    upkeep.alarm("raised")
    for event in ("shelved", "unshelved", "raised", "suppressed", "unsuppressed", "raised"):
        assert upkeep.alarm(event) == []


def test_other_alarms_open_nothing() -> None:
    assert Upkeep(BEARING).alarm("raised", "pressure_low") == []


def test_work_whose_verification_waits_does_not_hide_that_the_alarm_is_back() -> None:
    upkeep = Upkeep(BEARING)
    (event,) = upkeep.alarm("raised")
    upkeep.alarm("cleared")
    upkeep.step(event.order, "start", "done")

    assert len(upkeep.alarm("raised")) == 1


# ---- orders and restarts -------------------------------------------------------------------------------


def test_an_order_that_is_not_there_is_refused() -> None:
    with pytest.raises(OrderRefused, match="no order 'WO-000009'") as refused:
        Upkeep(BEARING).engine.step("WO-000009", "start", "王师傅", "", 0)
    assert refused.value.kind == "not_found"


def test_closed_orders_leave_memory_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "KEEP", 2)
    upkeep = Upkeep(BEARING)
    for _ in range(5):
        (event,) = upkeep.alarm("raised")
        upkeep.alarm("cleared")
        upkeep.step(event.order, "start", "done", "verify")

    assert [order.id for order in upkeep.engine.orders()] == ["WO-000004", "WO-000005"]
    assert upkeep.alarm("raised")[0].order.id == "WO-000006"


ALL = f"{GREASE}\n{BEARING}\nvisit: {{every: P15D, fixed: true}}"


def test_everything_survives_a_restart() -> None:
    upkeep = Upkeep(ALL, COUNTER, start="2026-03-02T08:00")
    counter_at(upkeep, 1990.0)
    upkeep.alarm("raised")
    upkeep.at("2026-03-17T00:00")
    json.dumps({"/".join(key): body for key, body in upkeep.engine.bodies().items()})
    again = upkeep.restarted(Upkeep(ALL, COUNTER))
    assert [(o.id, o.plan, o.state.value) for o in again.engine.orders()] == [
        ("WO-000001", "bearing", "open"), ("WO-000002", "visit", "open"),
    ]  # fmt: skip
    assert again.engine.meters()[0].value == 1990
    assert again.alarm("re-raised") == []
    again.step(again.engine.orders()[0], "start", "done")
    assert again.alarm("re-raised") == []
    assert counter_at(again, 2000.5) == ["Run hours 2000 h reached (2000.5)"]  # it counted while we were away
    assert local(again.engine.orders()[1].due_ns) == "2026-03-17T23:59:59"


def test_time_while_the_box_was_off_is_not_run_time() -> None:
    upkeep = Upkeep(GREASE, offsets={"run_hours": 10})
    run(upkeep, 0.5)
    again = upkeep.restarted(Upkeep(GREASE, offsets={"run_hours": 10}))
    again.mono_s = 10.0
    run(again, 0.5)

    assert again.engine.meters()[0].value == pytest.approx(11)


def test_what_cannot_be_read_is_left_out_and_named() -> None:
    upkeep = Upkeep(ALL, COUNTER)
    left_out = upkeep.engine.restore(
        {"WO-000007": {"id": "WO-000007"}},
        {"pump-1.run_hours": {"counted": "many"}, "pump-9.gone": {}},
        {"pump-1.visit": {}, "pump-1.grease": {"base": "x"}},
    )

    assert left_out == ["pump-1.run_hours", "pump-1.visit", "pump-1.grease", "WO-000007"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["wait", "run", "raised", "cleared", "re-raised", "start", "done", "cancel", "restart"]),
        st.integers(0, 40),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(STEPS)
def test_whatever_happens_no_order_is_doubled(steps: list[tuple[str, int]]) -> None:
    upkeep = Upkeep(ALL, COUNTER)
    reading, seen = 0.0, set[str]()
    for what, amount in steps:
        events = []
        if what == "wait":
            upkeep.wait(amount * 86_400)
        elif what == "run":
            reading += amount * 100
            upkeep.read(reading)
        elif what == "restart":
            upkeep = upkeep.restarted(Upkeep(ALL, COUNTER))
        elif what in ("start", "done", "cancel"):
            _try(upkeep, what, amount)
        else:
            events += upkeep.alarm(what)
        events += upkeep.tick()
        for event in events:
            assert event.order.id not in seen
            seen.add(event.order.id)
        pending = [order.plan for order in upkeep.engine.orders() if order.pending]
        assert len(pending) == len(set(pending))
        assert upkeep.tick() == []
    dues = [o.due_ns for o in upkeep.engine.orders() if o.plan == "visit"]
    assert len(dues) == len(set(dues))


def _try(upkeep: Upkeep, step: str, which: int) -> None:
    orders = upkeep.engine.orders()
    if orders:
        try:
            upkeep.step(orders[which % len(orders)], step)
        except OrderRefused:
            return
