"""Perimeter: zones that are touched, cut or tampered with, and the host that tells of them.

Both tell events; every state is told anew at the start and each 10 minutes, and the host gives a sign of
life each 20 s.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict
from drivers.units import Seconds
from simulators.model import Model, Plain

if TYPE_CHECKING:
    from simulators.world import World

RESYNC_S = 600.0
HEARTBEAT_S = 20.0


class Teller(Model):
    """A model that tells each change of its states, and all of them at times."""

    CADENCE_S = 0.5

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self._queue: list[tuple[str, Value]] = []
        self._resync_s = rng.uniform(0.5, 4.5)
        self._told: dict[str, Value] = {}

    def join(self, world: World) -> None:
        """What is so at the start is told with the first resync."""
        self._told = self.states()

    def step(self, dt_s: float, world: World) -> None:
        """See whether anything changed, or all is to be told anew."""
        if world.elapsed_s >= self._resync_s:
            self._resync_s += RESYNC_S
            self._told = {}
        self._tell()

    @abstractmethod
    def states(self) -> dict[str, Value]:
        """The points that are told as events."""

    def _tell(self) -> None:
        states = self.states()
        self._queue += [(point, value) for point, value in states.items() if self._told.get(point) != value]
        self._told = states

    def on_fail(self, fault: str) -> None:
        """Tell at once."""
        self._tell()

    def on_mend(self, fault: str) -> None:
        """Tell at once."""
        self._tell()

    def events(self) -> list[tuple[str, Value]]:
        """What is to be told since the last time."""
        told, self._queue = self._queue, []
        return told


class Touch(Strict):
    """After how long the fence is at rest again."""

    restore: Seconds = 5.0


class PerimeterZone(Teller):
    """One stretch of fence."""

    FAULTS = {"fence_cut": Plain, "fence_touched": Touch, "tampered": Plain}

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self._shaking_s = 0.0

    def on_fail(self, fault: str) -> None:
        """A touch passes; a cut stays until it is mended."""
        if fault == "fence_touched":
            self._shaking_s = self.failing[fault].restore
        super().on_fail(fault)

    def step(self, dt_s: float, world: World) -> None:
        """The fence comes to rest."""
        self._shaking_s = max(0.0, self._shaking_s - dt_s)
        super().step(dt_s, world)

    def states(self) -> dict[str, Value]:
        """Intrusion and tamper."""
        return {
            "intrusion": "fence_cut" in self.failing or self._shaking_s > 0,
            "tamper": "tampered" in self.failing,
        }

    def values(self) -> Mapping[str, Value]:
        """Every point of the zone's profile."""
        return self.states()


class PanelParams(Strict):
    """One alarm host."""

    armed: bool = True
    battery_hours: float = Field(default=8.0, gt=0)
    """How long it lives without mains."""


class PerimeterPanel(Teller):
    """The alarm host."""

    PARAMS = PanelParams
    FAULTS = {"mains_lost": Plain, "battery_low": Plain, "disarmed": Plain}

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = PanelParams.model_validate(params)
        self._charge = 1.0
        self._beat_s = rng.uniform(0.2, 1.0)

    def step(self, dt_s: float, world: World) -> None:
        """Live on the battery, give the sign of life."""
        hours = self.params.battery_hours
        change = -dt_s / 3600 / hours if "mains_lost" in self.failing else dt_s / 3600 / 12
        self._charge = max(0.0, min(1.0, self._charge + change))
        super().step(dt_s, world)
        if world.elapsed_s >= self._beat_s:
            self._beat_s = world.elapsed_s + HEARTBEAT_S
            self._queue.append(("heartbeat", True))

    def states(self) -> dict[str, Value]:
        """Supply and arming."""
        return {
            "mains_lost": "mains_lost" in self.failing,
            "battery_low": "battery_low" in self.failing or self._charge < 0.2,
            "armed": self.params.armed and "disarmed" not in self.failing,
        }

    def values(self) -> Mapping[str, Value]:
        """Every point of the panel's profile."""
        return {**self.states(), "heartbeat": True}
