"""The types of uplinks: the settings of each, and how it is opened with what it uses of the daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from drivers.driver import Clock
from drivers.point import Value
from edge.uplinks import homeassistant, influxdb, mqtt, sparkplug, thingsboard, webhook
from edge.uplinks.drain import Log
from edge.uplinks.journal import Clerk, Ledger, Memory
from edge.uplinks.shape import Sender, SiteView, UplinkSettings

UPLINKS: Mapping[str, type[UplinkSettings]] = {
    "influxdb": influxdb.Settings,
    "mqtt": mqtt.Settings,
    "sparkplug": sparkplug.Settings,
    "thingsboard": thingsboard.Settings,
    "homeassistant": homeassistant.Settings,
    "webhook": webhook.Settings,
}
"""Settings of each type that a site file may name."""


class Store(Log, Protocol):
    """The readings log, as far as the uplinks use it."""

    def stats(self) -> Mapping[str, float]:
        """Where the log stands."""
        ...


class Desk(Protocol):
    """What people may see and do, as far as the uplinks use it."""

    def alarms(self) -> list[dict[str, Any]]:
        """Alarms that are not normal."""
        ...

    def orders(self) -> list[dict[str, Any]]:
        """Work orders."""
        ...

    def incidents(self) -> list[dict[str, Any]]:
        """Incidents that are not closed."""
        ...

    def live(self, point_id: str) -> tuple[Value, str, int]:
        """Value, quality and time of the newest reading of a point."""
        ...

    async def alarm_step(
        self, alarm_id: str, step: str, who: str, reason: str | None = None, minutes: float | None = None
    ) -> dict[str, Any]:
        """Acknowledge, shelve, unshelve or reset one alarm."""
        ...

    async def write_point(
        self, point_id: str, value: Value, who: str, reason: str, for_s: float | None = None
    ) -> dict[str, Any]:
        """Write a value, for a time where `for_s` says so."""
        ...


class Around(Protocol):
    """The daemon, as far as an uplink uses it."""

    @property
    def site(self) -> Any:
        """The checked site file."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def store(self) -> Store:
        """The readings log."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What happened."""
        ...

    @property
    def clerk(self) -> Clerk:
        """Who writes it down."""
        ...

    @property
    def desk(self) -> Desk:
        """The desk."""
        ...


def _open_influxdb(
    name: str, settings: influxdb.Settings, site: SiteView, house: Around, refusal: type[Exception], memory: Memory
) -> AbstractAsyncContextManager[Sender]:
    del house, refusal, memory  # nothing comes in by this way
    return influxdb.open_influxdb(name, settings, site)


def _open_mqtt(
    name: str, settings: mqtt.Settings, site: SiteView, house: Around, refusal: type[Exception], memory: Memory
) -> AbstractAsyncContextManager[Sender]:
    del memory
    return mqtt.open_mqtt(
        name, settings, site, house.clock,
        current_alarms=house.desk.alarms, current_orders=house.desk.orders,
        current_incidents=house.desk.incidents,
        write=house.desk.write_point, refusal=refusal,
    )  # fmt: skip


def _open_sparkplug(
    name: str, settings: sparkplug.Settings, site: SiteView, house: Around, refusal: type[Exception], memory: Memory
) -> AbstractAsyncContextManager[Sender]:
    return sparkplug.open_sparkplug(
        name, settings, site, house.clock,
        live=house.desk.live, newest=lambda: int(house.store.stats()["last_seq"]),
        bdseq=sparkplug.Bdseq(
            memory.get("bdseq") if memory.knows("bdseq") else None, lambda number: memory.keep(bdseq=number)
        ),
        current_alarms=house.desk.alarms, write=house.desk.write_point, refusal=refusal,
    )  # fmt: skip


def _open_thingsboard(
    name: str, settings: thingsboard.Settings, site: SiteView, house: Around, refusal: type[Exception], memory: Memory
) -> AbstractAsyncContextManager[Sender]:
    del memory
    return thingsboard.open_thingsboard(
        name, settings, site, house.clock,
        live=house.desk.live, current_alarms=house.desk.alarms, write=house.desk.write_point,
        step=house.desk.alarm_step, refusal=refusal,
    )  # fmt: skip


def _open_homeassistant(
    name: str,
    settings: homeassistant.Settings,
    site: SiteView,
    house: Around,
    refusal: type[Exception],
    memory: Memory,
) -> AbstractAsyncContextManager[Sender]:
    del memory
    return homeassistant.open_homeassistant(
        name, settings, site, house.clock,
        live=house.desk.live, current_alarms=house.desk.alarms, write=house.desk.write_point, refusal=refusal,
    )  # fmt: skip


def _open_webhook(
    name: str, settings: webhook.Settings, site: SiteView, house: Around, refusal: type[Exception], memory: Memory
) -> AbstractAsyncContextManager[Sender]:
    del refusal, memory
    return webhook.open_webhook(name, settings, site, house.clock)


OPEN: Mapping[str, Callable[..., AbstractAsyncContextManager[Sender]]] = {
    "influxdb": _open_influxdb,
    "mqtt": _open_mqtt,
    "sparkplug": _open_sparkplug,
    "thingsboard": _open_thingsboard,
    "homeassistant": _open_homeassistant,
    "webhook": _open_webhook,
}
"""How each type is opened: (name, settings, site, daemon, what the desk raises for a refusal, its memory)."""
