"""Whose turn it is on a connection: one exchange at a time.

asyncio's own lock makes a coroutine each time that it is taken, and a reading would pay for two where nobody waits.
"""

from __future__ import annotations

import asyncio


class Turn:
    """Taken or not. `if turn.taken: await turn.free()`, then `turn.taken = True`, and in the end `turn.leave()`."""

    __slots__ = ("taken", "wanted")

    def __init__(self) -> None:
        self.taken = False
        self.wanted: list[asyncio.Future[None]] = []
        """By those that wait."""

    async def free(self) -> None:
        """Wait until nobody has it. Those that wait get it in the order in which they came."""
        while self.taken:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.wanted.append(woken)
            await woken

    def leave(self) -> None:
        """Whoever had it has ended; all that wait look, and the first takes it."""
        self.taken = False
        if self.wanted:
            waiting, self.wanted = self.wanted, []
            for woken in waiting:
                if not woken.done():
                    woken.set_result(None)
