"""The community's energy meter: it sums what all other equipment draws, and counts it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict
from simulators.model import Model
from simulators.models.curves import PEOPLE, Wander, along

if TYPE_CHECKING:
    from simulators.world import World


class MeterParams(Strict):
    """What the meter counts beside the simulated equipment, and where it stands."""

    base_load: float = Field(default=6.0, ge=0)
    """Guard rooms, pumps of the heating, ventilation: kW at the busiest hour."""
    nominal: float = Field(default=230.0, gt=0)
    """V"""
    import_energy: float = Field(default=48_213.4, ge=0)
    """kWh"""


class Lost(Strict):
    """Which phase is lost."""

    phase: int = Field(default=1, ge=1, le=3)


class EnergyMeter(Model):
    """One three-phase meter on the common supply."""

    PARAMS = MeterParams
    FAULTS = {"phase_lost": Lost}
    CADENCE_S = 0.5

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = MeterParams.model_validate(params)
        self._supply = [Wander(rng, 1.1, 240) for _ in range(3)]
        self._frequency = Wander(rng, 0.012, 30)
        self.phases_kw = [0.0, 0.0, 0.0]
        self.import_energy = self.params.import_energy

    def join(self, world: World) -> None:
        """See what is drawn before the first step."""
        self._sum(world)

    def step(self, dt_s: float, world: World) -> None:
        """Sum and count."""
        self._sum(world)
        for noise in (*self._supply, self._frequency):
            noise.step(dt_s)
        self.import_energy += sum(self.phases_kw) * dt_s / 3600

    def _sum(self, world: World) -> None:
        """Three-phase equipment loads all phases alike, single-phase ones take turns in the site file's order."""
        base = self.params.base_load * (0.4 + 0.6 * along(PEOPLE, world.hour))
        phases = [base * 0.36, base * 0.33, base * 0.31]
        turn = 0
        for model in world.models.values():
            if isinstance(model, EnergyMeter):
                continue
            drawn = model.power_kw
            if model.PHASES == 1:
                phases[turn % 3] += drawn
                turn += 1
            elif drawn:
                phases = [phase + drawn / 3 for phase in phases]
        lost = self.failing.get("phase_lost")
        if lost:
            phases[lost.phase - 1] = 0.0
        self.phases_kw = phases

    def _volts(self, index: int) -> float:
        """A supply that gives way by 0.15 V for each kW; a lost phase shows what comes back through the loads."""
        lost = self.failing.get("phase_lost")
        if lost and lost.phase == index + 1:
            return 18.0 + self._supply[index].value
        return self.params.nominal - 0.15 * self.phases_kw[index] + self._supply[index].value

    def values(self) -> Mapping[str, Value]:
        """Every point of the meter's profile."""
        values: dict[str, Value] = {}
        factor = 0.91
        for index, power in enumerate(self.phases_kw):
            volts, name = self._volts(index), f"l{index + 1}"
            values[f"voltage_{name}"] = volts
            values[f"current_{name}"] = power * 1000 / volts / factor
            values[f"power_{name}"] = power
            values[f"power_factor_{name}"] = factor
        return {
            **values,
            "power": sum(self.phases_kw),
            "frequency": 50.0 + self._frequency.value,
            "import_energy": self.import_energy,
            "export_energy": 0.0,
            "total_energy": self.import_energy,
        }
