"""Devices that report over MQTT, built from their profiles: LoRaWAN sensors behind ChirpStack, Zigbee2MQTT lights.

What comes in: the values of models, and commands on the topics of the profiles' `write` keys. What goes out: each
kind of message that a profile names, with its points where the profile says that they lie. A message with a binary
payload is sent when the model reports; any other also when a value changes, and each minute. Every device tells its
state when the connection to the broker is made. A message with a binary payload comes in the envelope of a
ChirpStack v4 `up` event. Messages are retained, as both programs can be set to: who subscribes later knows at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import aiomqtt

from drivers.driver import Clock
from drivers.mqtt_topics import MqttKeys
from drivers.payload import encode_message, value_of
from drivers.payload_keys import MessageKeys, Messages, PayloadPoint
from drivers.point import Value
from drivers.profile import PointSpec
from simulators.model import SimEquipment
from simulators.world import World

EVERY_S = 60.0
"""A message without a binary payload is sent at least this often."""
_FLOOR_S = 1.0
"""Values that creep are told no more often than this; yes and no at once."""
_PAUSE_S = 1.0
_WAITING = 1000
"""Messages that wait for the broker; more are lost, the oldest first."""
_logger = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.client")
_quiet.setLevel(logging.CRITICAL)  # a broker that goes away is part of the play


@dataclass(slots=True)
class _Kind:
    """One kind of message of one device."""

    keys: MessageKeys
    topic: str
    points: list[tuple[str, PointSpec, PayloadPoint]]
    told: dict[str, Value] = field(default_factory=dict)
    """Values as they were last sent."""
    told_s: float = -EVERY_S

    def due(self, values: Mapping[str, Value], now_s: float) -> bool:
        """Whether a value has changed by more than its deadband, or the minute is over."""
        if self.keys.payload:
            return False
        if now_s - self.told_s >= EVERY_S:
            return True
        if now_s - self.told_s >= _FLOOR_S:
            return any(_moved(spec, self.told.get(name), values[name]) for name, spec, _ in self.points)
        return any(spec.kind == "bool" and self.told.get(name) != values[name] for name, spec, _ in self.points)


def _moved(spec: PointSpec, old: Value, new: Value) -> bool:
    if isinstance(old, int | float) and isinstance(new, int | float) and spec.kind != "bool":
        return abs(new - old) > spec.deadband
    return old != new


class Device:
    """One equipment as its messages and its commands."""

    def __init__(self, each: SimEquipment, rng: random.Random) -> None:
        messages = each.profile.options
        if not isinstance(messages, Messages) or not isinstance(each.address, MqttKeys):
            raise TypeError(f"{each.id}: profile {each.profile.id} is no device behind an MQTT broker")
        self.id = each.id
        self.name = each.address.device
        self._profile = each.profile
        self._rng = rng
        self._frames = 0
        self.points = [(n, s, k) for n, (s, k) in each.profile.points.items() if isinstance(k, PayloadPoint)]
        self.kinds = [
            _Kind(keys, self._topic(keys.topic), [p for p in self.points if p[2].message in (None, name)])
            for name, keys in messages.by_name.items()
        ]

    def _topic(self, pattern: str) -> str:
        """A topic that the pattern of a subscription matches."""
        application = str(uuid.uuid5(uuid.NAMESPACE_URL, self._profile.id))
        steps = pattern.replace("{device}", self.name).split("/")
        return "/".join(application if step == "+" else step for step in steps if step != "#")

    @property
    def command_topics(self) -> set[str]:
        """Where the device takes commands."""
        return {self._command_topic(keys) for _, _, keys in self.points if keys.write}

    def _command_topic(self, keys: PayloadPoint) -> str:
        return keys.write.topic.replace("{device}", self.name) if keys.write else ""

    def commands(self, topic: str, body: bytes) -> Iterator[tuple[str, Value]]:
        """The points that a command sets, and to what. Raises ValueError where it makes no sense."""
        for name, spec, keys in self.points:
            if keys.write is None or self._command_topic(keys) != topic:
                continue
            raw = _placeholder(keys.write.body, body)
            if raw is not None:
                yield name, value_of(keys, spec.kind, raw)

    def body(self, kind: _Kind, values: Mapping[str, Value], wall_ns: int) -> bytes:
        """One message. Raises ValueError where a value has no code in the profile."""
        pairs = [(keys, values[name]) for name, _, keys in kind.points]
        identity = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        body = encode_message(kind.keys, pairs, time=_rfc3339(wall_ns), message_id=identity)
        if not kind.keys.payload:
            return body
        self._frames += 1
        return json.dumps(_over(self._envelope(wall_ns), json.loads(body))).encode()

    def _envelope(self, wall_ns: int) -> dict[str, Any]:
        """What ChirpStack v4 wraps a payload in, before the profile's own places are laid over it."""
        application = str(uuid.uuid5(uuid.NAMESPACE_URL, self._profile.id))
        gateway = f"{zlib.crc32(application.encode()):016x}"
        return {
            "deduplicationId": "",
            "time": _rfc3339(wall_ns),
            "deviceInfo": {
                "tenantId": str(uuid.uuid5(uuid.NAMESPACE_URL, "courtyard")),
                "tenantName": "courtyard",
                "applicationId": application,
                "applicationName": self._profile.equipment_class,
                "deviceProfileId": str(uuid.uuid5(uuid.NAMESPACE_OID, self._profile.id)),
                "deviceProfileName": self._profile.id,
                "deviceName": self.id,
                "devEui": self.name,
                "tags": {},
            },
            "devAddr": f"{zlib.crc32(self.name.encode()):08x}",
            "adr": True,
            "dr": 5,
            "fCnt": self._frames,
            "fPort": 85,
            "confirmed": False,
            "data": "",
            "rxInfo": [{"gatewayId": gateway, "uplinkId": self._rng.getrandbits(32), "rssi": -80, "snr": 7.5}],
            "txInfo": {
                "frequency": 486300000,
                "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7, "codeRate": "CR_4_5"}},
            },
        }


def _over(base: Any, top: Any) -> Any:
    """`base` with `top` laid on it, through mappings and lists."""
    if isinstance(base, dict) and isinstance(top, dict):
        return base | {key: _over(base.get(key), value) for key, value in top.items()}
    if isinstance(base, list) and isinstance(top, list):
        return [_over(*pair) for pair in zip_longest(base[: len(top)], top)] + base[len(top) :]
    return top


def _rfc3339(wall_ns: int) -> str:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def _placeholder(template: str, body: bytes) -> Any:
    """What stands in a command where the profile's template has `{value}`; None where it says nothing of it."""
    try:
        wanted = json.loads(template)
    except ValueError:
        return body.decode("utf-8", "replace").strip()  # plain text: all of it is the value
    try:
        return _at_value(wanted, json.loads(body))
    except ValueError:
        return None


def _at_value(template: Any, document: Any) -> Any:
    if template == "{value}":
        return document
    if isinstance(template, dict) and isinstance(document, dict):
        found = (_at_value(part, document.get(key)) for key, part in template.items())
        return next((each for each in found if each is not None), None)
    return None


class MqttDevices:
    """The devices of one connection, and their way to the broker."""

    def __init__(
        self, connection: str, equipment: Sequence[SimEquipment], world: World, clock: Clock, sent: Callable[[], None]
    ) -> None:
        self.connection = connection
        self._world, self._clock, self._sent = world, clock, sent
        # Not the seed alone: what is sent after a restart is no duplicate of what was sent before it.
        rng = random.Random(f"{connection} {clock.wall_ns()}")
        self.devices = [Device(each, rng) for each in equipment]
        self.connected = False
        self.left = asyncio.Event()
        """Set while there is no connection to the broker."""
        self.left.set()
        self.refused = 0
        """Commands that made no sense, or that the equipment would not take."""
        self._said: set[str] = set()
        self._outbox: deque[tuple[str, bytes]] = deque(maxlen=_WAITING)
        self._due = asyncio.Event()
        self._up = asyncio.Event()
        self._up.set()
        self._session: asyncio.Timeout | None = None

    def tick(self, cut: bool) -> None:
        """Put on the way what is due; leave the broker where the connection is cut."""
        if cut and self._up.is_set():
            self._up.clear()
            if self._session:
                self._session.reschedule(asyncio.get_running_loop().time())
        elif not cut:
            self._up.set()
        for device in self.devices:
            model = self._world.models[device.id]
            reports = model.reports()  # asked always: a report that nobody could hear is lost, not late
            if not self.connected or device.id in self._world.silent:
                continue
            values = model.values()
            for kind in device.kinds:
                if reports or kind.due(values, self._clock.mono_s()):
                    self._tell(device, kind, values)

    def _tell(self, device: Device, kind: _Kind, values: Mapping[str, Value]) -> None:
        kind.told = {name: values[name] for name, _, _ in kind.points}
        kind.told_s = self._clock.mono_s()
        try:
            body = device.body(kind, values, self._clock.wall_ns())
        except ValueError as error:  # the model says what the profile has no code for
            if device.id not in self._said:
                self._said.add(device.id)
                _logger.warning("simulated %s: %s; the message is not sent", device.id, error)
            return
        self._outbox.append((kind.topic, body))
        self._due.set()

    def _tell_all(self, devices: Sequence[Device]) -> None:
        for device in devices:
            if device.id not in self._world.silent:
                values = self._world.models[device.id].values()
                for kind in device.kinds:
                    self._tell(device, kind, values)

    async def run(self, host: str, port: int) -> None:
        """Be connected to the broker whenever there is one, for ever."""
        while True:
            await self._up.wait()
            try:
                self.left.clear()
                async with asyncio.timeout(None) as self._session:
                    await self._talk(host, port)
            except* (TimeoutError, aiomqtt.MqttError) as lost:  # cut; or the broker has gone, or was never there
                _logger.debug("connection %s: %s", self.connection, lost.exceptions[0])
            finally:
                self.connected, self._session = False, None
                self._outbox.clear()
                self.left.set()
            await self._clock.sleep(_PAUSE_S)

    async def _talk(self, host: str, port: int) -> None:
        async with aiomqtt.Client(
            host, port, identifier=f"simulated-{self.connection}", timeout=2, logger=_quiet
        ) as client:
            for topic in sorted(topic for device in self.devices for topic in device.command_topics):
                await client.subscribe(topic, qos=1)
            self.connected = True
            self._tell_all(self.devices)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._listen(client), name=f"simulated commands[{self.connection}]")
                both.create_task(self._publish(client), name=f"simulated messages[{self.connection}]")

    async def _publish(self, client: aiomqtt.Client) -> None:
        while True:
            while self._outbox:
                topic, body = self._outbox.popleft()
                await client.publish(topic, body, qos=1, retain=True)
                self._sent()
            self._due.clear()
            await self._due.wait()

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            body = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
            for device in self.devices:
                if str(message.topic) in device.command_topics and device.id not in self._world.silent:
                    self._obey(device, str(message.topic), body)

    def _obey(self, device: Device, topic: str, body: bytes) -> None:
        """Do what a command says and tell the state that follows; nonsense is counted and changes nothing."""
        try:
            for point, value in device.commands(topic, body):
                self._world.models[device.id].write(point, value)
        except ValueError as error:
            self.refused += 1
            _logger.debug("%s refuses %r: %s", device.id, body[:100], error)
            return
        self._tell_all([device])
