"""Upkeep at work: meters count, plans fall due, orders are opened and go their way.

What comes in: batches, what happens to alarms, the tick of the clock, and what people do with orders. What goes
out: order events. No I/O; values and time are arguments.

Each plan has at most one order whose work is still to be done. Orders are stored by their events; meters and
plans by `bodies()`, once in a while: what is lost of it is a little of a meter, never an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from drivers.point import Batch, Block, Point, Quality, Text
from edge.upkeep.counting import Meter, build
from edge.upkeep.meters import MeterSpec, MeterView
from edge.upkeep.orders import CLOSED, Order, OrderEvent, OrderRefused, advance, opened, order_id, order_number
from edge.upkeep.plans import Calendar, Metered, OnAlarm, Plan
from edge.upkeep.schedule import AlarmSchedule, CalendarSchedule, MeterSchedule, Schedule

KNOWN_NS = 1_704_067_200_000_000_000
"""2024-01-01: a wall clock before this has not been set, and calendar plans wait for it."""
KEEP = 2_000
"""Orders kept in memory once nothing more is to be done about them; the ledger keeps all."""
TRUSTED = frozenset({Quality.GOOD, Quality.UNCERTAIN_CLOCK})
"""Without the time of day a value is as true as with it, and meters count on the monotonic clock."""
_BLOCKS = 50_000
_CLEARED = ("cleared", "unshelved", "unsuppressed", "returned")
"""Events after which an alarm's condition has gone; where it has not, `raised` follows."""


class AlarmLike(Protocol):
    """What upkeep needs to know of an alarm."""

    @property
    def equipment(self) -> str: ...
    @property
    def rule(self) -> str: ...
    @property
    def name(self) -> Text: ...


class TransitionLike(Protocol):
    """What upkeep needs to know of an alarm's transition."""

    @property
    def alarm(self) -> AlarmLike: ...
    @property
    def event(self) -> str: ...
    @property
    def time_ns(self) -> int: ...


@dataclass(slots=True, eq=False)
class _Task:
    """One plan at work."""

    plan: Plan
    schedule: Schedule
    pending: str | None = None
    """The order whose work is still to be done."""


class UpkeepEngine:
    """All meters, plans and orders of a site. `zone` is the site's time zone: days begin at its midnight."""

    def __init__(self, meters: Sequence[MeterSpec], plans: Sequence[Plan], zone: ZoneInfo) -> None:
        self._meters = {spec.id: build(spec) for spec in meters}
        self._by_point: dict[Point, list[Meter]] = {}
        for meter in self._meters.values():
            self._by_point.setdefault(meter.spec.point, []).append(meter)
        self._by_block: dict[Block, list[tuple[int, Meter]]] = {}
        self._tasks = {plan.id: _Task(plan, _schedule(plan, zone)) for plan in plans}
        self._by_alarm: dict[tuple[str, str], list[_Task]] = {}
        for task in self._tasks.values():
            if isinstance(task.plan.trigger, OnAlarm):
                for rule in (task.plan.trigger.rule, *task.plan.trigger.also):
                    self._by_alarm.setdefault((task.plan.equipment, rule), []).append(task)
        self._orders: dict[str, Order] = {}
        self._number = 0

    # ---- what the equipment does -------------------------------------------------------------------

    def feed(self, batch: Batch) -> None:
        """Let meters count."""
        meters = self._by_block.get(batch.block)
        if meters is None:
            meters = self._meters_of(batch.block)
        for index, meter in meters:
            quality = batch.quality if batch.qualities is None else batch.qualities[index]
            meter.take(batch.values[index] if quality in TRUSTED else None, batch.mono_s)

    def _meters_of(self, block: Block) -> list[tuple[int, Meter]]:
        if len(self._by_block) >= _BLOCKS:  # a driver keeps its blocks; this bounds one that does not
            self._by_block.clear()
        found = [(i, meter) for i, point in enumerate(block.points) for meter in self._by_point.get(point, ())]
        self._by_block[block] = found
        return found

    def on_alarm(self, transition: TransitionLike) -> list[OrderEvent]:
        """Open what an alarm that is raised calls for: one order until it is finished and the alarm has cleared."""
        alarm, out = transition.alarm, list[OrderEvent]()
        for task in self._by_alarm.get((alarm.equipment, alarm.rule), ()):
            schedule = task.schedule
            assert isinstance(schedule, AlarmSchedule)  # noqa: S101  # made so in _schedule
            if transition.event in _CLEARED:
                schedule.standing = False
            elif transition.event in ("raised", "re-raised"):
                if not schedule.standing and task.pending is None:
                    cause = Text(f"报警：{alarm.name.zh}", f"alarm: {alarm.name.en}")
                    out.append(self._open(task, cause, transition.time_ns))
                schedule.standing = True
        return out

    def tick(self, mono_s: float, wall_ns: int) -> list[OrderEvent]:
        """Open the orders that have fallen due. To be called about once a second."""
        for meter in self._meters.values():
            meter.tick(mono_s)
        out = []
        for task in self._tasks.values():
            if task.pending is not None:
                continue
            event = None
            if isinstance(task.schedule, CalendarSchedule):
                event = self._by_calendar(task, task.schedule, wall_ns)
            elif isinstance(task.schedule, MeterSchedule):
                event = self._by_meter(task, task.schedule, wall_ns)
            if event is not None:
                out.append(event)
        return out

    def _by_calendar(self, task: _Task, schedule: CalendarSchedule, wall_ns: int) -> OrderEvent | None:
        if wall_ns < KNOWN_NS:
            return None
        if not schedule.begun:
            schedule.begin(wall_ns)
        if schedule.opens_ns is None or wall_ns < schedule.opens_ns:
            return None
        return self._open(task, schedule.cause(wall_ns), wall_ns, due_ns=schedule.due_ns())

    def _by_meter(self, task: _Task, schedule: MeterSchedule, wall_ns: int) -> OrderEvent | None:
        meter = self._meter_of(task.plan)
        value = meter.value if meter else None
        if meter is None or value is None:
            return None
        due = schedule.due(value)
        if value < due - schedule.trigger.lead:
            return None
        return self._open(task, schedule.cause(meter.spec, due, value), wall_ns, due_value=due)

    def _meter_of(self, plan: Plan) -> Meter | None:
        trigger = plan.trigger
        return self._meters.get(f"{plan.equipment}.{trigger.meter}") if isinstance(trigger, Metered) else None

    def _open(
        self, task: _Task, cause: Text, wall_ns: int, due_ns: int | None = None, due_value: float | None = None
    ) -> OrderEvent:
        self._number += 1
        plan = task.plan
        event = opened(
            Order(
                id=order_id(self._number),
                equipment=plan.equipment,
                plan=plan.name,
                title=plan.title,
                task=plan.task,
                priority=plan.priority,
                cause=cause,
                opened_ns=wall_ns,
                due_ns=due_ns,
                due_value=due_value,
            )
        )
        self._orders[event.order.id] = event.order
        task.pending = event.order.id
        return event

    # ---- what people do ----------------------------------------------------------------------------

    def step(self, order: str, step: str, who: str, note: str, wall_ns: int) -> OrderEvent:
        """Take an order one step on: accept, start, done, verify, cancel. Raises `OrderRefused`.

        Starting an open order accepts it too. Dropping one needs a note; its plan then goes on as if it were done.
        """
        found = self._orders.get(order)
        if found is None:
            raise OrderRefused("not_found", f"no order {order!r}; it is like WO-000001")
        task = self._tasks.get(f"{found.equipment}.{found.plan}")
        meter = self._meter_of(task.plan) if task else None
        event = advance(found, step, who, note, wall_ns, meter.value if meter else None)
        self._orders[order] = event.order
        if task and task.pending == order and not event.order.pending:
            task.pending = None
            _finished(task.schedule, event.order)
        self._forget()
        return event

    def _forget(self) -> None:
        closed = [each.id for each in self._orders.values() if each.state in CLOSED]
        for old in closed[: max(0, len(closed) - KEEP)]:
            del self._orders[old]

    # ---- looking, and surviving a restart ----------------------------------------------------------

    def orders(self) -> list[Order]:
        """All orders in memory, in the order in which they were opened."""
        return list(self._orders.values())

    def order(self, order: str) -> Order | None:
        """One order; None where there is none in memory."""
        return self._orders.get(order)

    def meters(self) -> list[MeterView]:
        """All meters as they read now."""
        return [meter.view() for meter in self._meters.values()]

    def bodies(self) -> dict[tuple[str, str], dict[str, Any] | None]:
        """What must survive a restart beside the orders: by kind (`meter`, `plan`) and id."""
        meters = {("meter", id_): meter.to_body() for id_, meter in self._meters.items()}
        return {**meters, **{("plan", id_): task.schedule.to_body() for id_, task in self._tasks.items()}}

    def restore(
        self,
        orders: Mapping[str, Mapping[str, Any]],
        meters: Mapping[str, Mapping[str, Any]],
        plans: Mapping[str, Mapping[str, Any]],
    ) -> list[str]:
        """Take up what was stored, before the first batch. Returns the ids of what cannot be read."""
        schedules = {id_: task.schedule for id_, task in self._tasks.items()}
        left_out = [*_restored(self._meters, meters), *_restored(schedules, plans)]
        for id_, body in sorted(orders.items(), key=lambda item: (len(item[0]), item[0])):
            try:
                self._take_up(Order.from_body(body))
            except ValueError:
                left_out.append(id_)
        self._forget()
        return left_out

    def _take_up(self, order: Order) -> None:
        self._orders[order.id] = order
        self._number = max(self._number, order_number(order.id))
        task = self._tasks.get(f"{order.equipment}.{order.plan}")
        if task is None:
            return
        if order.pending:
            task.pending = task.pending or order.id
        else:
            _finished(task.schedule, order)


def _schedule(plan: Plan, zone: ZoneInfo) -> Schedule:
    trigger = plan.trigger
    if isinstance(trigger, Calendar):
        return CalendarSchedule(trigger, zone)
    return MeterSchedule(trigger) if isinstance(trigger, Metered) else AlarmSchedule()


def _restored(owners: Mapping[str, Meter] | Mapping[str, Schedule], bodies: Mapping[str, Any]) -> Iterator[str]:
    """Give each its body; the ids of those that cannot be read. What nobody owns any more is passed over."""
    for id_, body in bodies.items():
        owner = owners.get(id_)
        try:
            if owner is not None:
                owner.restore(body)
        except ValueError:
            yield id_


def _finished(schedule: Schedule, order: Order) -> None:
    """Tell a schedule what was finished; where the clock was not set then, as if on the day on which it was due."""
    if isinstance(schedule, CalendarSchedule) and order.due_ns is not None:
        due = schedule.day(order.due_ns)
        finished_ns = order.finished_ns or 0
        schedule.finished(due, schedule.day(finished_ns) if finished_ns >= KNOWN_NS else due)
    elif isinstance(schedule, MeterSchedule) and order.due_value is not None:
        schedule.finished(order.due_value, order.done_value)
