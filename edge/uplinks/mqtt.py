"""MQTT north: readings, alarms, orders and status as plain JSON, and commands in.

    <prefix>/<site>/<equipment>/readings     {"time", "values": {point: value}, "quality": {point: ...} if not good,
                                              "late": true if newer ones came before it}
    <prefix>/<site>/alarms/<alarm id>        retained while there is something to show, then emptied
    <prefix>/<site>/orders/<order id>        the same
    <prefix>/<site>/incidents/<incident id>  the same
    <prefix>/<site>/status                   retained {"state": "online" or "offline"}, also as last will
    <prefix>/<site>/<equipment>/<point>/set  commands, if the site file allows them; answered on .../result

Everything goes by QoS 1. Readings come from the log and are confirmed before the cursor moves: a broker that is
away costs nothing but time. Alarms, orders and incidents are shown as they stand: all of them at each connect, with
what the broker still shows from before and is over taken away, then each change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import aiomqtt
import orjson

from drivers.driver import Clock
from edge.uplinks.broker import CommandSettings, Prefix
from edge.uplinks.changes import Changes
from edge.uplinks.command import Command, outcome, parse_command
from edge.uplinks.outbox import Outbox
from edge.uplinks.session import AT_ONCE, RETAINED, Session, bytes_of, lasting
from edge.uplinks.shape import Body, Row, SiteView, Write
from edge.uplinks.wire import to_json

OVER = frozenset({"normal", "verified", "cancelled", "closed"})
"""States after which there is nothing more to show."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_IN_TOPICS = re.compile(r"[/+#\x00]")


class Settings(CommandSettings):
    """Keys of an uplink of type `mqtt`."""

    type: Literal["mqtt"]
    prefix: Prefix = "courtyard"


class Refusal(Exception):
    """Raised by `write` for what will not be done; the message goes to the asker."""


class MqttNorth(Session):
    """An open uplink."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        site: SiteView,
        clock: Clock,
        current: Mapping[str, Callable[[], Iterable[Body]]],
        write: Write | None,
        refusal: type[Exception],
    ) -> None:
        self._current = current
        self._write = write if settings.commands else None
        self._refusal = refusal
        self._base = f"{settings.prefix}/{site.id}"
        self._status = f"{self._base}/status"
        self._topics: dict[str, str] = {}
        self._changed = Changes[Body | None]()  # by topic
        self._standing: set[str] = set()  # topics on which there is something to show, by the newest that is known
        super().__init__(name, settings, clock, f"courtyard-{site.id}-{name}")

    # What goes out

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        """Return once the broker has confirmed every row. Raises UplinkDown."""
        await self.confirmed(await self.client(), map(self._late_reading if late else self._reading, rows))

    def _late_reading(self, row: Row) -> tuple[str, bytes]:
        """A reading that newer ones have overtaken: whoever shows the present leaves it out."""
        topic, body = self._reading(row)
        return topic, body[:-1] + b',"late":true}'

    def _reading(self, row: Row) -> tuple[str, bytes]:
        body: dict[str, Any] = {
            "time": (_EPOCH + timedelta(microseconds=row.time_ns // 1000)).isoformat().replace("+00:00", "Z"),
            "values": dict(zip(row.points, row.values, strict=True)),
        }
        if row.qualities is not None:
            body["quality"] = {p: q for p, q in zip(row.points, row.qualities, strict=True) if q != "good"}
        topic = self._topics.get(row.equipment)
        if topic is None:
            topic = self._topics[row.equipment] = f"{self._base}/{_topic(row.equipment)}/readings"
        return topic, orjson.dumps(body)

    def announce(self, kind: str, key: str, body: Body | None) -> None:
        """Show an alarm, order or incident as it stands now; None: there is nothing more to show. Does not wait."""
        if kind in self._current:
            topic = self._shown_on(kind, key)
            (self._standing.discard if _over(body) else self._standing.add)(topic)
            self._changed.add(topic, body)

    async def _show_changes(self, client: Outbox) -> None:
        while True:
            for topic, body in (await self._changed.taken()).items():
                await self._show(client, topic, body)

    async def _show(self, client: Outbox, topic: str, body: Body | None) -> None:
        over = _over(body)
        if body is not None:
            await self.say(client, topic, to_json(body), retain=not over)
        if over:
            await self.say(client, topic, b"", retain=True)

    def _shown_on(self, kind: str, key: str) -> str:
        return f"{self._base}/{kind}s/{_topic(key)}"

    # The session

    async def prepare(self) -> aiomqtt.Will:
        """Offline, where we fall silent."""
        return aiomqtt.Will(self._status, to_json({"state": "offline"}), 1, retain=True)

    async def begin(self, client: Outbox) -> None:
        """Online; everything as it stands; then the ear to the ground."""
        await self.say(client, self._status, to_json({"state": "online"}), retain=True)
        self._changed = Changes()  # what has changed meanwhile stands in what there is now
        standing = {
            self._shown_on(kind, str(body["id"])): body
            for kind, current in self._current.items()
            for body in current()
            if not _over(body)
        }
        self._standing = set(standing)
        for topic, body in standing.items():
            await self._show(client, topic, body)
        await self.hears(client, *(f"{self._base}/{kind}s/+" for kind in self._current))
        if self._write is not None:
            await self.hears(client, f"{self._base}/+/+/set")
        self.beside(self._show_changes(client))

    async def end(self, client: Outbox) -> None:
        """Offline from now on."""
        await self.say(client, self._status, to_json({"state": "offline"}), retain=True)

    # What comes in

    async def hear(self, client: Outbox, message: aiomqtt.Message) -> None:
        """A command, or what the broker still shows from before."""
        topic, payload = message.topic.value, bytes_of(message)
        levels = topic.removeprefix(f"{self._base}/").split("/")
        if len(levels) == 3 and levels[2] == "set":
            await self._command(client, f"{levels[0]}.{levels[1]}", payload, retained=message.retain)
        elif (
            len(levels) == 2
            and message.retain
            and payload
            and not (topic in self._standing or topic in self._changed)
        ):
            self._changed.add(topic, None)  # shown from before, and over

    async def _command(self, client: Outbox, point: str, payload: bytes, *, retained: bool) -> None:
        """Begin to carry it out; what cannot be is answered before the next one is looked at."""
        try:
            command = parse_command(payload)
            if retained:
                raise ValueError(RETAINED)
            if not self.errand(self._obey(client, point, command)):
                raise ValueError(f"{AT_ONCE} commands are under way; try again later")
        except ValueError as error:
            await self._answer(client, point, None, {"ok": False, "error": str(error)})

    async def _obey(self, client: Outbox, point: str, command: Command) -> None:
        assert self._write is not None  # noqa: S101  # else nobody subscribed
        work = self._write(point, command.value, command.who, command.reason, command.for_s)
        done = await outcome(work, self._refusal, f"uplink {self.name}: command to {point}")
        await self._answer(client, point, command.id, done)

    async def _answer(self, client: Outbox, point: str, mark: str | int | None, body: dict[str, Any]) -> None:
        if not body["ok"]:
            self.refuse(f"command to {point} is not carried out", str(body.get("error", "not taken")))
        marked = body if mark is None else {**body, "id": mark}
        equipment, _, name = point.rpartition(".")
        await self.say(client, f"{self._base}/{equipment}/{name}/result", to_json(marked))


def open_mqtt(
    name: str,
    settings: Settings,
    site: SiteView,
    clock: Clock,
    *,
    current_alarms: Callable[[], Iterable[Body]] = tuple,
    current_orders: Callable[[], Iterable[Body]] = tuple,
    current_incidents: Callable[[], Iterable[Body]] = tuple,
    write: Write | None = None,
    refusal: type[Exception] = Refusal,
) -> AbstractAsyncContextManager[MqttNorth]:
    """The uplink for as long as the block lasts; the broker may come later.

    `current_...` give bodies with `id` and `state`; `write` carries out commands and raises `refusal` for what
    it will not do.
    """
    current = {"alarm": current_alarms, "order": current_orders, "incident": current_incidents}
    return lasting(MqttNorth(name, settings, site, clock, current, write, refusal))


def _over(body: Body | None) -> bool:
    return body is None or str(body.get("state", "")).lower() in OVER


def _topic(text: str) -> str:
    """An id as one level of a topic."""
    return _NOT_IN_TOPICS.sub("_", text)
