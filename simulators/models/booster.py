"""One booster pump on its drive: what the shared water makes of it electrically, thermally and mechanically."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict
from drivers.units import Seconds
from simulators.model import Model, Plain
from simulators.models.curves import Wander, towards
from simulators.models.water import Water

if TYPE_CHECKING:
    from simulators.world import World

ROOM_C = 19.0
"""The pump room, °C."""
WORN_C = 98.0
"""Where the temperature of a worn-out bearing goes."""
WEAR_MM_S = 8.4
"""What it adds to the vibration velocity."""


class BoosterParams(Strict):
    """One pump; demand, tank and set pressure are taken from the first pump of a set."""

    set_pressure: float = Field(default=0.45, gt=0, le=1.6)
    """MPa"""
    peak_demand: float = Field(default=38.0, ge=0)
    """What people draw in the busiest minutes, m³/h."""
    tank_m3: float = Field(default=60.0, gt=0)
    run_hours: float = Field(default=1000.0, ge=0)
    starts: int = Field(default=500, ge=0)
    energy: float = Field(default=3000.0, ge=0)
    """kWh"""


class Wear(Strict):
    """How long the bearing takes to wear out."""

    over: Seconds = 40.0


class Burst(Strict):
    """What runs out of the broken pipe at the set pressure, m³/h."""

    flow: float = Field(default=140.0, gt=0)


class BoosterPump(Model):
    """One pump of a booster set."""

    PARAMS = BoosterParams
    FAULTS = {
        "bearing_wear": Wear,
        "pipe_burst": Burst,
        "vfd_fault": Plain,
        "inlet_closed": Plain,
    }

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = BoosterParams.model_validate(params)
        self.running = False
        self.frequency = 0.0
        self.flow = 0.0
        self._water: Water | None = None
        self._was_running = False
        self._wear = 0.0
        self._wear_heat = 0.0
        self._shake = Wander(rng, 0.12, 20)
        self._bearing = ROOM_C
        self.run_hours = self.params.run_hours
        self.starts = self.params.starts
        self.energy = self.params.energy

    def join(self, world: World) -> None:
        """Share the water with the other pumps of the same connection."""
        self._water = world.shared(self.equipment, Water)
        self._water.join(self)

    @property
    def water(self) -> Water:
        """The set that the pump belongs to, once it has joined."""
        if self._water is None:
            raise RuntimeError(f"{self.equipment} lives in no world yet")
        return self._water

    @property
    def fit(self) -> bool:
        """Whether the controller may use it."""
        return "vfd_fault" not in self.failing

    @property
    def burst_flow(self) -> float:
        """What this pump's riser loses through a broken pipe, m³/h at the set pressure."""
        burst = self.failing.get("pipe_burst")
        return float(burst.flow) if burst else 0.0

    def settle(self) -> None:
        """Begin as it has been running for long: warm, and without a start to count."""
        self._was_running = self.running
        self._bearing = self._warm_c()

    def on_fail(self, fault: str) -> None:
        """A bearing wears in a pump that runs: one that stands takes over first."""
        if fault == "bearing_wear" and not self.running and self.fit:
            self.water.change_over(self)

    def on_mend(self, fault: str) -> None:
        """A new bearing."""
        if fault == "bearing_wear":
            self._wear = 0.0

    def step(self, dt_s: float, world: World) -> None:
        """Count, warm up, shake."""
        self.starts += self.running and not self._was_running
        self._was_running = self.running
        if self.running:
            self.run_hours += dt_s / 3600
            self.energy += self.power_kw * dt_s / 3600
        wear = self.failing.get("bearing_wear")
        if wear and self.running:
            self._wear = min(1.0, self._wear + dt_s / max(wear.over, 1.0))
        worn = (WORN_C - self._bearing) * self._wear * self.running
        self._wear_heat = towards(self._wear_heat, worn, dt_s, 4 if wear else 200)
        self._bearing = towards(self._bearing, self._warm_c(), dt_s, 700)
        self._shake.step(dt_s)

    def _warm_c(self) -> float:
        """Where the bearing's temperature tends to."""
        return ROOM_C + (16 + 1.6 * self.power_kw if self.running else 0)

    @property
    def power_kw(self) -> float:
        """Hydraulic power over the efficiency of pump, motor and drive, and the drive's own losses."""
        if not self.running:
            return 0.0
        lift = max(0.0, self.water.pressure)
        return 0.25 + lift * self.flow / 3.6 / 0.62 + 0.55 * (self.frequency / 50) ** 3

    def _vibration(self) -> float:
        if not self.running:
            return 0.08
        return max(0.2, 1.2 + 0.9 * (self.frequency / 50) ** 2 + self._shake.value + WEAR_MM_S * self._wear)

    def values(self) -> Mapping[str, Value]:
        """Every point of the booster's profile."""
        water, power = self.water, self.power_kw
        return {
            "running": self.running,
            "auto": True,
            "fault": not self.fit,
            "lead": water.lead is self,
            "fault_code": 0 if self.fit else 1,
            "outlet_pressure": water.pressure,
            "set_pressure": water.pumps[0].params.set_pressure,
            "frequency": self.frequency,
            "current": power / (math.sqrt(3) * 0.38 * 0.84) + (1.8 if self.running else 0),
            "power": power,
            "flow": self.flow,
            "tank_level": water.tank_m3 / water.pumps[0].params.tank_m3 * 100,
            "bearing_temperature": self._bearing + self._wear_heat,
            "vibration": self._vibration(),
            "run_hours": self.run_hours,
            "starts": self.starts,
            "energy": self.energy,
        }
