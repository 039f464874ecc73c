"""Home Assistant, by MQTT discovery: every equipment is a device, its points and its alarms are entities.

    homeassistant/device/<device>/config       retained; emptied for equipment that has left the site
    <prefix>/<site>/ha/status                  online or offline, also as last will
    <prefix>/<site>/ha/<equipment>/availability, .../state, .../alarms
    <prefix>/<site>/ha/<equipment>/<point>/set commands, if the site file allows them

Home Assistant shows what is and has no way in for the past: rows that are late are passed over. Everything is
retained and told again when Home Assistant says on `homeassistant/status` that it has come up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal

import aiomqtt
import orjson

from drivers.driver import Clock
from drivers.point import Value
from edge import __version__
from edge.uplinks.broker import CommandSettings, Prefix
from edge.uplinks.changes import GATHER_S, Changes
from edge.uplinks.homeassistant_entities import Entities, Topics, alarm_state
from edge.uplinks.outbox import Outbox
from edge.uplinks.session import RETAINED, Session, bytes_of, lasting
from edge.uplinks.shape import GONE, Body, Live, Row, SiteView, Write
from edge.uplinks.wire import to_json

WHO = "homeassistant"
REASON = "command from Home Assistant"


log = logging.getLogger(__name__)


class Settings(CommandSettings):
    """Keys of an uplink of type `homeassistant`."""

    type: Literal["homeassistant"]
    discovery: Prefix = "homeassistant"
    """The prefix that Home Assistant listens to."""
    prefix: Prefix = "courtyard"


class HomeAssistant(Session):
    """An open uplink."""

    linger_s = 1.0
    queued = 20_000  # the broker may have as many devices from before

    def __init__(
        self,
        name: str,
        settings: Settings,
        site: SiteView,
        clock: Clock,
        live: Live,
        current_alarms: Callable[[], Iterable[Body]],
        write: Write,
        refusal: type[Exception],
    ) -> None:
        self._mine = settings
        self._site = site
        self._newest = live
        self._alarms = current_alarms
        self._write = write
        self._refusal = refusal
        self._topics = Topics(settings.discovery, f"{settings.prefix}/{site.id}/ha")
        self._entities = Entities(site, self._topics, commands=settings.commands, version=__version__)
        self._birth = f"{settings.discovery}/status"
        self._there: dict[str, bool] = {}
        self._changed = Changes[None]()  # equipment whose alarms are to be told
        self._parting = Changes[list[tuple[str, bytes]]]()  # what is to be taken away, by topic
        super().__init__(name, settings, clock, f"courtyard-{site.id}-{name}")

    # What goes out

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        """Return once the broker has the newest values of what the rows are of. Raises UplinkDown."""
        client = await self.client()
        known = 0 if late else sum(row.equipment in self._site.equipment for row in rows)
        self.stats.passed += len(rows) - known
        if late:
            return
        equipment = dict.fromkeys(row.equipment for row in rows if row.equipment in self._site.equipment)
        try:
            await self._tell(client, self._states(equipment))
        except aiomqtt.MqttError as error:
            raise self.broken(client, error) from None

    def _states(self, equipment: Iterable[str]) -> Iterable[tuple[str, bytes]]:
        for each in equipment:
            values = {name: self._newest(f"{each}.{name}")[:2] for name in self._entities.points[each]}
            there = any(quality not in GONE for _, quality in values.values())
            if self._there.get(each) != there:
                self._there[each] = there
                yield self._topics.presence(each), b"online" if there else b"offline"
            yield self._topics.state(each), to_json(self._entities.state(each, values))

    def announce(self, kind: str, key: str, body: Body | None) -> None:
        """An alarm has changed: its equipment will show it."""
        del key
        if kind == "alarm" and body is not None and body.get("equipment") in self._site.equipment:
            self._changed.add(str(body["equipment"]), None)

    async def _show_changes(self, client: Outbox) -> None:
        while True:
            await self._tell(client, self._alarm_states(await self._changed.taken()))
            await self.clock.sleep(GATHER_S)

    def _alarm_states(self, equipment: Iterable[str]) -> Iterable[tuple[str, bytes]]:
        found: dict[str, list[Body]] = {each: [] for each in equipment}
        for alarm in self._alarms():
            if alarm.get("equipment") in found:
                found[str(alarm["equipment"])].append(alarm)
        for each, alarms in found.items():
            yield self._topics.alarms(each), to_json(alarm_state(alarms, self._site.language))

    async def _tell(self, client: Outbox, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish retained messages. Raises MqttError."""
        await self.published(client, messages, retain=True)

    # The session

    async def prepare(self) -> aiomqtt.Will:
        """Unavailable, where we fall silent."""
        return aiomqtt.Will(self._topics.status, b"offline", 1, retain=True)

    async def begin(self, client: Outbox) -> None:
        """What the broker still has of before, then everything as it is."""
        await self.hears(client, f"{self._mine.discovery}/device/+/config", self._birth)
        if self._mine.commands:
            await self.hears(client, self._topics.command("+", "+"))
        await self._tell_all(client)
        self.beside(self._show_changes(client))
        self.beside(self._take_leave(client))

    async def _tell_all(self, client: Outbox) -> None:
        self._there.clear()
        equipment = list(self._site.equipment)
        configs = ((self._config_topic(each), to_json(self._entities.config(each))) for each in equipment)
        await self._tell(client, configs)
        await self._tell(client, [(self._topics.status, b"online")])
        await self._tell(client, self._states(equipment))
        await self._tell(client, self._alarm_states(equipment))

    async def end(self, client: Outbox) -> None:
        """Unavailable from now on."""
        await self.say(client, self._topics.status, b"offline", retain=True)

    def _config_topic(self, equipment: str) -> str:
        return self._topics.config(self._entities.device_id(equipment))

    # What comes in

    async def hear(self, client: Outbox, message: aiomqtt.Message) -> None:
        """Home Assistant has come up, somebody gives a command, or the broker shows a device from before."""
        topic, payload = message.topic.value, bytes_of(message)
        if topic == self._birth:
            if payload == b"online" and not message.retain:
                self.errand(self._tell_all(client))
        elif topic.startswith(f"{self._topics.base}/"):
            self._command(client, topic, payload, retained=message.retain)
        elif message.retain and payload:
            self._tidy(topic, payload)

    def _tidy(self, topic: str, payload: bytes) -> None:
        """Take away a device that has left the site, and entities that have left their device."""
        try:
            config = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return
        equipment = self._entities.owns(config)
        if equipment is None:
            return
        if equipment not in self._site.equipment or topic != self._config_topic(equipment):
            gone = [self._topics.state(equipment), self._topics.presence(equipment), self._topics.alarms(equipment)]
            kept = equipment in self._site.equipment  # under another name of the topic
            self._parting.add(topic, [(each, b"") for each in ([topic] if kept else [topic, *gone])])
            return
        present = self._entities.config(equipment)
        before = config.get("cmps")
        left = before.keys() - present["cmps"].keys() if isinstance(before, dict) else set()
        if left:
            empty = {key: {"p": before[key].get("p")} for key in left if isinstance(before[key], dict)}
            parting = {**present, "cmps": {**present["cmps"], **empty}}
            self._parting.add(topic, [(topic, to_json(parting)), (topic, to_json(present))])

    async def _take_leave(self, client: Outbox) -> None:
        while True:
            for messages in (await self._parting.taken()).values():
                await self._tell(client, messages)

    def _command(self, client: Outbox, topic: str, payload: bytes, *, retained: bool) -> None:
        equipment, point, _ = topic.removeprefix(f"{self._topics.base}/").split("/")
        try:
            if retained:
                raise ValueError(RETAINED)
            value = self._entities.asked(equipment, point, payload)
        except ValueError as error:
            self.refuse(f"{equipment}.{point}", str(error))
            return
        if not self.errand(self._obey(client, equipment, point, value)):
            self.refuse(f"{equipment}.{point}", "too many commands are under way")

    async def _obey(self, client: Outbox, equipment: str, point: str, value: Value) -> None:
        """Carry a command out, and show how the equipment stands then."""
        point_id = f"{equipment}.{point}"
        await self.carry_out(point_id, self._write(point_id, value, WHO, REASON, None), self._refusal)
        await self._tell(client, self._states([equipment]))


def open_homeassistant(
    name: str,
    settings: Settings,
    site: SiteView,
    clock: Clock,
    *,
    live: Live,
    current_alarms: Callable[[], Iterable[Body]],
    write: Write,
    refusal: type[Exception],
) -> AbstractAsyncContextManager[HomeAssistant]:
    """The uplink for as long as the block lasts; the broker may come later.

    `write` carries out commands and raises `refusal` for what it will not do.
    """
    uplink = HomeAssistant(name, settings, site, clock, live, current_alarms, write, refusal)
    return lasting(uplink)
