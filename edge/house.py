"""Puts the parts of one daemon together; the life cycle in `app` then runs them.

What comes in: a checked site, the opened ledger and readings store, a clock. What goes out: a `House` whose
alarms, orders, meters and escalations continue where the ledger says that they were.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from drivers.driver import Clock
from edge.acquire import Acquired
from edge.acquisition.pipeline import Pipeline
from edge.alarms.alarm import Transition
from edge.alarms.engine import DELAY, PAST, AlarmEngine
from edge.alarms.machine import State
from edge.clerk import Clerk
from edge.commands import PointCommands
from edge.desk import Desk
from edge.engine import Engine, Happening
from edge.eras import Eras
from edge.events import Event, Hub
from edge.gateway import BOX, UPLINK
from edge.incident_desk import trait_of
from edge.incidents.engine import IncidentEngine
from edge.incidents.incident import IncidentEvent
from edge.keeping import AGING, history_keeper, known_age
from edge.load import alarm_points
from edge.nightly import Nightly
from edge.notices import Notices
from edge.parents import ancestors
from edge.response.dispatcher import Dispatcher, PushRecord
from edge.response.flood import WINDOW_S
from edge.response.notice import Notice
from edge.site import Site
from edge.store.keeper import Keeper
from edge.store.ledger import Ledger
from edge.store.readings import ReadingsStore
from edge.teller import Teller
from edge.timekeeping import Turn
from edge.upkeep.engine import UpkeepEngine
from edge.upkeep.orders import OrderEvent, OrderState
from edge.uplinks import Uplink

TOGETHER = 50
"""Connections whose turns come at the same moment: few enough to be done within some 5 ms."""
PHASE_S = 0.05
"""Between these moments."""

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class House:
    """Everything that one daemon consists of, apart from its tasks."""

    site: Site
    clock: Clock
    hub: Hub
    ledger: Ledger
    store: ReadingsStore
    engine: Engine
    clerk: Clerk
    dispatcher: Dispatcher
    commands: PointCommands
    desk: Desk
    ways: dict[str, Acquired]
    notices: Notices
    teller: Teller
    nightly: Nightly
    keeper: Keeper
    uplinks: dict[str, Uplink] = field(default_factory=dict)
    eras: Eras | None = None
    """Readings from before the time was known; None where nobody looks after that."""
    _sound: dict[str, bool] = field(default_factory=dict)
    """Of each part of the box and of the uplinks, whether all was well with it when it was last looked at."""

    def watch_box(self) -> None:
        """Tell the alarms about the box itself what is the matter with it, or no longer."""
        parts = {
            "storage": self.store.trouble is None and self.ledger.trouble is None and not self.clerk.unwritten,
            "clock": self.clock.known(),
            "disk_budget": not self.keeper.short,
            "clock_leap": not self.keeper.aging.held,
        }
        for part, sound in parts.items():
            self._tell(f"{BOX}:{part}", sound=sound)

    def _tell(self, part: str, *, sound: bool) -> None:
        """Tell the alarms where it is news; the first look always is, for an alarm that stood before a restart."""
        if self._sound.get(part) is not sound:
            self._sound[part] = sound
            self.engine.connection(part, up=sound)

    def keep_time(self, eras: Eras) -> None:
        """From now on the house knows what the time does."""
        self.eras = eras
        if not self.clock.known():
            self.engine.time_unknown()
        eras.listeners.append(self._time_turned)

    def _time_turned(self, turn: Turn, body: dict[str, Any]) -> None:
        if turn.kind == "known":
            self.engine.time_known(turn.shift_ns)
        self.hub.publish(Event("clock", body, self.clock.wall_ns()))

    def watch_uplinks(self) -> None:
        """Tell the alarms of uplinks that have fallen behind or caught up, and of what a far end will not take."""
        limits = self.site.uplink_limits
        for name, uplink in self.uplinks.items():
            lag_s, since_s = uplink.lag_s(), uplink.since_reject_s()
            if lag_s is not None:
                self._tell(f"{UPLINK}{name}:uplink_backlog", sound=lag_s <= limits.lag)
            if since_s is not None:
                self._tell(f"{UPLINK}{name}:uplink_rejects", sound=since_s >= limits.calm)

    async def keep(self) -> None:
        """Write the present state of meters, plans and alarm counts: a power cut costs what came afterwards."""
        clock = self.clock
        progress = self.engine.alarms.progress(clock.mono_s(), clock.wall_ns(), pasts=True)
        times = self.eras.bodies() if self.eras else {}
        aging = {AGING: self.keeper.aging.body()}
        await self.clerk.keep({**self.engine.upkeep.bodies(), **progress, **times, **aging})

    async def keep_delays(self) -> None:
        """Write how far alarm delays have come, where that has changed."""
        changed = self.engine.alarms.progress(self.clock.mono_s(), self.clock.wall_ns(), pasts=False)
        if changed:
            await self.clerk.keep(changed)

    async def keep_ladders(self) -> None:
        """Write how far escalations have come, where that has changed."""
        changed = self.dispatcher.pending()
        if changed:
            await self.clerk.keep(changed)

    async def take_up(self, incidents: Iterable[str]) -> None:
        """Tell what was written down before the last stop but not told: what a `kill -9` came between.

        `incidents` are the ids of those that were written down.
        """
        waiting: list[Happening] = [
            Transition(alarm, "raised", alarm.raised_ns or 0)
            for alarm in self.engine.alarms.alarms()
            if alarm.state is State.UNACKNOWLEDGED
        ]
        waiting += [
            OrderEvent(order, "opened", order.opened_ns)
            for order in self.engine.upkeep.orders()
            if order.state is OrderState.OPEN
        ]
        notices = [self.notices.notice(happening) for happening in waiting]
        for each in self.engine.incidents.incidents():
            if each.id in incidents and each.called is not None and each.state == "open" and each.active:
                notices.append(self.teller.notice(IncidentEvent(each, "called", each.called_ns or 0)))
        for notice in notices:
            if notice is not None and not await self._told(notice):
                self.dispatcher.notify(notice)

    async def _told(self, notice: Notice) -> bool:
        """Whether anybody was pushed this notice, on any channel."""
        pushed = await self.ledger.journal(kind="push", subject=notice.id, limit=50, newest_first=True)
        return any(entry.body.get("ok") and entry.time_ns >= notice.time_ns for _, entry in pushed)


async def build(site: Site, state: Path, ledger: Ledger, store: ReadingsStore, clock: Clock, boot: str = "") -> House:
    """All parts, continued from the ledger. `boot`: that in which the monotonic clock runs; empty: not known."""
    hub = Hub()
    clerk = Clerk(ledger, clock)
    alarms = AlarmEngine(site.rules)
    alarms.restore(await ledger.load("alarm"))
    alarms.resume(await ledger.load(DELAY), await ledger.load(PAST), clock.mono_s(), clock.wall_ns())
    upkeep = UpkeepEngine(site.meters, site.plans, site.zone)
    upkeep.restore(await ledger.load("order"), await ledger.load("meter"), await ledger.load("plan"))
    incidents = IncidentEngine(ancestors(site.above), {rule.id: trait_of(rule) for rule in site.rules})
    kept = await ledger.load("incident")
    followed, unread = incidents.restore(kept, alarms.alarms(), clock.mono_s(), clock.wall_ns())
    for id_ in unread:
        log.error("the incident %s cannot be continued, what was kept is not readable", id_)
    points = {point.id: point for point in site.points}
    engine = Engine(Pipeline(site.storage.heartbeat), store, alarms, upkeep, clock, clerk.take, incidents, points)

    async def record(push: PushRecord) -> None:
        body = push.to_body()
        await clerk.note("push", push.notice_id, body, dispatcher.pending())
        hub.publish(Event("push", body, clock.wall_ns()))
        of = push.notice_id, push.recipient, push.channel, push.error, push.time_ns
        clerk.take(incidents.pushed(*of, over=push.over))

    dispatcher = Dispatcher(site.duty, site.info.language, clock, record, site.zone, state)
    dispatcher.restore(await ledger.load("ladder"))
    urgent = alarm_points(site.rules)
    ways = {
        name: Acquired(each, engine, clock, urgent, number // TOGETHER * PHASE_S % 1.0)
        for number, (name, each) in enumerate(site.connections.items())
    }
    uplinks: dict[str, Uplink] = {}
    commands = PointCommands(site, engine, clerk, ways, clock, hub)
    await commands.restore(ledger)
    desk = Desk(site, engine, clerk, ledger, store, commands, ways, uplinks, clock, hub)
    aging = await known_age(ledger, store, clock, boot)
    notices = Notices(site)
    teller = Teller(engine, desk, notices, dispatcher, uplinks, hub, clock)
    house = House(
        site, clock, hub, ledger, store, engine, clerk, dispatcher, commands, desk, ways, notices, teller,
        Nightly(site, ledger, clerk, clock, partial(_open_ids, engine, desk), aging),
        history_keeper(site, store, clerk, clock, aging), uplinks,
    )  # fmt: skip
    desk.storage = lambda: house.keeper.figures
    desk.watched.append(lambda: ledger.trouble)
    desk.watched.append(lambda: house.keeper.trouble)
    desk.watched.append(lambda: house.nightly.trouble)
    clerk.listeners.append(teller.tell)
    clerk.after.append(teller.flush)
    clerk.take(followed)
    await _seed_floods(ledger, dispatcher, incidents, clock)
    await house.take_up(kept)
    return house


def _open_ids(engine: Engine, desk: Desk) -> set[str]:
    """Alarms, orders and incidents that are not over."""
    orders = {order.id for order in engine.upkeep.orders() if order.pending}
    incidents = {row["id"] for row in desk.incidents() if row["state"] != "closed"}
    return {alarm.id for alarm in engine.alarms.alarms()} | orders | incidents


async def _seed_floods(ledger: Ledger, dispatcher: Dispatcher, incidents: IncidentEngine, clock: Clock) -> None:
    """A desk that was in a flood before a restart is in it still."""
    now_ns = clock.wall_ns()
    rows = await ledger.journal(kind="alarm", from_ns=now_ns - round(WINDOW_S * 1e9), to_ns=now_ns, limit=1000)
    for _, entry in rows:
        if entry.body.get("event") not in ("raised", "re-raised"):
            continue
        with suppress(LookupError, TypeError, ValueError):  # an entry of which a bit was lost counts for nothing
            alarm = entry.body["alarm"]
            if not incidents.explained(alarm["id"], alarm["equipment"]):
                dispatcher.annunciated(alarm["priority"], (now_ns - entry.time_ns) / 1e9)
