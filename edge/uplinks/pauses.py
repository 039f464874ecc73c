"""The pauses of one way out while its far end is down: growing, jittered, or as the far end asks, never none."""

from __future__ import annotations

import logging
import random

from drivers.driver import Clock
from edge.uplinks.shape import UplinkDown

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_WAIT_S = 3600.0
"""A far end that asks for a longer pause than this is asked again all the same."""

log = logging.getLogger(__name__)


class Pauses:
    """The first failure is logged, and the recovery."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.failures = 0
        """In a row, until now."""
        self._name = name
        self._clock = clock
        self._since_s = 0.0
        self._jitter = random.Random(name)

    async def after(self, error: UplinkDown, meanwhile: str) -> None:
        """Wait until it is time to try again. `meanwhile`: what becomes of what is not sent."""
        if self.failures == 0:
            self._since_s = self._clock.mono_s()
            log.warning("uplink %s: %s; %s, trying again", self._name, error, meanwhile)
        if error.retry_after_s is None:
            wait = min(FIRST_PAUSE_S * 2 ** min(self.failures, 16), LONGEST_PAUSE_S)
        else:
            # Some say "at once", or a time that is past by our clock: asked without a pause neither side has peace.
            wait = min(max(error.retry_after_s, FIRST_PAUSE_S), LONGEST_WAIT_S)
        self.failures += 1
        # Never earlier than asked for, and not all gateways of a town at the same moment.
        await self._clock.sleep(wait * self._jitter.uniform(1.0, 1.25))

    def over(self, left: str = "") -> None:
        """It works again. `left`: what is still to be sent."""
        if self.failures:
            away_s = self._clock.mono_s() - self._since_s
            log.warning("uplink %s is back after %.0f s%s", self._name, away_s, left and f"; {left}")
        self.failures = 0
