"""What every channel is: settings, one verb, one error, and a thread for libraries that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from drivers.profile import Strict
from edge.response.notice import Message

T = TypeVar("T")


class ChannelSettings(Strict):
    """Keys of one channel in the site file. Each type extends it."""

    type: str


class ChannelError(Exception):
    """A message did not go out. The text names no key and no whole phone number."""

    def __init__(self, text: str, *, retry: bool = False, rate: bool = False, after_s: float | None = None) -> None:
        """`retry`: it may well work soon. `rate`: there were too many. `after_s`: not before, the far end says."""
        super().__init__(text)
        self.rate = rate
        self.retry = retry
        self.after_s = after_s


class Channel(Protocol):
    """One open way to people."""

    room: int
    """Bytes of UTF-8 that a text may have."""
    per_minute: int
    """Messages in any minute; 0: no bound."""

    async def send(self, message: Message) -> None:
        """Send one message. Raises ChannelError where it did not arrive at the service."""
        ...


async def in_thread(name: str, work: Callable[[], T]) -> T:
    """Run blocking work in a thread of its own.

    Unlike the loop's executor, a thread that hangs holds up nobody: neither other work nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # the result where there is no error

    def run() -> None:
        try:
            result, error = work(), None
        except Exception as caught:
            result, error = None, caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
