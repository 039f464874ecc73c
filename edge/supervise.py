"""Keeps one task running: again after each failure, with jittered, doubling, capped pauses.

This is the only place that catches everything. A failure of what every reading passes through (engine,
store) is no failure of one connection: it is raised as `Fatal`, goes through here, and ends the process, and
systemd starts it again.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable

from drivers.driver import Clock, DriverError

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
SETTLED_S = 60.0
"""After this long without a failure the pauses begin short again."""

log = logging.getLogger(__name__)


class Fatal(Exception):
    """Something that every reading passes through has failed; the process must start again."""


async def supervise(
    name: str,
    run: Callable[[], Awaitable[None]],
    clock: Clock,
    lost: Callable[[str], None] = lambda reason: None,
) -> None:
    """Run `run` for ever. `lost` is told the reason of each failure; the log has the first and the recovery."""
    jitter = random.Random(name)
    failures = 0
    last = ""
    while True:
        began = clock.mono_s()
        unexpected: Exception | None = None
        try:
            await run()
            reason = "ended"
        except Fatal:
            raise
        except DriverError as error:
            reason = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            unexpected = error
        if clock.mono_s() - began > SETTLED_S:
            failures, last = 0, ""
        if unexpected is not None and reason != last:
            log.error("%s failed unexpectedly", name, exc_info=unexpected)
        unexpected = None  # with it went all that the run had in hand
        lost(reason)
        failures += 1
        pause = min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S) * jitter.uniform(0.8, 1.2)
        if reason != last:
            log.warning("%s: %s; trying again in %.0f s and on", name, reason, pause)
            last = reason
        await clock.sleep(pause)
