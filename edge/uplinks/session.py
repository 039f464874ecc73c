"""A connection to an MQTT broker that comes back by itself, for uplinks that have more to say than readings.

What comes in: where the broker is, and what an uplink does at the beginning, with each message and at the end. What
goes out: a connected client while there is one, or `UplinkDown` with the reason while there is none. A session that
fails anywhere ends as a whole: the broker then sends the will, and everything begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

import aiomqtt

from drivers.driver import Clock
from edge.uplinks.broker import IN_FLIGHT, BrokerSettings, connection, cut, let_go, reach
from edge.uplinks.outbox import Outbox
from edge.uplinks.shape import Stats, UplinkDown

CONFIRM_S = 15.0
GOODBYE_S = 1.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
RETAINED = "a retained command would be carried out at every connect; publish it without retain"
LOOK_AGAIN_S = 1.0
"""How often `drain` asks whether the connection is back; the connection has its own pauses."""
DENIED = 128
"""Answers to a subscription from here on say no."""
UNHEARD = "does not let us listen to {}; allow it there"
BRIEF_S, BRIEFLY = 60.0, 3
"""After so many connections in a row that stood for a shorter time than that, another client may have our name."""
AT_ONCE = 20
"""Errands (commands, requests) that may be under way at a time; more are refused."""

T = TypeVar("T")
S = TypeVar("S", bound="Session")

log = logging.getLogger(__name__)


class Session(ABC):
    """An open uplink over a broker. It connects, and connects again, by itself."""

    batch = 500
    linger_s = 0.0
    queued = 1000
    """Incoming messages that may wait; more are dropped by the library."""

    def __init__(self, name: str, settings: BrokerSettings, clock: Clock, identifier: str) -> None:
        self.stats = Stats()
        self.refused = 0
        """Commands that were not carried out."""
        self.name = name
        self.clock = clock
        self._settings = settings
        self._identifier = identifier
        self._deaf: set[str] = set()  # topics that the broker has not let us listen to
        self._client: Outbox | None = None
        self._connected: Outbox | None = None  # also before rows may be sent
        self._why = "not connected"
        self._tried = asyncio.Event()
        self._over: asyncio.Future[None] | None = None
        self._finished = self._stood = False
        self._parted = False  # we have said goodbye ourselves, and no will is wanted
        self._publishing = asyncio.Lock()  # rows and events share one outbox
        self._since_s = 0.0  # monotonic time at which the present session began
        self.lost_s = 0.0
        """Monotonic time at which the last session ended."""
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: asyncio.TaskGroup | None = None
        self._errands = 0
        self._jitter = random.Random(name)
        self._life = asyncio.create_task(self._live(), name=f"uplink[{name}] connection")

    # What an uplink says

    async def prepare(self) -> aiomqtt.Will | None:
        """Before each connect: what the broker is to publish where we fall silent."""
        return None

    @abstractmethod
    async def begin(self, client: Outbox) -> None:
        """Connected: return once rows may be sent. Messages are heard meanwhile."""

    @abstractmethod
    async def hear(self, client: Outbox, message: aiomqtt.Message) -> None:
        """A message has come in. What it raises, apart from MqttError, ends the uplink."""

    @abstractmethod
    async def end(self, client: Outbox) -> None:
        """Before an intended disconnect: the broker sends no will then."""

    # What an uplink uses

    async def client(self) -> Outbox:
        """The connected client. Raises UplinkDown where there is none."""
        await self._tried.wait()
        if self._life.done():
            self._life.result()
        if self._client is None:
            raise UplinkDown(self._why, LOOK_AGAIN_S)
        return self._client

    async def confirmed(self, client: Outbox, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish (topic, payload) with QoS 1; return once the broker has all. Raises UplinkDown."""
        try:
            await self.published(client, messages)
        except aiomqtt.MqttError as error:
            raise self.broken(client, error) from None

    async def published(self, client: Outbox, messages: Iterable[tuple[str, bytes]], *, retain: bool = False) -> None:
        """Publish (topic, payload) with QoS 1; return once the broker has all. Raises MqttError."""
        waiting = iter(messages)  # each is written when its turn comes
        async with self._publishing:
            while part := list(islice(waiting, IN_FLIGHT)):
                await client.publish_all(part, CONFIRM_S, retain=retain)

    async def say(self, client: Outbox, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1; return once the broker has it. Raises MqttError."""
        await surely(client.publish(topic, payload, 1, retain))

    def drop(self, client: Outbox, topic: str, payload: bytes) -> None:
        """Publish with QoS 0, at once. Raises MqttError where there is no connection."""
        info = client._client.publish(topic, payload, 0)
        if info.rc:
            raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")

    async def hears(self, client: Outbox, *topics: str) -> bool:
        """Subscribe with QoS 1; whether the broker allows any of it, told once where not all. Raises MqttError."""
        codes: Iterable[Any] = await surely(client.subscribe([(topic, 1) for topic in topics]))
        answers = zip(topics, codes, strict=True)
        denied = {topic for topic, code in answers if getattr(code, "value", code) >= DENIED}
        for topic in sorted(denied - self._deaf):
            log.warning("uplink %s: %s %s", self.name, self.where(), UNHEARD.format(topic))
        self._deaf |= denied
        return len(denied) < len(topics)

    async def all_taken(self, client: Outbox, topic: str) -> None:
        """Return once the broker has read everything that was published before. Raises UplinkDown.

        For QoS 0, which nobody confirms: a broker answers what comes over one connection in order, so its answer to
        an UNSUBSCRIBE, of a topic that we have not subscribed to, says that it has all that went before.
        """
        gone = self._gone
        asked = asyncio.ensure_future(client.unsubscribe(topic, timeout=CONFIRM_S + GOODBYE_S))
        try:
            await asyncio.wait({asked, gone}, timeout=CONFIRM_S, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done() and not gone.done():
                raise self.broken(client, aiomqtt.MqttError("Operation timed out"))
            if gone.done() or self._client is not client:
                raise UplinkDown(self._why, LOOK_AGAIN_S)
            asked.result()
        except aiomqtt.MqttError as error:
            raise self.broken(client, error) from None
        finally:
            asked.cancel()
            await asyncio.wait({asked})

    def broken(self, client: Outbox, error: aiomqtt.MqttError) -> UplinkDown:
        """Give a connection up that did not do what it must; what `send` raises then.

        It is cut off: after a DISCONNECT the broker would not publish our will.
        """
        if self._client is client:
            self.finish(f"{self.where()} did not confirm: {error}")
            cut(client)
        return UplinkDown(self._why, LOOK_AGAIN_S)

    def waits(self, why: str) -> None:
        """Connected, but rows may not be sent yet; `why` is for staff."""
        self._why = self.stats.last_error = why
        self.stats.state = "down"
        self._tried.set()

    def finish(self, why: str) -> None:
        """End this session; another begins after a pause."""
        self._why, self._client, self._finished = why, None, True
        self.stats.state, self.stats.last_error = "down", why
        if self._over is not None and not self._over.done():
            self._over.set_exception(aiomqtt.MqttError(why))

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside all else for as long as the session lasts, whatever else there is to do."""
        assert self._tasks is not None  # noqa: S101  # called while there is a session
        self._tasks.create_task(work)

    def errand(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do something beside all else for as long as the session lasts; False where too much is under way."""
        counted = self._counted(work)
        if self._tasks is not None and self._errands < AT_ONCE:
            with suppress(RuntimeError):  # the session is ending
                self._tasks.create_task(counted)
                self._errands += 1
                return True
        counted.close()
        work.close()
        return False

    async def carry_out(self, what: str, command: Awaitable[object], refusal: type[Exception]) -> None:
        """Await a command. One that is refused or fails is no reason to end the connection: it is counted."""
        try:
            await command
        except refusal as error:
            self.refuse(what, str(error))
        except Exception:
            log.exception("uplink %s: command to %s failed", self.name, what)
            self.refused += 1

    def refuse(self, what: str, why: str) -> None:
        """Count what is not carried out; the first is logged."""
        self.refused += 1
        if self.refused == 1:
            log.warning("uplink %s: %s: %s; this and others like it are counted", self.name, what, why)

    def where(self) -> str:
        """The broker, for staff."""
        return f"broker {self._settings.host}:{self._settings.usual_port}"

    async def close(self) -> None:
        """Say goodbye (a will is sent only for those who do not) and disconnect."""
        while not self._life.done():  # a cancellation can be lost, and a session begin after it
            await self._farewell()
            self._life.cancel()
            await asyncio.wait({self._life}, timeout=GOODBYE_S)

    async def _farewell(self) -> None:
        client, self._client = self._connected, None
        if client is None:
            return
        client.timeout = GOODBYE_S
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self.end(client)
            self._parted = True
        except (aiomqtt.MqttError, TimeoutError):
            cut(client)  # then the will must say it

    # The connection

    async def _live(self) -> None:
        failures = brief = 0
        try:
            while True:
                self._stood = False
                try:
                    await self._connect()
                except* (aiomqtt.MqttError, OSError) as group:
                    error = _first(group)
                    what = "has gone" if self._stood else "cannot be reached"
                    if not self._finished:
                        self._why = f"{self.where()} {what}: {error or type(error).__name__}"
                        brief = brief + 1 if self._stood and self.lost_s - self._since_s < BRIEF_S else 0
                        if brief >= BRIEFLY:
                            self._why += f"; is there another client called {self._identifier}?"
                # A connection that stood begins anew with short pauses.
                failures = 0 if self._stood else failures + 1
                self.stats.state, self.stats.last_error = "down", self._why
                self._tried.set()
                pause = min(FIRST_PAUSE_S * 2 ** min(failures, 16), LONGEST_PAUSE_S)
                await self.clock.sleep(pause * self._jitter.uniform(0.5, 1.0))
        finally:
            self._tried.set()  # whoever waits learns from the task what happened

    async def _connect(self) -> None:
        """One connection, for as long as it lasts; ends by MqttError or OSError."""
        self._over, self._finished, self._parted = None, False, False
        context = self._settings.context()
        await reach(self._settings, context)
        made = connection(self._settings, context, self._identifier, await self.prepare(), self.queued)
        made._disconnected.add_done_callback(_seen)  # else a connection that we cut is told as a fault of the program
        try:
            async with made as client, asyncio.TaskGroup() as tasks:
                assert isinstance(client, Outbox)  # noqa: S101  # gives back itself
                await self._session(client, tasks)
        finally:
            let_go(made)

    async def _session(self, client: Outbox, tasks: asyncio.TaskGroup) -> None:
        """From the broker's welcome until the connection is lost."""
        client.pending_calls_threshold = 2 * IN_FLIGHT
        over = self._over = asyncio.get_running_loop().create_future()
        self._tasks, self._errands, self._connected = tasks, 0, client
        self._gone = asyncio.get_running_loop().create_future()
        try:
            tasks.create_task(_until(over))
            listening = tasks.create_task(self._listen(client))
            await self.begin(client)
            self._why = f"{self.where()} has gone"  # until now: why the last try failed
            self._client, self._stood, self.stats.state = client, True, "up"
            self._since_s = self.clock.mono_s()
            self._tried.set()
            await listening
        finally:
            self._client = self._connected = self._tasks = None
            if not self._parted:
                cut(client)  # after a DISCONNECT the broker would not publish our will
            self.lost_s = self.clock.mono_s()
            self._gone.set_result(None)
            client.give_up(self._why)
            over.cancel()
            _seen(over)

    async def _listen(self, client: Outbox) -> None:
        async for message in client.messages:
            await self.hear(client, message)

    async def _counted(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._errands -= 1


@asynccontextmanager
async def lasting(uplink: S) -> AsyncIterator[S]:
    """The uplink for as long as the block lasts; the broker may come later."""
    try:
        yield uplink
    finally:
        await uplink.close()


async def _until(over: asyncio.Future[None]) -> None:
    await over


async def surely(work: Coroutine[Any, Any, T]) -> T:
    """Await a call of aiomqtt, which can lose a cancellation (`wait_for` of Python 3.11) and so must run apart."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
        return task.result()
    finally:
        task.cancel()


def _seen(ended: asyncio.Future[None]) -> None:
    if not ended.cancelled():
        ended.exception()


def bytes_of(message: aiomqtt.Message) -> bytes:
    """What a message carries."""
    return message.payload if isinstance(message.payload, bytes) else b""


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
