"""What has changed and is still to be told, gathered while the telling takes its time."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

GATHER_S = 0.5
"""What counts all alarms anew does so at most once in so long: in a storm each of them has changed."""

T = TypeVar("T")


class Changes(Generic[T]):
    """What has changed and is still to be told, by key: however often it changes meanwhile, it is told once."""

    def __init__(self) -> None:
        self._waiting: dict[str, T] = {}
        self._some = asyncio.Event()

    def add(self, key: str, change: T) -> None:
        """Does not wait. The newest change of a key counts, and goes last."""
        self._waiting.pop(key, None)
        self._waiting[key] = change
        self._some.set()

    def __contains__(self, key: str) -> bool:
        return key in self._waiting

    async def taken(self) -> dict[str, T]:
        """All that there is, as soon as there is something."""
        await self._some.wait()
        self._some.clear()
        found, self._waiting = self._waiting, {}
        return found
