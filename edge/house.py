"""Puts the parts of one daemon together; the life cycle in `app` then runs them.

What comes in: a checked site, the opened ledger and readings store, a clock. What goes out: a `House` whose
alarms, orders, meters and escalations continue where the ledger says that they were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drivers.driver import Clock
from edge.acquire import Acquired
from edge.acquisition.pipeline import Pipeline
from edge.alarms.alarm import Transition
from edge.alarms.engine import AlarmEngine
from edge.clerk import Clerk
from edge.desk import Desk
from edge.engine import Engine, Happening
from edge.events import Event, Hub
from edge.notices import Notices
from edge.response.dispatcher import Dispatcher, PushRecord
from edge.site import Site
from edge.store.ledger import Ledger
from edge.store.readings import ReadingsStore
from edge.upkeep.engine import UpkeepEngine
from edge.uplinks import Uplink


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
    desk: Desk
    ways: dict[str, Acquired]
    uplinks: dict[str, Uplink] = field(default_factory=dict)

    async def keep(self) -> None:
        """Write the present state of meters, plans and escalations; what a power cut may cost of them is one call."""
        await self.clerk.keep({**self.engine.upkeep.bodies(), **self.dispatcher.pending()})


async def build(site: Site, ledger: Ledger, store: ReadingsStore, clock: Clock) -> House:
    """All parts, continued from the ledger."""
    hub = Hub()
    clerk = Clerk(ledger, clock)
    alarms = AlarmEngine(site.rules)
    alarms.restore(await ledger.load("alarm"))
    upkeep = UpkeepEngine(site.meters, site.plans, site.zone)
    upkeep.restore(await ledger.load("order"), await ledger.load("meter"), await ledger.load("plan"))
    engine = Engine(Pipeline(site.storage.heartbeat), store, alarms, upkeep, clock, clerk.take)

    async def record(push: PushRecord) -> None:
        body = push.to_body()
        await clerk.note("push", push.notice_id, body)
        hub.publish(Event("push", body, clock.wall_ns()))

    dispatcher = Dispatcher(site.duty, site.info.language, clock, record, site.zone)
    dispatcher.restore(await ledger.load("ladder"))
    ways = {name: Acquired(each, engine, clock) for name, each in site.connections.items()}
    uplinks: dict[str, Uplink] = {}
    rows = lambda: [uplink.status() for uplink in uplinks.values()]  # noqa: E731
    desk = Desk(site, engine, clerk, ledger, store, ways, rows, clock, hub)
    house = House(site, clock, hub, ledger, store, engine, clerk, dispatcher, desk, ways, uplinks)
    clerk.listeners.append(_teller(house))
    return house


def _teller(house: House) -> Any:
    notices = Notices(house.site)

    def tell(happening: Happening) -> None:
        """Everybody who is to know of it: people by push, pages by event, the operator by MQTT north."""
        notice = notices.notice(happening)
        if notice is not None:
            (house.dispatcher.resolved if notice.resolved else house.dispatcher.notify)(notice)
        if isinstance(happening, Transition):
            if happening.event == "acknowledged":
                house.dispatcher.acknowledged(happening.alarm.id)
            kind, key, row = "alarm", happening.alarm.id, house.desk.alarm_row(happening.alarm)
        else:
            kind, key, row = "order", happening.order.id, house.desk.order_row(happening.order)
        house.hub.publish(Event(kind, {**row, "event": happening.event, "who": happening.who}, happening.time_ns))  # type: ignore[arg-type]
        for uplink in house.uplinks.values():
            uplink.announce(kind, key, row)

    return tell
