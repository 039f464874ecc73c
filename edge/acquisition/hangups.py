"""Which device makes its gateway hang up, and how long it is left alone for that. Pure.

Some gateways close the connection where the device behind does not answer. Asked first after each reconnection, one
dead device would then cost all its neighbours everything. What comes in: the devices of a connection that has ended.
What goes out: how long each is left alone on the next one. Whoever was asked shortly before, the first of several,
and has not answered on that connection is suspected: the others go first. Where they were heard, and the connection
ended once more with the same device asked, it is that device: it is tried at pauses of a minute, doubling, so that
the others are read in between. It is cleared by any answer, and by a connection that outlives its silence.
"""

from __future__ import annotations

import random
from collections.abc import Collection

from edge.acquisition.agenda import Asked

_RECENTLY_S = 5.0
"""A gateway hangs up so long after it was asked at the most."""
_SURVIVED = 3
"""Time-outs in a row on one connection that clear a device."""
LAST_S = 1.0
"""A suspect goes after the others."""
_FIRST_PAUSE_S = 80.0
"""Longer than a supervised connection needs to be taken for settled, whatever the jitter."""
_LONGEST_PAUSE_S = 640.0


class Hangups:
    """Of one connection, over all its lives."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        """By device: connections in a row that ended when it was asked."""

    def pause_s(self, device: Asked, rng: random.Random) -> float:
        """How long it is left alone on a new connection."""
        count = self._counts.get(device.names[0], 0)
        if count < 2:
            return LAST_S * count
        return min(_FIRST_PAUSE_S * 2.0 ** min(count - 2, 8), _LONGEST_PAUSE_S) * rng.uniform(0.8, 1.0)

    def ended(self, devices: Collection[Asked], now: float) -> None:
        """The connection has ended, and not because of a write."""
        suspects = [
            each for each in devices
            if not each.heard and each.misses < _SURVIVED and now - each.asked_s < _RECENTLY_S
        ]  # fmt: skip
        if not suspects:
            return
        device = max(suspects, key=lambda each: (each.misses, -each.asked_s))
        count = self._counts.get(device.names[0], 0)
        if not count or any(each.heard for each in devices):
            self._counts[device.names[0]] = count + 1

    def answered(self, device: Asked) -> None:
        """It is not this one."""
        device.heard = True
        self._counts.pop(device.names[0], None)

    def missed(self, device: Asked) -> None:
        """It has not answered, and the connection stands."""
        if device.misses >= _SURVIVED:
            self._counts.pop(device.names[0], None)
