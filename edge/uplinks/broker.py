"""Where an MQTT broker is, and how a connection to it is made: what all uplinks over a broker share.

What comes in: keys of the site file. What goes out: a client, not connected yet, of which the broker ends a dead
forerunner by itself.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Hashable
from contextlib import suppress
from typing import Annotated

import aiomqtt
from pydantic import AfterValidator, Field

from edge.uplinks.outbox import Outbox
from edge.uplinks.tls import NetworkSettings

CONNECT_S = 5.0
IN_FLIGHT = 100
"""Messages that wait for the broker's confirmation at a time; more only holds the loop for longer at a time."""

_LEVEL = re.compile(r"[^/+#\x00]{1,128}\Z")


def _level(text: str) -> str:
    if not _LEVEL.match(text):
        raise ValueError(f"{text!r} is no level of a topic; write 1 to 128 characters without / + and #")
    return text


def _prefix(text: str) -> str:
    if text.startswith("$") or not all(
        _LEVEL.match(level) and not re.search(r"\s", level) for level in text.split("/")
    ):
        raise ValueError(f"{text!r} is no beginning of a topic; write it like a or a/b, without spaces, + and #")
    return text


Level = Annotated[str, AfterValidator(_level)]
"""One level of a topic."""
Prefix = Annotated[str, AfterValidator(_prefix)]
"""The first levels of a topic."""


class BrokerSettings(NetworkSettings):
    """Where the broker is and who we are there. Each type of uplink extends it."""

    host: str = Field(default="127.0.0.1", min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """1883, or 8883 with tls, where it says nothing."""

    @property
    def usual_port(self) -> int:
        """The port, said or not."""
        return self.port or (8883 if self.tls else 1883)

    def own(self) -> Hashable:
        """Its topics on that broker."""
        names = (getattr(self, key, None) for key in ("prefix", "group", "node"))
        return self.type, self.host, self.usual_port, *names


class CommandSettings(BrokerSettings):
    """The same of an uplink by which points can be written."""

    commands: bool = False
    """Whether commands from there are carried out."""


async def reach(settings: BrokerSettings, context: ssl.SSLContext | None) -> None:
    """See that the right one listens there: the library connects in a thread that nothing can end. Raises OSError."""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(settings.host, settings.usual_port, ssl=context)
    except TimeoutError:
        raise OSError(f"no answer within {CONNECT_S:g} s") from None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def connection(
    settings: BrokerSettings, context: ssl.SSLContext | None, identifier: str, will: aiomqtt.Will | None, queued: int
) -> Outbox:
    """A client that is not connected yet. `queued`: incoming messages that may wait."""
    return Outbox(
        settings.host,
        settings.usual_port,
        username=settings.username,
        password=settings.secret,
        # Always the same: the broker then ends a dead connection of ours, and its will, before this one begins.
        identifier=identifier,
        clean_session=True,
        tls_context=context,
        will=will,
        logger=_saying_once(),
        timeout=CONNECT_S,
        keepalive=30,
        max_queued_incoming_messages=queued,
        max_inflight_messages=IN_FLIGHT,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],  # else each burst waits 40 ms for an ACK
    )


class _Once(logging.Filter):
    """What the library says of each message (too many wait) is said of the first."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        kind = str(record.msg)[:20]  # numbers come behind
        known = kind in self._said
        self._said.add(kind)
        return not known


def _saying_once() -> logging.Logger:
    """A log for one connection."""
    made = logging.Logger(__name__)
    made.parent = logging.getLogger(__name__)
    made.addFilter(_Once())
    return made


def let_go(client: Outbox) -> None:
    """Close what is left of a connection that was never answered.

    The library would keep it for half a minute, and tell a loop of it that there may not be any more.
    """
    inner = client._client
    with suppress(OSError):
        inner._sock_close()
    inner.on_socket_open = inner.on_socket_close = None  # a thread of it may still be connecting


def cut(client: Outbox) -> None:
    """End a connection without a DISCONNECT."""
    wire = client._client.socket()
    if isinstance(wire, socket.socket):
        with suppress(OSError):
            wire.shutdown(socket.SHUT_RDWR)
