"""Devices behind an MQTT broker: LoRaWAN network servers, Zigbee2MQTT, Tasmota and their like.

A connection is one broker; an address is the name of a device as it stands in topics (a dev EUI, a friendly
name). Profiles say on which topics which messages come and where each point lies in them; all topics are
subscribed with the device's name filled in. A command is a publish, confirmed by the next message that carries
the point. The client library is named in this file only.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import aiomqtt
from pydantic import Field, SecretStr, field_validator

from drivers.driver import Clock, ConnectionDown, DeviceSilent, Driver, Refused, Settings
from drivers.listening import Intake, Speaker
from drivers.mqtt_topics import MqttKeys, Route, Routes
from drivers.payload import BadPayload, Decoded, conform, written
from drivers.payload_keys import Messages, PayloadPoint, check
from drivers.point import Batch, Device, Point, Quality, Tally, Value
from drivers.units import Seconds

INBOX = 1024
"""Messages that wait to be decoded; further ones push out the oldest."""
READ_BACK_S = 3.0
"""A command is confirmed within this, or the device is silent."""
ANSWER_S = 5.0
"""The broker answers within this."""
_CONNECT_S = 3.0
_SUBSCRIBE_AT_ONCE = 50
_KEPT_IDS = 4096
_logger = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.client")
_quiet.setLevel(logging.CRITICAL)  # the library logs each lost message and connection; we count and say it once


class MqttSettings(Settings):
    """Keys of the connection in the site file."""

    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    username: str | None = None
    password: SecretStr | None = None
    tls: bool = False
    ca: Path | None = None
    """File of the authority that signed the broker's certificate, where the system does not know it."""
    client_id: str | None = Field(default=None, min_length=1, max_length=64)
    keepalive: Seconds = 30.0

    @field_validator("keepalive")
    @classmethod
    def _sane(cls, seconds: float) -> float:
        if not 5 <= seconds <= 3600:
            raise ValueError(f"keepalive is {seconds:g} s; write 5s to 1h")
        return seconds

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """What the broker has sent and nobody has decoded yet. Full, it forgets the oldest."""

    def __init__(self, intake: Intake) -> None:
        super().__init__(INBOX)
        self._intake = intake

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Never raises QueueFull."""
        if self.full():
            self.get_nowait()
            self._intake.count("dropped")
            self._intake.once.warn(
                "dropped", f"messages come faster than they are taken; the oldest of {INBOX} are dropped and counted"
            )
        super().put_nowait(item)


class _Recent:
    """Ids of the latest messages."""

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], None] = OrderedDict()

    def seen(self, message: str, identity: str) -> bool:
        """Whether it was there before; remembers it."""
        if (message, identity) in self._ids:
            return True
        self._ids[message, identity] = None
        if len(self._ids) > _KEPT_IDS:
            self._ids.popitem(last=False)
        return False


class MqttLink:
    """One open connection to a broker."""

    def __init__(self, name: str, settings: MqttSettings, intake: Intake, routes: Routes) -> None:
        self._name = name
        self._settings = settings
        self._intake = intake
        self._routes = routes
        self._recent = _Recent()
        self._waiting: dict[Point, list[asyncio.Future[Value]]] = {}
        self.inbox = _Inbox(intake)
        self.client: aiomqtt.Client | None = None
        self.tally: Tally = intake.tally

    def listen(self) -> AsyncIterator[Batch]:
        """Batches as messages come; ends by `ConnectionDown`."""
        return self._intake.batches()

    async def subscribe(self, client: aiomqtt.Client) -> None:
        """Subscribe to the topics of all devices. Raises `ConnectionDown` where the broker allows none."""
        self.client = client
        topics = self._routes.topics
        refused: list[str] = []
        for start in range(0, len(topics), _SUBSCRIBE_AT_ONCE):
            some = topics[start : start + _SUBSCRIBE_AT_ONCE]
            codes = await client.subscribe([(topic, 1) for topic in some])
            refused += [topic for topic, code in zip(some, codes, strict=False) if _number(code) >= 0x80]
        if not refused:
            return
        told = f"the broker {self._settings.place} refuses {len(refused)} of {len(topics)} topics, first {refused[0]}"
        if len(refused) == len(topics):
            raise ConnectionDown(f"connection {self._name}: {told}; allow the user to read them")
        self._intake.once.warn("refused", f"{told}; their devices will be silent until the user may read them")

    async def receive(self) -> None:
        """For ever: take what the broker sends. Raises `ConnectionDown` when it has gone."""
        assert self.client is not None  # noqa: S101  # subscribe came before
        try:
            async for message in self.client.messages:
                await self._take(message)
                while not self.inbox.empty():  # the library's iterator costs a task a message
                    await self._take(self.inbox.get_nowait())
        except aiomqtt.MqttError as error:
            raise ConnectionDown(
                f"connection {self._name}: the broker {self._settings.place} has gone ({error});"
                " is it running, and is the network up?"
            ) from error

    async def _take(self, message: aiomqtt.Message) -> None:
        topic = message.topic.value
        routes = self._routes.of(topic)
        if not routes:
            self._intake.unknown(("topic", topic), f"message on {topic[:120]}, of no device in the site file")
            return
        self.tally.messages += 1
        body = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
        for route in routes:
            await self._decode(route, body)

    async def _decode(self, route: Route, body: bytes) -> None:
        speaker = route.speaker
        try:
            decoded = route.decoder.decode(body)
        except BadPayload as error:
            self._bad(route, str(error))
            await self._intake.doubt(speaker, route.decoder.positions)
            return
        if decoded.id is not None and self._recent.seen(f"{speaker.device.id}/{route.message}", decoded.id):
            self._intake.count("duplicates")
            return
        if decoded.problems:
            self._bad(route, "; ".join(decoded.problems))
        await self._intake.take(speaker, decoded.readings, decoded.time_ns)
        if self._waiting:
            self._confirm(speaker, decoded)

    def _bad(self, route: Route, what: str) -> None:
        self.tally.bad_frames += 1
        device = route.speaker.device
        self._intake.once.warn(
            ("bad", device.id, route.message),
            f"{device.id}: message {route.message} cannot be used: {what[:300]}; does its profile fit the device?"
            " Further ones are only counted",
        )

    def _confirm(self, speaker: Speaker, decoded: Decoded) -> None:
        for position, value, quality in decoded.readings:
            if quality is Quality.GOOD:
                for waiting in self._waiting.get(speaker.device.points[position], ()):
                    if not waiting.done():
                        waiting.set_result(value)

    async def write(self, device: Device, point: Point, value: Value) -> Value:
        """Publish one value and return what the device's next message says."""
        topic, body = self._command(device, point, value)
        assert self.client is not None  # noqa: S101  # subscribe came before
        with self._expecting(point) as answer:
            try:
                await self.client.publish(topic, body, qos=1)
                async with asyncio.timeout(READ_BACK_S):
                    return await answer
            except aiomqtt.MqttError as error:
                place = self._settings.place
                raise ConnectionDown(f"{point.id}: the broker {place} did not take the command ({error})") from error
            except TimeoutError:
                self.tally.timeouts += 1
                raise DeviceSilent(
                    f"{point.id}: command sent to {topic}, but {device.id} has not reported {point.name} within"
                    f" {READ_BACK_S:g} s; is it powered and in range?"
                ) from None

    def _command(self, device: Device, point: Point, value: Value) -> tuple[str, str]:
        keys = point.address
        if not isinstance(keys, PayloadPoint) or not isinstance(device.address, MqttKeys) or keys.write is None:
            raise Refused(f"{point.id} cannot be written: its profile has no `write`")
        try:
            body = written(keys, conform(value, point.kind))
        except ValueError as error:
            raise Refused(f"{point.id} cannot be set to {value!r}: {error}") from None
        return keys.write.topic.replace("{device}", device.address.device), body

    @contextmanager
    def _expecting(self, point: Point) -> Iterator[asyncio.Future[Value]]:
        """The next good value of a point; asked for before the command, so that no answer is too fast."""
        answer: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(point, []).append(answer)
        try:
            yield answer
        finally:
            self._waiting[point].remove(answer)
            if not self._waiting[point]:
                del self._waiting[point]


def _number(code: Any) -> int:
    return int(getattr(code, "value", code))


@asynccontextmanager
async def _connected(name: str, settings: MqttSettings, inbox: _Inbox) -> AsyncIterator[aiomqtt.Client]:
    client = await _client(name, settings, inbox)
    paho = client._client  # aiomqtt passes neither of the two on, see below
    paho.connect_timeout = _CONNECT_S  # a stop must not wait longer for a host that does not answer
    try:
        await client.__aenter__()
    except aiomqtt.MqttError as error:
        paho.disconnect()  # a broker that accepted the socket and said nothing would keep it
        raise ConnectionDown(f"connection {name}: {_why(settings, error)}") from error
    except BaseException:
        paho.disconnect()
        raise
    try:
        yield client
    finally:
        with suppress(aiomqtt.MqttError):  # it is closed either way
            await client.__aexit__(None, None, None)


async def _client(name: str, settings: MqttSettings, inbox: _Inbox) -> aiomqtt.Client:
    context = None
    if settings.tls:
        try:
            context = await asyncio.to_thread(ssl.create_default_context, cafile=settings.ca)
        except OSError as error:
            raise ConnectionDown(f"connection {name}: ca: {settings.ca} cannot be used: {error}") from error
    return aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        identifier=settings.client_id or f"courtyard-{secrets.token_hex(6)}",
        keepalive=round(settings.keepalive),
        timeout=ANSWER_S,
        tls_context=context,
        queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", partial(_same, inbox)),
        max_queued_incoming_messages=INBOX,
        logger=_quiet,
    )


def _same(inbox: _Inbox, maxsize: int) -> _Inbox:
    return inbox


def _why(settings: MqttSettings, error: aiomqtt.MqttError) -> str:
    """What a refusal means, and what to do."""
    code = _number(getattr(error, "rc", None) or 0) if isinstance(error, aiomqtt.MqttCodeError) else 0
    if code in (4, 134):
        return f"the broker {settings.place} refuses user name or password; check username and password"
    if code in (5, 135):
        return (
            f"the broker {settings.place} does not let us in (not authorised); check username, password and its ACL"
        )
    if code in (2, 133):
        return f"the broker {settings.place} refuses the client id {settings.client_id!r}; choose another client_id"
    if "timed out" in str(error):
        return (
            f"the broker {settings.place} does not answer; are host and port right, and is it MQTT{_tls(settings)}?"
        )
    return f"the broker {settings.place} cannot be reached: {error}; is it running, are host and port right?"


def _tls(settings: MqttSettings) -> str:
    return " with TLS" if settings.tls else " without TLS"


@asynccontextmanager
async def _open(
    name: str, settings: MqttSettings, devices: Sequence[Device], clock: Clock
) -> AsyncIterator[MqttLink]:
    intake = Intake(name, devices, clock, _logger)
    link = MqttLink(name, settings, intake, Routes(devices, intake))
    async with _connected(name, settings, link.inbox) as client:
        try:
            await link.subscribe(client)
        except aiomqtt.MqttError as error:
            raise ConnectionDown(f"connection {name}: {_why(settings, error)}") from error
        async with intake.working(messages=link.receive(), silence=intake.watch()):
            yield link


MQTT = Driver(
    protocol="mqtt",
    settings=MqttSettings,
    device=MqttKeys,
    point=PayloadPoint,
    options=Messages,
    open=_open,
    section="messages",
    check=check,
)
