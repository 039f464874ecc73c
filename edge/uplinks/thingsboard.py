"""ThingsBoard, by its gateway API over MQTT: every equipment is a device behind this gateway.

    v1/gateway/connect, .../disconnect   a device is there (with its class as type), cannot be read
    v1/gateway/telemetry                 readings with their own time in ms; alarms and orders as they happen
    v1/gateway/attributes                name, place and profile of a device, its present alarms
    v1/gateway/rpc                       requests: `read`, and if the site file allows them `write`, `ack`

The access token of the gateway is the MQTT username. Everything goes by QoS 1, confirmed before the cursor moves;
what ThingsBoard's rule chains then do with it nobody here can know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Literal

import aiomqtt
from pydantic import AfterValidator, Field

from drivers.driver import Clock
from edge.uplinks.broker import CommandSettings
from edge.uplinks.changes import GATHER_S, Changes
from edge.uplinks.outbox import Outbox
from edge.uplinks.session import Session, bytes_of, lasting
from edge.uplinks.shape import GONE, Body, Entry, Live, Row, SiteView, Write
from edge.uplinks.thingsboard_payload import (
    CONNECT,
    DISCONNECT,
    RPC,
    Message,
    Moment,
    Request,
    Telemetry,
    answer,
    attributes,
    event,
    parse_request,
    telemetry,
)
from edge.uplinks.thingsboard_requests import Requests, Step
from edge.uplinks.wire import to_json

URGENCY = ("critical", "high", "medium", "low")


log = logging.getLogger(__name__)


def _device_name(pattern: str) -> str:
    try:
        made = pattern.format(site="s", equipment="e")
    except (LookupError, ValueError, AttributeError, TypeError):
        raise ValueError(f"{pattern!r} is no name; only {{site}} and {{equipment}} are filled in") from None
    if "{equipment}" not in pattern or not made.strip():
        raise ValueError(f"{pattern!r} gives all devices one name; put {{equipment}} into it")
    return pattern


class Settings(CommandSettings):
    """Keys of an uplink of type `thingsboard`. The access token is `username`."""

    type: Literal["thingsboard"]
    device: Annotated[str, AfterValidator(_device_name)] = "{site}.{equipment}"
    """Name of a device there; unique over all sites of the tenant."""
    limit: Annotated[int, Field(ge=1024, le=16_000_000)] = 60_000
    """Bytes of one message; ThingsBoard takes 65,536 unless its settings say otherwise."""

    def own(self) -> Hashable:
        """Its devices there, as the gateway that the token says."""
        return super().own(), self.username, self.device


class ThingsBoard(Session):
    """An open uplink."""

    linger_s = 0.2

    def __init__(
        self,
        name: str,
        settings: Settings,
        site: SiteView,
        clock: Clock,
        live: Live,
        current_alarms: Callable[[], Iterable[Body]],
        requests: Requests,
    ) -> None:
        self.journal_kinds = frozenset({"alarm", "order"})
        self._mine = settings
        self._site = site
        self._newest = live
        self._alarms = current_alarms
        self._requests = requests
        self._names = {each: settings.device.format(site=site.id, equipment=each) for each in site.equipment}
        self._equipment = {device: equipment for equipment, device in self._names.items()}
        self._points = site.points_of()
        self._telemetry = Telemetry(self._names)
        self._away: set[str] = set()
        self._changed = Changes[None]()  # equipment whose alarms are to be told
        super().__init__(name, settings, clock, f"courtyard-{site.id}-{name}")

    # What goes out

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        """Return once the broker has confirmed every row. Raises UplinkDown."""
        client = await self.client()
        if not late:
            await self.confirmed(client, list(self._presence({row.equipment for row in rows})))
        await self._deliver(client, self._telemetry.moments(rows, late=late))
        self.stats.passed += sum(row.equipment not in self._names for row in rows)

    async def send_journal(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Return once the broker has confirmed every entry. Raises UplinkDown."""
        client = await self.client()
        found = ((self._names.get(_equipment_of(entry)), entry) for _, entry in entries)
        await self._deliver(client, (event(device, entry) for device, entry in found if device))

    async def _deliver(self, client: Outbox, moments: Iterable[Moment]) -> None:
        too_long: list[Moment] = []
        await self.confirmed(client, list(telemetry(moments, self._mine.limit, too_long.append)))
        for moment in too_long:  # counted with the rest, which may have to be sent again
            what = f"{moment.device}: {next(iter(moment.values))}"
            self.stats.reject(what, f"longer than the limit of {self._mine.limit} bytes")

    def _presence(self, equipment: Iterable[str]) -> Iterable[Message]:
        """Devices that have gone or come back, told once."""
        for each in equipment:
            if each not in self._names:
                continue
            alive = any(self._newest(f"{each}.{point}")[1] not in GONE for point in self._points[each])
            if alive and each in self._away:
                self._away.discard(each)
                yield self._connects(each)
            elif not alive and each not in self._away:
                self._away.add(each)
                yield DISCONNECT, to_json({"device": self._names[each]})

    def _connects(self, equipment: str) -> Message:
        kind = self._site.equipment[equipment].equipment_class
        return CONNECT, to_json({"device": self._names[equipment], "type": kind})

    def announce(self, kind: str, key: str, body: Body | None) -> None:
        """An alarm has changed: its device's attributes will say so."""
        del key
        if kind == "alarm" and body is not None and body.get("equipment") in self._names:
            self._changed.add(str(body["equipment"]), None)

    async def _show_changes(self, client: Outbox) -> None:
        while True:
            changed = await self._changed.taken()
            alarms = self._alarms_of()
            told = {self._names[each]: _alarm_attributes(alarms.get(each, [])) for each in changed}
            await self.published(client, attributes(told, self._mine.limit))
            await self.clock.sleep(GATHER_S)

    def _alarms_of(self) -> dict[str, list[Body]]:
        found: dict[str, list[Body]] = {}
        for alarm in self._alarms():
            found.setdefault(str(alarm.get("equipment")), []).append(alarm)
        return found

    # The session

    async def begin(self, client: Outbox) -> None:
        """Every device, what is so of it, and the ear to the ground."""
        await self.hears(client, RPC)
        self._away.clear()
        self._telemetry = Telemetry(self._names)
        messages = [self._connects(equipment) for equipment in self._names]
        alarms = self._alarms_of()
        told = {
            device: {**self._facts(equipment), **_alarm_attributes(alarms.get(equipment, []))}
            for equipment, device in self._names.items()
        }
        messages += attributes(told, self._mine.limit)
        messages += self._presence(self._names)
        await self.published(client, messages)
        self.beside(self._show_changes(client))

    def _facts(self, equipment: str) -> dict[str, Any]:
        view = self._site.equipment[equipment]
        return {
            "site": self._site.id, "equipment": equipment, "class": view.equipment_class, "name": view.name,
            "location": view.location, "profile": view.profile,
        }  # fmt: skip

    async def end(self, client: Outbox) -> None:
        """Nothing to say: ThingsBoard sees the connection end."""

    # What comes in

    async def hear(self, client: Outbox, message: aiomqtt.Message) -> None:
        """A request."""
        try:
            request = None if message.retain else parse_request(bytes_of(message))
        except ValueError as error:
            self.refuse(message.topic.value, str(error))
            return
        if request is not None and not self.errand(self._answer(client, request)):
            self.refuse(request.method, "too many requests are under way")

    async def _answer(self, client: Outbox, request: Request) -> None:
        equipment = self._equipment.get(request.device)
        if equipment is None:
            data: dict[str, Any] = {"ok": False, "error": f"no device {request.device}"}
        else:
            data = await self._requests.answer(equipment, request.method, request.params)
        if not data["ok"]:
            self.refuse(f"{request.method} of {request.device}", str(data.get("error", "not taken")))
        topic, payload = answer(request, data)
        await self.say(client, topic, payload)


def open_thingsboard(
    name: str,
    settings: Settings,
    site: SiteView,
    clock: Clock,
    *,
    live: Live,
    current_alarms: Callable[[], Iterable[Body]],
    write: Write,
    step: Step,
    refusal: type[Exception],
) -> AbstractAsyncContextManager[ThingsBoard]:
    """The uplink for as long as the block lasts; the broker may come later.

    `write` and `step` (of an alarm) carry out requests, and raise `refusal` for what they will not do.
    """
    requests = Requests(site, live, write, step, refusal, allowed=settings.commands)
    uplink = ThingsBoard(name, settings, site, clock, live, current_alarms, requests)
    return lasting(uplink)


def _alarm_attributes(alarms: Sequence[Body]) -> dict[str, Any]:
    """The present alarms of a device; all of them, so that none stays that is over."""
    shown = [
        {key: alarm.get(key) for key in ("rule", "code", "priority", "state", "active", "name", "raised")}
        for alarm in alarms
    ]
    worst = min((str(alarm.get("priority")) for alarm in alarms), key=_rank, default="")
    waiting = sum(alarm.get("state") == "unacknowledged" for alarm in alarms)
    active = sum(bool(alarm.get("active")) for alarm in alarms)
    return {"alarms": shown, "alarms_active": active, "alarms_unacknowledged": waiting, "alarm_priority": worst}


def _rank(priority: str) -> int:
    return URGENCY.index(priority) if priority in URGENCY else len(URGENCY)


def _equipment_of(entry: Entry) -> str:
    inner = entry.body.get(entry.kind)
    return str(inner.get("equipment")) if isinstance(inner, Mapping) else ""
