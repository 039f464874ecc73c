"""The turns of a connection on which nothing else is to be done, one after the other.

Most of the time a poller only asks one request after the other and passes the answers on. Here that is done by
callbacks, from the moment that has come to the request and from the answer to the next moment: no task is woken and
nothing is made that is thrown away at once, which halves what a poll costs. As soon as something else is to be done
(a write, a probe, an exchange that has to be waited for) it returns, and the poller's worker does that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drivers.driver import BriskLink, Clock, DriverError
from drivers.point import Batch
from edge.acquisition.agenda import Agenda, Asked, Turn
from edge.acquisition.probes import Probes

IDLE_S = 3600.0
"""How long to sleep where nothing is ever due; a write wakes it."""
_EARLY_S = 0.0005
"""By so much a moment may come too early."""


class Brisk:
    """Runs now and then, for as long as nothing else is to be done."""

    __slots__ = ("_agenda", "_answered", "_clock", "_failed", "_link", "_mono_s", "_over", "_probes", "_stopped",
                 "_timeout_s", "_turn", "_wake_s", "name")  # fmt: skip

    def __init__(
        self,
        link: BriskLink,
        agenda: Agenda,
        clock: Clock,
        *,
        probes: Probes,
        timeout_s: Callable[[Asked], float | None] | None,
        answered: Callable[[Turn, Batch, float], None],
        failed: Callable[[Turn, DriverError, float], None],
    ) -> None:
        """`probes`: what else may be to do; of a write, `stop` tells. `timeout_s`: None where all are waited for as
        long as the connection allows. `answered` and `failed` are told the turn, what came of it, and how long it
        took or when it began. What `failed` raises ends `run`.
        """
        self._link = link
        self._agenda = agenda
        self._clock = clock
        self._mono_s = clock.mono_s
        self._probes = probes
        self._timeout_s = timeout_s
        self._answered = answered
        self._failed = failed
        self.name = ""
        """Of the task that runs it: as such it sleeps."""
        self._over: asyncio.Future[None] | None = None
        self._turn: Turn | None = None
        """What is out."""
        self._stopped = False
        """Something else is to be done once it has been answered."""
        self._wake_s = 0.0
        """Which moment is waited for; an earlier one was for a run that is over."""

    async def run(self) -> None:
        """Return when something else is to be done, and nothing is out. Raises what `failed` does."""
        self._stopped = False
        over = self._over = asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        self.name = task.get_name() if task else ""
        try:
            self._next(self._mono_s())
            await over
        finally:
            self._over = None

    def stop(self) -> None:
        """Something else is to be done now."""
        if self._turn is None:
            self._end(None)
        else:
            self._stopped = True

    # The clock wakes it as it wakes a future.

    def done(self) -> bool:
        """Whether nobody waits for the moment any more."""
        return self._over is None or self._turn is not None

    def set_result(self, _: None, /) -> None:
        """The moment has come."""
        now = self._mono_s()
        if now < self._wake_s - _EARLY_S:
            return
        try:
            self._next(now)
        except Exception as error:
            self._end(error)

    def _next(self, now: float) -> None:
        """Ask what is due, or sleep until something is."""
        if self._stopped:
            self._end(None)
            return
        turn = self._agenda.take(now)
        if turn is None:
            self._wake_s = wake_s = min(self._agenda.next_release_s(), now + IDLE_S)
            self._clock.wake(self, wake_s)
            return
        self._turn = turn
        turn.out, turn.asked_s, turn.device.asked_s = True, now, now
        timeout_s = None if self._timeout_s is None else self._timeout_s(turn.device)
        if not self._link.ask(turn.request, timeout_s, self._came):
            self._turn, turn.out = None, False
            self._agenda.schedule(turn, turn.release_s)
            self.stop()

    def _came(self, what: Batch | Exception) -> None:
        """What the request that is out has brought."""
        turn, self._turn = self._turn, None
        if turn is None or self._over is None:  # the connection is being closed
            return
        turn.out = False
        try:
            if isinstance(what, Batch):
                now = what.mono_s  # it has just come
                self._answered(turn, what, now - turn.asked_s)
            elif isinstance(what, DriverError):
                self._failed(turn, what, turn.asked_s)
                now = self._mono_s()
                self._stopped |= bool(self._probes.queue)
            else:
                raise what
            self._next(now)
        except Exception as error:
            self._end(error)

    def _end(self, error: Exception | None) -> None:
        """Return to whoever runs this. An error is his too: the loop would only log it, and others wait as well."""
        over, self._over = self._over, None
        if over is None or over.done():  # nobody waits any more
            return
        if error is None:
            over.set_result(None)
        else:
            over.set_exception(error)
