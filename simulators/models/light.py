"""Lights: a circuit of many lamps on a relay, and a single dimmable one. They burn from dusk to dawn, take
commands in between, and lamps age and fail.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict
from simulators.model import Model, Plain
from simulators.models.curves import Wander

if TYPE_CHECKING:
    from simulators.world import World

DUSK_H, DAWN_H = 17.9, 6.5
LIFE_H = 50_000.0
"""Mean life of a lamp in its middle years."""
REPORT_S = 60.0


class Switched(Model):
    """What all lights have in common: an astronomical clock whose last word counts until somebody gives another."""

    PHASES = 1
    CADENCE_S = 1.0

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.on = False
        self.burn_hours = rng.uniform(500, 12_000)
        self._stagger_h = rng.uniform(-0.03, 0.03)
        """Never all at once: the inrush would trip the feeder."""
        self._night: bool | None = None
        self._mains = Wander(rng, 0.8, 120)

    def join(self, world: World) -> None:
        """Begin as the time of day has it."""
        self._night = self.on = self._is_night(world.hour)

    def _is_night(self, hour: float) -> bool:
        return hour >= DUSK_H + self._stagger_h or hour < DAWN_H + self._stagger_h

    def step(self, dt_s: float, world: World) -> None:
        """Dusk, dawn, and another second of burning."""
        night = self._is_night(world.hour)
        if night != self._night:
            self._night = self.on = night
        self._mains.step(dt_s)
        if self.on:
            self.burn_hours += dt_s / 3600

    def write(self, point: str, value: Value) -> None:
        """Switch. Raises ValueError for anything but `on`."""
        if point != "on" or not isinstance(value, bool):
            raise ValueError(f"{self.equipment} takes true or false for `on`; it refuses {value!r} for {point}")
        self.on = value

    def _fails(self, dt_s: float, lamps: int) -> bool:
        """Whether one of `lamps` burning lamps dies now: rarely, and more often the older they are."""
        hazard = lamps / LIFE_H * (1 + (self.burn_hours / 30_000) ** 3)
        return self.rng.random() < hazard * dt_s / 3600


class CircuitParams(Strict):
    """What hangs on one circuit."""

    lamps: int = Field(default=12, ge=1)
    lamp_w: float = Field(default=55.0, gt=0)


class LightCircuit(Switched):
    """One circuit on a relay and a contactor, with a current transformer."""

    PARAMS = CircuitParams
    FAULTS: ClassVar[Mapping[str, type[Strict]]] = {"circuit_out": Plain, "contactor_stuck": Plain}

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = CircuitParams.model_validate(params)
        self.lamps_lit = self.params.lamps
        self._closed = False

    def join(self, world: World) -> None:
        """The contactor has followed already."""
        super().join(world)
        self._closed = self.on

    def step(self, dt_s: float, world: World) -> None:
        """The contactor follows the relay unless it sticks."""
        super().step(dt_s, world)
        if "contactor_stuck" not in self.failing:
            self._closed = self.on
        if self._burning and self.lamps_lit and self._fails(dt_s, self.lamps_lit):
            self.lamps_lit -= 1

    def write(self, point: str, value: Value) -> None:
        """Switch; the contactor answers within its 20 ms."""
        super().write(point, value)
        if "contactor_stuck" not in self.failing:
            self._closed = self.on

    @property
    def _burning(self) -> bool:
        return self._closed and "circuit_out" not in self.failing

    @property
    def power_kw(self) -> float:
        """Of the lamps that still burn."""
        return self.lamps_lit * self.params.lamp_w / 1000 if self._burning else 0.0

    def values(self) -> Mapping[str, Value]:
        """Every point of the circuit's profile."""
        return {
            "on": self.on,
            "feedback": self._closed,
            "current": self.power_kw * 1000 / (229 + self._mains.value) / 0.95,
            "power": self.power_kw,
        }


class DimmableParams(Strict):
    """One light."""

    rated_w: float = Field(default=60.0, gt=0)
    level: int = Field(default=180, ge=1, le=254)
    """Zigbee's brightness, 1..254."""


class DimmableLight(Switched):
    """One Zigbee light with power measurement; it reports on a change and each minute."""

    PARAMS = DimmableParams
    FAULTS: ClassVar[Mapping[str, type[Strict]]] = {"lamp_out": Plain}

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = DimmableParams.model_validate(params)
        self._due_s = rng.uniform(0.3, 4.5)
        self._told: tuple[bool, bool] | None = None
        self._due = False
        self._dead = False
        self._link = rng.randint(90, 200)

    def step(self, dt_s: float, world: World) -> None:
        """Burn, and see whether there is something to tell."""
        super().step(dt_s, world)
        if self.on and not self._dead and self._fails(dt_s, 1):
            self._dead = True
        if world.elapsed_s >= self._due_s:
            self._due = True
            self._due_s = world.elapsed_s + REPORT_S
            self._told = (self.on, self._lit)

    @property
    def _lit(self) -> bool:
        return self.on and not self._dead and "lamp_out" not in self.failing

    def reports(self) -> bool:
        """By the clock, and at once after a change."""
        changed = self._told is not None and self._told != (self.on, self._lit)
        due, self._due = self._due or changed, False
        if changed:
            self._told = (self.on, self._lit)
        return due

    @property
    def power_kw(self) -> float:
        """The driver alone when dark."""
        if not self._lit:
            return 0.0004
        return self.params.rated_w * (0.1 + 0.9 * self.params.level / 254) / 1000

    def values(self) -> Mapping[str, Value]:
        """Every point of the light's profile."""
        return {
            "on": self.on,
            "brightness": self.params.level * 100 / 254,
            "power": round(self.power_kw * 1000 * (1 + self._mains.value / 229), 1),
            "link_quality": self._link,
        }
