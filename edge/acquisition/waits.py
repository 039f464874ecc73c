"""How long each device of one line is waited for. Pure.

What comes in: a device, with what it and its neighbours have taught (`patience`). What goes out: the time-out of its
readings and that of its probes; None for as long as the connection allows.
"""

from __future__ import annotations

from edge.acquisition.agenda import Asked
from edge.acquisition.patience import Patience


class Waits:
    """Of one line."""

    __slots__ = ("alone", "common")

    def __init__(self, *, alone: bool) -> None:
        self.alone = alone
        """Nobody else waits while the only device of the line is waited for."""
        self.common = Patience()
        """What all devices of the line have taught; for those that have never answered."""

    def timeout_s(self, device: Asked) -> float | None:
        """Of a reading. Who has never answered is given all the time once, then twice what its neighbours are."""
        if self.alone:
            return None
        usual_s = device.patience.usual_s
        if usual_s is not None or not device.misses:
            return usual_s
        common_s = self.common.usual_s
        return None if common_s is None else 2 * common_s

    def probe_s(self, device: Asked) -> float | None:
        """Of a probe: as the device has taught us, else as its neighbours have."""
        if self.alone:
            return None
        return device.patience.probe_s or self.common.probe_s
