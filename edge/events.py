"""What happened, told to whoever listens now: console pages, MQTT north, the demo's terminal.

Nothing here is durable and nobody here can hold up the house: a listener that does not keep up loses its
oldest events and is told how many. What must not be lost is in the ledger and the readings log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["alarm", "incident", "order", "reading", "push", "command", "connection", "clock"]
BOUND = 1_000
"""Events kept for one listener."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    kind: Kind
    body: dict[str, Any]
    time_ns: int


class Listener:
    """One who listens; an asynchronous iterator over events."""

    def __init__(self) -> None:
        self.missed = 0
        self._queue: deque[Event] = deque(maxlen=BOUND)
        self._wake = asyncio.Event()

    def put(self, event: Event) -> None:
        """Take an event; the oldest goes where there is no room."""
        if len(self._queue) == BOUND:
            self.missed += 1
        self._queue.append(event)
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()


class Hub:
    """Hands each event to every listener."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def publish(self, event: Event) -> None:
        """Tell everybody who listens; never waits."""
        for listener in self._listeners:
            listener.put(event)

    @contextmanager
    def subscribe(self) -> Iterator[Listener]:
        """Listen while in the block."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
