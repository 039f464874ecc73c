"""A sump pit: water seeps in, a float starts the pump, another stops it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict
from drivers.units import Seconds
from simulators.model import Model
from simulators.models.curves import Wander

if TYPE_CHECKING:
    from simulators.world import World

START_M, STOP_M = 1.20, 0.40
HIGH_M, VERY_HIGH_M = 1.60, 2.00
DEPTH_M = 2.60
"""Above this it runs out over the garage floor."""
TRIP_S = 6.0
"""The overload relay takes this long with a blocked impeller."""


class SumpParams(Strict):
    """One pit."""

    area: float = Field(default=3.0, gt=0)
    """m²"""
    inflow: float = Field(default=1.2, ge=0)
    """On a dry day, m³/h."""
    pump_flow: float = Field(default=18.0, gt=0)
    """m³/h"""
    level: float = Field(default=0.7, ge=0, le=DEPTH_M)
    """m"""
    run_hours: float = Field(default=200.0, ge=0)
    starts: int = Field(default=1500, ge=0)


class Blocked(Strict):
    """How long the water, which finds no way out in a storm, takes to the high float."""

    over: Seconds = 40.0


class Rain(Strict):
    """What the rain brings, m³/h."""

    inflow: float = Field(default=30.0, gt=0)


class Sump(Model):
    """One pit with one pump and its cabinet."""

    PARAMS = SumpParams
    FAULTS = {"pump_blocked": Blocked, "heavy_rain": Rain}

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = SumpParams.model_validate(params)
        self.level = self.params.level
        self.running = False
        self.tripped = False
        self._blocked_s = 0.0
        self._rise_m_s = 0.0
        self._seepage = Wander(rng, 0.15, 600)
        self.run_hours = self.params.run_hours
        self.starts = self.params.starts

    def on_fail(self, fault: str) -> None:
        """Water comes as fast as the scenario asks for."""
        if fault == "pump_blocked":
            self._blocked_s = 0.0
            over = max(self.failing[fault].over, 1.0)
            self._rise_m_s = max(0.0, HIGH_M + 0.1 - self.level) / over

    def on_mend(self, fault: str) -> None:
        """The impeller is free and the relay is reset."""
        if fault == "pump_blocked":
            self.tripped = False
            self._rise_m_s = 0.0

    def step(self, dt_s: float, world: World) -> None:
        """Floats, pump, water."""
        self._switch(dt_s)
        rise = self._inflow(dt_s) / 3600 / self.params.area
        if self.running and "pump_blocked" not in self.failing:
            rise -= self.params.pump_flow / 3600 / self.params.area
        if self.level < HIGH_M + 0.1:
            rise += self._rise_m_s
        self.level = max(0.0, min(DEPTH_M, self.level + rise * dt_s))
        if self.running:
            self.run_hours += dt_s / 3600

    def _inflow(self, dt_s: float) -> float:
        rain = self.failing.get("heavy_rain")
        dry = self.params.inflow * max(0.2, 1 + self._seepage.step(dt_s))
        return dry + (float(rain.inflow) if rain else 0.0)

    def _switch(self, dt_s: float) -> None:
        wants = self.level >= START_M or (self.running and self.level > STOP_M)
        if "pump_blocked" in self.failing and self.running:
            self._blocked_s += dt_s
            self.tripped = self.tripped or self._blocked_s >= TRIP_S
        runs = wants and not self.tripped
        self.starts += runs and not self.running
        self.running = runs

    @property
    def _current(self) -> float:
        if not self.running:
            return 0.0
        return 27.0 if "pump_blocked" in self.failing else 5.4 + 0.3 * (DEPTH_M - self.level)

    @property
    def power_kw(self) -> float:
        """Of the motor."""
        return self._current * 0.38 * 1.732 * 0.82

    def values(self) -> Mapping[str, Value]:
        """Every point of the sump's profile."""
        return {
            "running": self.running,
            "auto": True,
            "fault": self.tripped,
            "high_level": self.level >= HIGH_M,
            "very_high_level": self.level >= VERY_HIGH_M,
            "level": self.level,
            "current": self._current,
            "run_hours": self.run_hours,
            "starts": self.starts,
        }
