"""What happens, sent to whoever keeps a connection open (server-sent events, WHATWG HTML 9.2).

Bounded three ways: so many streams at once, so many events kept for one that is slow (the hub's bound; what was
dropped is told as an event `missed`), and a comment every 15 s so that a dead peer is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from edge.events import Event, Hub, Listener

KEEP_ALIVE_S = 15.0
MOST_STREAMS = 32
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z


class Streams:
    """All open streams of one console."""

    def __init__(self, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self.open = 0
        self._keep_alive_s = keep_alive_s
        self._closing = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether no further stream may be opened."""
        return self.open >= MOST_STREAMS

    def close(self) -> None:
        """End all streams, now and from now on."""
        self._closing.set()

    async def serve(self, hub: Hub, kinds: Collection[str]) -> AsyncGenerator[bytes, None]:
        """The lines of one stream; of all kinds where `kinds` is empty."""
        self.open += 1
        closing = asyncio.create_task(self._closing.wait())
        try:
            with hub.subscribe() as listener:
                yield b"retry: 3000\nevent: hello\ndata: {}\n\n"
                async with aclosing(self._events(listener, kinds, closing)) as chunks:
                    async for chunk in chunks:
                        yield chunk
        finally:
            self.open -= 1
            closing.cancel()

    async def _events(
        self, listener: Listener, kinds: Collection[str], closing: asyncio.Task[Literal[True]]
    ) -> AsyncGenerator[bytes, None]:
        missed = 0
        coming = asyncio.ensure_future(anext(listener))
        try:
            while not closing.done():
                either: set[asyncio.Future[Any]] = {coming, closing}
                await asyncio.wait(either, timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED)
                if closing.done():
                    return
                if not coming.done():
                    yield b": still here\n\n"
                    continue
                event = coming.result()
                coming = asyncio.ensure_future(anext(listener))
                if listener.missed > missed:
                    yield b'event: missed\ndata: {"count":%d}\n\n' % (listener.missed - missed)
                    missed = listener.missed
                if not kinds or event.kind in kinds:
                    yield encode(event)
        finally:
            coming.cancel()


def encode(event: Event) -> bytes:
    """One event as it goes over the wire. The body is JSON in one line, so no line break can end it early."""
    time = datetime.fromtimestamp(event.time_ns / 1e9, UTC)
    data = orjson.dumps({"kind": event.kind, "time": time, "body": event.body}, default=str, option=_OPTIONS)
    return b"event: %s\ndata: %s\n\n" % (event.kind.encode(), data)
