"""One channel's own queue and task: a slow or dead channel delays nobody but itself.

What is critical goes first. What finds no token in the robot's bucket waits, and all that waits then goes as one
digest. Attempts are repeated with growing pauses only where that may help; while a channel is down each message has
one attempt, so that the next one on the ladder is called soon.
"""

from __future__ import annotations

import asyncio
import logging
import random
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from drivers.driver import Clock
from drivers.point import Language
from edge.response.bucket import Bucket
from edge.response.channels import open_channel
from edge.response.channels.channel import Channel, ChannelError, ChannelSettings
from edge.response.notice import PRIORITIES, Message, compose_digest

ATTEMPTS = 4
PAUSE_S = 1.0
"""Before the second attempt; doubles."""
RATE_PAUSE_S = 5.0
"""The same, where the service says that there were too many messages."""
PATIENCE_S = 30.0
"""A service that asks for a longer pause is a failure, so that others are called."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt."""

    error: str | None
    """None: delivered."""
    text: str
    """As it was sent, by itself or in a digest."""
    final: bool
    """No further attempt will be made."""


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """One message to one recipient, waiting in a lane."""

    message: Message
    wanted: Callable[[], bool]
    """False once somebody has answered: it is then dropped."""
    settle: Callable[[Outcome | None], Awaitable[None]]
    """Told after each attempt; None where it was dropped."""


class Lane:
    """One channel and what waits for it."""

    def __init__(self, name: str, settings: ChannelSettings, folder: Path, clock: Clock, language: Language) -> None:
        self.name = name
        self.sent = 0
        self.failed = 0
        self.down = False
        """The last message could not be delivered."""
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._language: Language = language
        self._urgent: deque[Push] = deque()
        self._other: deque[Push] = deque()
        self._wake = asyncio.Event()
        self._busy = False

    @property
    def queued(self) -> int:
        """Messages that wait, the one under way included."""
        return len(self._urgent) + len(self._other) + self._busy

    def put(self, push: Push) -> None:
        """Queue a message; never waits."""
        (self._urgent if push.message.urgent else self._other).append(push)
        self._wake.set()

    async def run(self) -> None:
        """Send what is queued, for ever."""
        async with AsyncExitStack() as stack:
            try:
                channel = await stack.enter_async_context(open_channel(self._settings, self._folder, self._clock))
            except (ChannelError, OSError) as error:
                channel = _Closed(str(error))
            except Exception as error:  # one channel that cannot be opened is no reason to tell nobody
                channel = _Closed(f"cannot be opened ({_place(error)})")
            size = channel.per_minute
            bucket = Bucket(size, size // 3) if size else None
            while True:
                pushes = await self._next(bucket)
                self._busy = True
                try:
                    await self._deliver(channel, bucket, pushes)
                finally:
                    self._busy = False

    async def _next(self, bucket: Bucket | None) -> list[Push]:
        """What goes out next: one message, or all that had to wait as one digest."""
        overflow = self.down
        while True:
            await self._drop_unwanted()
            if not self._urgent and not self._other:
                await self._wake.wait()
                self._wake.clear()
                continue
            wait_s = bucket.wait_s(self._clock.mono_s(), bool(self._urgent)) if bucket else 0.0
            if wait_s > 0:
                overflow = True
                await wake_or_wait(self._wake, self._clock, wait_s)
            elif self._urgent:
                return [self._urgent.popleft()]
            else:
                return [self._other.popleft() for _ in range(len(self._other) if overflow else 1)]

    async def _drop_unwanted(self) -> None:
        for queue in (self._urgent, self._other):
            for push in [push for push in queue if not push.wanted()]:
                queue.remove(push)
                await push.settle(None)

    async def _deliver(self, channel: Channel, bucket: Bucket | None, pushes: Sequence[Push]) -> None:
        message = pushes[0].message if len(pushes) == 1 else self._digest(pushes, channel.room)
        attempts = 1 if self.down else ATTEMPTS
        for attempt in range(1, attempts + 1):
            await self._token(channel, bucket, message.urgent)
            if not any(push.wanted() for push in pushes):
                for push in pushes:
                    await push.settle(None)
                return
            error = await self._attempt(channel, message)
            final = error is None or attempt == attempts or not error.retry or (error.after_s or 0) > PATIENCE_S
            outcome = Outcome(str(error) if error else None, message.text, final)
            if final:
                self._note(error)
            for push in pushes:
                await push.settle(outcome)
            if error is None or final:
                return
            await self._pause(channel, bucket, _pause_s(error, attempt), message.urgent)

    async def _token(self, channel: Channel, bucket: Bucket | None, urgent: bool) -> None:
        while bucket and (wait_s := bucket.wait_s(self._clock.mono_s(), urgent)) > 0:
            await self._pause(channel, bucket, wait_s, urgent)
        if bucket:
            bucket.spend(self._clock.mono_s())

    async def _pause(self, channel: Channel, bucket: Bucket | None, seconds: float, urgent: bool) -> None:
        """Wait; unless it is critical itself that waits, what is critical and comes meanwhile goes out first."""
        end_s = self._clock.mono_s() + seconds
        while (left_s := end_s - self._clock.mono_s()) > 0:
            if urgent:
                await self._clock.sleep(left_s)
            elif self._urgent:
                await self._deliver(channel, bucket, [self._urgent.popleft()])
            else:
                await wake_or_wait(self._wake, self._clock, left_s)

    async def _attempt(self, channel: Channel, message: Message) -> ChannelError | None:
        try:
            await channel.send(message)
        except ChannelError as error:
            return error
        except Exception as error:  # nor is one that stumbles over a message
            return ChannelError(f"failed unexpectedly ({_place(error)})")
        return None

    def _note(self, error: ChannelError | None) -> None:
        """Count; log when lost and when back, not in between."""
        if error is None:
            self.sent += 1
            if self.down:
                log.warning("channel %s delivers again (%d failed so far)", self.name, self.failed)
        else:
            self.failed += 1
            if not self.down:
                log.error("channel %s: %s", self.name, error)
        self.down = error is not None

    def _digest(self, pushes: Sequence[Push], room: int) -> Message:
        messages = [push.message for push in pushes]
        order = list(PRIORITIES)
        messages.sort(key=lambda message: order.index(message.priority))  # what matters most is not cut off
        return Message(
            text=compose_digest([each.headline for each in messages], self._language, room),
            headline="",
            priority=messages[0].priority,
            notices=tuple(dict.fromkeys(id_ for each in messages for id_ in each.notices)),
            recipients=tuple(dict.fromkeys(name for each in messages for name in each.recipients)),
            mobiles=tuple(dict.fromkeys(mobile for each in messages for mobile in each.mobiles)),
            users=tuple(dict.fromkeys(user for each in messages for user in each.users)),
        )


class _Closed:
    """A channel that could not be opened: every message fails with the reason."""

    room = 65_536
    per_minute = 0

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def send(self, message: Message) -> None:
        raise ChannelError(self._reason)


def _place(error: Exception) -> str:
    """What failed and where, without the error's own words: they may quote an address, which contains the key."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"


def _pause_s(error: ChannelError, attempt: int) -> float:
    base_s = PAUSE_S if not error.rate else RATE_PAUSE_S
    doubled_s = base_s * 2.0 ** (attempt - 1) * random.uniform(0.8, 1.2)  # many boxes come back at once
    return max(doubled_s, error.after_s or 0.0)


async def wake_or_wait(event: asyncio.Event, clock: Clock, seconds: float | None) -> None:
    """Wait for `event`, at most `seconds` of `clock`; None: as long as it takes. The event is cleared."""
    if seconds is None:
        await event.wait()
    else:
        task = asyncio.current_task()
        name = task.get_name() if task else "wait"
        timer = asyncio.create_task(clock.sleep(seconds), name=name)
        woken = asyncio.create_task(event.wait(), name=f"{name}-woken")
        try:
            await asyncio.wait((timer, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()
    event.clear()
