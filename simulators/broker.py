"""An MQTT broker inside the process, for the demo and for tests that need no real one.

What comes in: a loopback address, port 0 for any free one. What goes out: a broker of MQTT 3.1.1 (amqtt) that
takes anybody, keeps nothing on disk and publishes nothing of its own. The sockets are ours, amqtt only speaks
on them, so that leaving the block leaves no connection and no task behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.session import Session

_LISTENER = "default"
_CONFIG_PLUGINS = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
_LEAVE_S = 1.0
"""Time for our own devices to disconnect from a broker that is about to go."""
_GOODBYE_S = 2.0
"""Time for amqtt to end its handlers of clients before they are cancelled."""


def _quieten() -> None:
    """amqtt logs every client that leaves as a warning or an error; nobody at the terminal can act on that."""
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    logging.getLogger("transitions").setLevel(logging.CRITICAL)


class _Broker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt without one of its habits: it sends each new client what is retained for the subscriptions of all."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribed = self.subscriptions.get(subscription[0], [])
        if any(each.client_id == session.client_id for each, _ in subscribed):
            await super()._publish_retained_messages_for_subscription(subscription, session)


class _Clients:
    """The connections of one broker: each is a task, and all of them end with it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let amqtt speak with one client until one of the two has enough."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # asyncio starts this as a task
        self._open[task] = writer
        try:
            await self._broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), _LISTENER)
        except asyncio.CancelledError:  # only `end` cancels; a task of asyncio's server reports it as an error
            return
        except Exception:  # whatever a client sends must not reach the loop's handler of exceptions
            logging.getLogger(__name__).debug("a client of the embedded broker failed", exc_info=True)
        finally:
            self._open.pop(task, None)
            writer.close()

    async def end(self) -> None:
        """Close all connections and wait until nothing of them runs any more."""
        tasks = list(self._open)
        for writer in self._open.values():
            writer.close()
        if not tasks:
            return
        _, slow = await asyncio.wait(tasks, timeout=_GOODBYE_S)
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


@asynccontextmanager
async def embedded_broker(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[str, int]]:
    """A running broker's host and port. Raises OSError where the port cannot be had."""
    _quieten()
    listener = ListenerConfig(type=ListenerType.EXTERNAL, bind="ours")
    broker = _Broker(BrokerConfig(listeners={_LISTENER: listener}, plugins=dict(_CONFIG_PLUGINS)))
    clients = _Clients(broker)
    server = await asyncio.start_server(clients.serve, host, port)  # first, so that a busy port starts nothing
    try:
        await broker.start()
        try:
            yield host, server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await broker.shutdown()
    finally:
        server.close()
        await clients.end()


class Guest(Protocol):
    """Simulated devices at a broker."""

    left: asyncio.Event
    """Set while they are not connected."""

    def tick(self, cut: bool) -> None:
        """Follow the world, and leave the broker where the connection is cut."""
        ...


class OwnBroker:
    """A broker of our own that goes when one of its connections is cut, and comes back at the same port."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.users: dict[str, Guest] = {}
        """Our own devices, by connection."""
        self._running = AsyncExitStack()
        self._up = False

    async def start(self) -> None:
        """Raises OSError where the port is taken."""
        self.address = await self._running.enter_async_context(embedded_broker(*self.address))
        self._up = True

    async def stop(self) -> None:
        """Let its own devices leave first: then nobody has to time out."""
        if self._up:
            self._up = False
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await asyncio.gather(*(user.left.wait() for user in self.users.values()))
            await self._running.aclose()

    async def follow(self, cut: bool) -> None:
        """Be up or down as the connections are."""
        for user in self.users.values():
            user.tick(cut)
        if cut:
            await self.stop()
        elif not self._up:
            with suppress(OSError):  # something else has the port just now: the next look tries again
                await self.start()
