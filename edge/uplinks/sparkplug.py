"""Sparkplug B (Eclipse Sparkplug 3.0) over MQTT 3.1.1: one site is an edge node, its equipment are the devices.

    spBv1.0/<group>/NBIRTH, NDATA, NDEATH/<node>              the node; its death is the will
    spBv1.0/<group>/DBIRTH, DDATA, DDEATH/<node>/<equipment>  one metric for each point
    spBv1.0/<group>/NCMD/<node>                               `Node Control/Rebirth`
    spBv1.0/<group>/DCMD/<node>/<equipment>                   commands, if the site file allows them

What is said when is decided by `sparkplug_node`; this file carries it. Data go by QoS 0, which nobody confirms: the
cursor moves when the broker has answered something that was sent after them. What the broker had taken shortly
before a session or the primary host was lost is sent again, as historical.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Literal

import aiomqtt
from pydantic import Field

from drivers.driver import Clock
from drivers.units import Seconds
from edge import __version__
from edge.uplinks.broker import CommandSettings, Level
from edge.uplinks.changes import GATHER_S
from edge.uplinks.outbox import Outbox
from edge.uplinks.session import LOOK_AGAIN_S, RETAINED, UNHEARD, Session, bytes_of, lasting, surely
from edge.uplinks.shape import Body, Live, Row, SiteView, UplinkDown, Write
from edge.uplinks.sparkplug_host import PrimaryHost
from edge.uplinks.sparkplug_node import NAMESPACE, REBIRTH, Message, Node, Order
from edge.uplinks.sparkplug_payload import decode

SETTLE_S = 10.0
"""How often births and deaths are compared with what can be read."""
REBIRTH_S = 5.0
"""At most one rebirth in so long; a host that asks again meanwhile gets it afterwards."""
AT_A_TIME = 20
"""Births and messages published before others have their turn."""
KEPT_ROWS = 20_000
"""Rows kept at most to be sent again."""
WRITE_S = 2.0
"""A disk that takes no number in so long does not keep us from connecting."""
WHO = "sparkplug"
REASON = "DCMD over Sparkplug B"


log = logging.getLogger(__name__)


class Settings(CommandSettings):
    """Keys of an uplink of type `sparkplug`."""

    type: Literal["sparkplug"]
    group: Level = "courtyard"
    """The Sparkplug group."""
    node: Level | None = None
    """The edge node; the site's id where it says nothing. Unique in its group."""
    primary_host: Level | None = None
    """Send only while this host application says that it is online; until then rows wait in the log."""
    resend: Annotated[Seconds, Field(ge=0, le=3600)] = 120.0
    """What went out in so long before a session or the primary host was lost is sent again."""


class Sparkplug(Session):
    """An open uplink."""

    linger_s = 0.2

    def __init__(
        self,
        name: str,
        settings: Settings,
        site: SiteView,
        clock: Clock,
        node: Node,
        bdseq: Bdseq,
        current_alarms: Callable[[], Iterable[Body]],
        write: Write,
        refusal: type[Exception],
    ) -> None:
        self._mine = settings
        self._node = node
        self._bdseq = bdseq
        self._alarms = current_alarms
        self._write = write
        self._refusal = refusal
        self._host = PrimaryHost(settings.primary_host or "")
        self._host_changed = asyncio.Event()
        self._turn = asyncio.Lock()  # the order in which messages are numbered is the order in which they leave
        self._sent: deque[tuple[float, Row]] = deque(maxlen=KEPT_ROWS)
        self._rebirth, self._news = asyncio.Event(), asyncio.Event()
        self._dead = False  # our death has been told on this connection: nothing may follow it
        super().__init__(name, settings, clock, f"courtyard-{site.id}-{name}")

    # Rows

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        """Return once the broker has the rows. Raises UplinkDown."""
        client = await self.client()
        async with self._turn:
            if self._client is not client:  # another session has begun meanwhile, with numbers of its own
                raise UplinkDown(self._why, LOOK_AGAIN_S)
            await self._publish_rows(client, rows, late=late)

    async def _publish_rows(self, client: Outbox, rows: Sequence[Row], *, late: bool) -> None:
        try:
            await self._publish(client, self._node.data(rows, self._now_ms(), self.clock.mono_s(), late=late))
        except aiomqtt.MqttError as error:
            raise self.broken(client, error) from None
        await self.all_taken(client, self._node.topic("NDEATH"))
        self._remember(rows)
        self.stats.passed += sum(not self._node.tells_of(row.equipment) for row in rows)
        self.stats.rejected, self.stats.last_reject = self._node.unfit, self._node.last_unfit

    def _remember(self, rows: Sequence[Row]) -> None:
        now_s = self.clock.mono_s()
        self._sent.extend((now_s, row) for row in rows)
        self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        """Drop what has surely arrived."""
        while self._sent and now_s - self._sent[0][0] > self._mine.resend:
            self._sent.popleft()

    def announce(self, kind: str, key: str, body: Body | None) -> None:
        """Alarms have changed: the node's figures will say so."""
        del key, body
        if kind == "alarm":
            self._news.set()

    # The session

    async def prepare(self) -> aiomqtt.Will:
        """The next number of a connection, written down before it is used."""
        self._node.bdseq = await self._bdseq.next()
        topic, payload = self._node.death(self._now_ms())
        return aiomqtt.Will(topic, payload, 1, retain=False)

    async def begin(self, client: Outbox) -> None:
        """Ears first, then the primary host, then the births, then what may not have arrived."""
        self._rebirth, self._news, self._dead = asyncio.Event(), asyncio.Event(), False
        self._host.forget()
        self._host_changed.clear()
        await self.hears(client, self._node.topic("NCMD"))
        if self._mine.commands:
            await self.hears(client, self._node.topic("DCMD", "+"))
        if self._mine.primary_host and not await self.hears(client, *self._host.topics):
            raise aiomqtt.MqttError(f"it {UNHEARD.format(self._host.topics[0])}")
        self._forget(self.lost_s)
        async with self._turn:
            if self._mine.primary_host:
                await self._wait_for_host()  # nothing comes between this and the first birth
            await self._births(client)
            again = [row for _, row in self._sent]
            for at in range(0, len(again), self.batch):
                rows = again[at : at + self.batch]
                await self._publish(client, self._node.data(rows, self._now_ms(), self.clock.mono_s(), late=True))
                await surely(client.unsubscribe(self._node.topic("NDEATH")))
        self.beside(self._rebirths(client))
        self.beside(self._figures(client))
        self.beside(self._settled(client))

    async def _wait_for_host(self) -> None:
        if not self._host.online:
            self.waits(f"{self.where()}: the primary host {self._mine.primary_host} is not online")
        while not self._host.online:
            self._host_changed.clear()
            await self._host_changed.wait()

    async def end(self, client: Outbox) -> None:
        """Tell of our own death: the broker does that only for those who fall silent."""
        self._dead = True
        if self._node.session:
            topic, payload = self._node.death(self._now_ms())
            await self.say(client, topic, payload)

    async def _births(self, client: Outbox) -> None:
        await self._publish(client, self._node.birth(self._now_ms(), self._counts()))

    async def _publish(self, client: Outbox, messages: Iterator[Message]) -> None:
        """Publish with QoS 0, in order. Raises MqttError."""
        count = 0
        while not self._dead and (message := next(messages, None)):
            topic, payload = message
            self.drop(client, topic, payload)
            count += 1
            if count % AT_A_TIME == 0:
                await asyncio.sleep(0)
        if self._dead:
            raise aiomqtt.MqttError("the session is over")

    # Beside the rows

    async def _rebirths(self, client: Outbox) -> None:
        """Births again where a host asks for them; nothing else goes out meanwhile."""
        while True:
            await self._rebirth.wait()
            async with self._turn:
                self._rebirth.clear()
                await self._births(client)
            await self.clock.sleep(REBIRTH_S)

    async def _figures(self, client: Outbox) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            async with self._turn:
                await self._publish(client, self._node.counts(self._counts(), self._now_ms()))
            await self.clock.sleep(GATHER_S)

    async def _settled(self, client: Outbox) -> None:
        while True:
            await self.clock.sleep(SETTLE_S)
            async with self._turn:
                await self._publish(client, self._node.settle(self._now_ms(), self.clock.mono_s()))

    def _counts(self) -> dict[str, int]:
        alarms = list(self._alarms())
        waiting = sum(str(alarm.get("state")) == "unacknowledged" for alarm in alarms)
        return {"Alarms/Active": sum(bool(alarm.get("active")) for alarm in alarms), "Alarms/Unacknowledged": waiting}

    def _now_ms(self) -> int:
        return self.clock.wall_ns() // 1_000_000

    # What comes in

    async def hear(self, client: Outbox, message: aiomqtt.Message) -> None:
        """A command, or how the primary host is."""
        topic, payload = message.topic.value, bytes_of(message)
        if topic in self._host.topics:
            await self._heard_host(client, topic, payload)
            return
        try:
            if message.retain:
                raise ValueError(RETAINED)
            if topic == self._node.topic("NCMD"):
                self._node_command(payload)
            elif topic.startswith(f"{NAMESPACE}/"):
                self._device_command(client, topic.rpartition("/")[2], payload)
        except ValueError as error:
            self.refuse(topic, str(error))

    async def _heard_host(self, client: Outbox, topic: str, payload: bytes) -> None:
        try:
            self._host.take(topic, payload)
        except ValueError as error:
            self.refuse(topic, str(error))
            return
        self._host_changed.set()
        if self._node.session and not self._host.online:
            # At once, whatever else is under way (tck-id-message-flow-edge-node-birth-publish-phid-offline).
            await self.end(client)
            self._parted = True
            self.finish(f"{self.where()}: the primary host {self._mine.primary_host} has gone offline")

    def _node_command(self, payload: bytes) -> None:
        for metric in decode(payload).metrics:
            if metric.name != REBIRTH:
                raise ValueError(f"no command {metric.name or metric.alias!r}; there is {REBIRTH}")
            if metric.value is True:
                self._rebirth.set()

    def _device_command(self, client: Outbox, equipment: str, payload: bytes) -> None:
        known = self._node.known(equipment)
        if not known:
            raise ValueError(f"no device {equipment!r}")
        for order in self._node.orders(equipment, decode(payload, known)):
            if not self.errand(self._obey(client, order)):
                raise ValueError("too many commands are under way; try again later")

    async def _obey(self, client: Outbox, order: Order) -> None:
        """Carry a command out and tell how the point stands then; unchanged, where it was refused."""
        command = self._write(order.signal.id, order.value, WHO, REASON, None)
        await self.carry_out(order.signal.id, command, self._refusal)
        async with self._turn:
            await self._publish(client, self._node.answer(order.signal, self._now_ms()))


class Bdseq:
    """Numbers of connections, 0 to 255 and again, kept over restarts."""

    def __init__(self, last: int | None, keep: Callable[[int], Awaitable[None]]) -> None:
        self._last = last
        self._keep = keep
        self._writing: asyncio.Future[None] | None = None

    async def next(self) -> int:
        """The next number. Where it cannot be written down, it is used all the same."""
        self._last = 0 if self._last is None else (self._last + 1) % 256
        self._writing = asyncio.ensure_future(self._keep(self._last))
        done, _ = await asyncio.wait({self._writing}, timeout=WRITE_S)  # never cut off: others are written with it
        if not done:
            log.warning("bdSeq %d cannot be written down: after a restart it may be used again", self._last)
        return self._last


def open_sparkplug(
    name: str,
    settings: Settings,
    site: SiteView,
    clock: Clock,
    *,
    live: Live,
    newest: Callable[[], int],
    bdseq: Bdseq,
    current_alarms: Callable[[], Iterable[Body]],
    write: Write,
    refusal: type[Exception],
) -> AbstractAsyncContextManager[Sparkplug]:
    """The uplink for as long as the block lasts; the broker may come later.

    `live` gives the newest reading of a point, `newest` the number of the newest row; `write` carries out commands
    and raises `refusal` for what it will not do.
    """
    figures = {"Properties/Site": site.name or site.id, "Properties/Software": f"Courtyard {__version__}"}
    node = Node(settings.group, settings.node or site.id, site, live, newest, figures)
    uplink = Sparkplug(name, settings, site, clock, node, bdseq, current_alarms, write, refusal)
    return lasting(uplink)
