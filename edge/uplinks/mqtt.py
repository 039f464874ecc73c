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

import asyncio
import logging
import random
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import aiomqtt
import orjson
from pydantic import Field, StringConstraints

from drivers.driver import Clock
from drivers.point import Value
from edge.uplinks.command import Command, parse_command
from edge.uplinks.outbox import Outbox
from edge.uplinks.shape import Row, SiteView, Stats, UplinkDown
from edge.uplinks.tls import NetworkSettings

IN_FLIGHT = 100
"""Messages that wait for the broker's confirmation at a time; more only holds the loop for longer at a time."""
CONNECT_S = 5.0
CONFIRM_S = 15.0
GOODBYE_S = 1.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LOOK_AGAIN_S = 1.0
"""How often `drain` asks whether the connection is back; the connection has its own pauses."""
QUEUED = 1000
"""Incoming messages that may wait; more are dropped by the library."""
OBEYED = 20
"""Commands that may be under way at a time; more are refused."""
OVER = frozenset({"normal", "verified", "cancelled", "closed"})
"""States after which there is nothing more to show."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_IN_TOPICS = re.compile(r"[/+#\x00]")

Body = Mapping[str, Any]
Write = Callable[[str, Value, str, str, float | None], Awaitable[Body]]
"""(point id, value, who, reason, for so many seconds) -> what was done."""

log = logging.getLogger(__name__)


class Settings(NetworkSettings):
    """Keys of an uplink of type `mqtt`."""

    type: Literal["mqtt"]
    host: str = Field(default="127.0.0.1", min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """1883, or 8883 with tls, where it says nothing."""
    commands: bool = False
    """Whether `.../set` is listened to."""
    prefix: Annotated[str, StringConstraints(pattern=r"^[^/+#$\s]+(/[^/+#\s]+)*$")] = "courtyard"


class Refusal(Exception):
    """Raised by `write` for what will not be done; the message goes to the asker."""


class MqttNorth:
    """An open uplink. It connects, and connects again, by itself."""

    batch = 500
    linger_s = 0.0

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
        self.stats = Stats()
        self.refused = 0
        """Commands that were not carried out."""
        self._name = name
        self._settings = settings
        self._port = settings.port or (8883 if settings.tls else 1883)
        self._site = site
        self._clock = clock
        self._current = current
        self._write = write if settings.commands else None
        self._refusal = refusal
        self._base = f"{settings.prefix}/{site.id}"
        self._client: Outbox | None = None
        self._topics: dict[str, str] = {}
        self._why = "not connected"
        self._tried = asyncio.Event()
        self._changes: dict[tuple[str, str], Body | None] = {}
        self._changed = asyncio.Event()
        self._obeying = 0
        self._jitter = random.Random(name)
        self._life = asyncio.create_task(self._live(), name=f"uplink[{name}] connection")

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        """Return once the broker has confirmed every row. Raises UplinkDown."""
        await self._tried.wait()
        if self._life.done():
            self._life.result()
        client = self._client
        if client is None:
            raise UplinkDown(self._why, LOOK_AGAIN_S)
        written = self._late_reading if late else self._reading
        try:
            for at in range(0, len(rows), IN_FLIGHT):
                await client.publish_all(map(written, rows[at : at + IN_FLIGHT]), CONFIRM_S)
        except aiomqtt.MqttError as error:
            if self._client is not client:
                raise UplinkDown(self._why, LOOK_AGAIN_S) from None
            raise UplinkDown(f"{self._where()} did not confirm: {error}", LOOK_AGAIN_S) from None

    def announce(self, kind: str, key: str, body: Body | None) -> None:
        """Show an alarm, order or incident as it stands now; None: there is nothing more to show. Does not wait."""
        if kind not in self._current:
            return
        self._changes.pop((kind, key), None)  # what changed last goes last
        self._changes[kind, key] = body
        self._changed.set()

    async def close(self) -> None:
        """Say goodbye (a will is sent only for those who do not) and disconnect."""
        client = self._client
        if client is not None:
            client.timeout = GOODBYE_S
            with suppress(aiomqtt.MqttError):
                await client.publish(f"{self._base}/status", _json({"state": "offline"}), 1, True, timeout=GOODBYE_S)
        while not self._life.done():  # a task group that is ending by itself loses a cancellation
            self._life.cancel()
            await asyncio.wait({self._life}, timeout=GOODBYE_S)

    # The connection

    async def _live(self) -> None:
        """Connect, again and again. What staff read of it in the log is told by `drain`, once."""
        failures = 0
        try:
            while True:
                try:
                    await self._connect()
                except* (aiomqtt.MqttError, OSError) as group:
                    error = _first(group)
                    what = "has gone" if self.stats.state == "up" else "cannot be reached"
                    self._why = f"{self._where()} {what}: {error or type(error).__name__}"
                # A connection that stood begins anew with short pauses.
                failures = 0 if self.stats.state == "up" else failures + 1
                self.stats.state, self.stats.last_error = "down", self._why
                self._tried.set()
                pause = min(FIRST_PAUSE_S * 2 ** min(failures, 16), LONGEST_PAUSE_S)
                await self._clock.sleep(pause * self._jitter.uniform(0.5, 1.0))
        finally:
            self._tried.set()  # whoever waits learns from the task what happened

    async def _connect(self) -> None:
        """One connection, for as long as it lasts; ends by MqttError or OSError."""
        await self._reach()
        async with self._made() as client, asyncio.TaskGroup() as tasks:
            client.pending_calls_threshold = 2 * IN_FLIGHT
            await self._greet(client)
            tasks.create_task(self._show_changes(client))
            self._client = client
            self.stats.state = "up"
            self._tried.set()
            try:
                await self._listen(client, tasks)
            finally:
                self._client = None
                self._why = f"{self._where()} has gone"
                client.give_up(self._why)

    async def _reach(self) -> None:
        """See that somebody listens there: the library connects in a thread that nothing can end."""
        try:
            async with asyncio.timeout(CONNECT_S):
                _, writer = await asyncio.open_connection(self._settings.host, self._port)
        except TimeoutError:
            raise OSError(f"no answer within {CONNECT_S:g} s") from None
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def _made(self) -> Outbox:
        return Outbox(
            self._settings.host,
            self._port,
            username=self._settings.username,
            password=self._settings.secret,
            # Always the same: the broker then ends a dead connection of ours, and its will, before this one begins.
            identifier=f"courtyard-{self._site.id}-{self._name}",
            tls_context=self._settings.context(),
            will=aiomqtt.Will(f"{self._base}/status", _json({"state": "offline"}), 1, True),
            timeout=CONNECT_S,
            keepalive=30,
            max_queued_incoming_messages=QUEUED,
            max_inflight_messages=IN_FLIGHT,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],  # else each burst waits 40 ms for an ACK
        )

    async def _greet(self, client: aiomqtt.Client) -> None:
        """Online; everything as it stands; then the ear to the ground."""
        await client.publish(f"{self._base}/status", _json({"state": "online"}), 1, True)
        self._changes.clear()
        for kind, current in self._current.items():
            for body in list(current()):
                if not _over(body):
                    await self._show(client, kind, str(body["id"]), body)
        await client.subscribe([(f"{self._base}/{kind}s/+", 1) for kind in self._current])
        if self._write is not None:
            await client.subscribe(f"{self._base}/+/+/set", 1)

    async def _listen(self, client: aiomqtt.Client, tasks: asyncio.TaskGroup) -> None:
        async for message in client.messages:
            levels = message.topic.value.removeprefix(f"{self._base}/").split("/")
            payload = message.payload if isinstance(message.payload, bytes) else b""
            if len(levels) == 3 and levels[2] == "set":
                await self._command(client, tasks, f"{levels[0]}.{levels[1]}", payload, message.retain)
            elif len(levels) == 2 and message.retain and payload:
                self._tidy(levels[0].removesuffix("s"), levels[1])

    def _tidy(self, kind: str, key: str) -> None:
        """Take away what the broker still shows from before, if it is over."""
        shown = self._current.get(kind)
        if shown is not None and not any(_topic(str(body["id"])) == key and not _over(body) for body in shown()):
            self.announce(kind, key, None)

    # What goes out

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

    async def _show_changes(self, client: aiomqtt.Client) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._changes:
                kind, key = next(iter(self._changes))
                await self._show(client, kind, key, self._changes.pop((kind, key)))

    async def _show(self, client: aiomqtt.Client, kind: str, key: str, body: Body | None) -> None:
        topic = f"{self._base}/{kind}s/{_topic(key)}"
        over = body is None or _over(body)
        if body is not None:
            await client.publish(topic, _json(body), 1, not over)
        if over:
            await client.publish(topic, b"", 1, True)

    # What comes in

    async def _command(
        self, client: aiomqtt.Client, tasks: asyncio.TaskGroup, point: str, payload: bytes, retained: bool
    ) -> None:
        """Begin to carry it out; what cannot be is answered before the next one is looked at."""
        try:
            command = parse_command(payload)
            if retained:
                raise ValueError(
                    "a retained command would be carried out at every connect; publish it without retain"
                )
            if self._obeying >= OBEYED:
                raise ValueError(f"{OBEYED} commands are under way; try again later")
        except ValueError as error:
            await self._answer(client, point, None, {"ok": False, "error": str(error)})
            return
        self._obeying += 1
        tasks.create_task(self._obey(client, point, command))

    async def _obey(self, client: aiomqtt.Client, point: str, command: Command) -> None:
        try:
            await self._answer(client, point, command.id, await self._carry_out(point, command))
        finally:
            self._obeying -= 1

    async def _carry_out(self, point: str, command: Command) -> dict[str, Any]:
        assert self._write is not None  # noqa: S101  # else nobody subscribed
        try:
            done = await self._write(point, command.value, command.who, command.reason, command.for_s)
        except self._refusal as error:
            return {"ok": False, "error": str(error)}
        except Exception:  # one command that fails is no reason to end the connection
            log.exception("uplink %s: command to %s failed", self._name, point)
            return {"ok": False, "error": "failed; the gateway's log says why"}
        return {"ok": done.get("result", "done") == "done", **done}

    async def _answer(self, client: aiomqtt.Client, point: str, mark: str | int | None, body: dict[str, Any]) -> None:
        if not body["ok"]:
            self.refused += 1
            if self.refused == 1:
                log.warning(
                    "uplink %s: command to %s is not carried out: %s",
                    self._name,
                    point,
                    body.get("error", "not taken"),
                )
        marked = body if mark is None else {**body, "id": mark}
        equipment, _, name = point.rpartition(".")
        await client.publish(f"{self._base}/{equipment}/{name}/result", _json(marked), 1)

    def _where(self) -> str:
        return f"broker {self._settings.host}:{self._port}"


@asynccontextmanager
async def open_mqtt(
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
) -> AsyncIterator[MqttNorth]:
    """The uplink for as long as the block lasts; the broker may come later.

    `current_...` give bodies with `id` and `state`; `write` carries out commands and raises `refusal` for what
    it will not do.
    """
    current = {"alarm": current_alarms, "order": current_orders, "incident": current_incidents}
    uplink = MqttNorth(name, settings, site, clock, current, write, refusal)
    try:
        yield uplink
    finally:
        await uplink.close()


def _json(body: Body) -> bytes:
    """JSON; whatever has no form in it (a time, an exception) as its text."""
    return orjson.dumps(body, default=str, option=orjson.OPT_NON_STR_KEYS)


def _over(body: Body) -> bool:
    return str(body.get("state", "")).lower() in OVER


def _topic(text: str) -> str:
    """An id as one level of a topic."""
    return _NOT_IN_TOPICS.sub("_", text)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
