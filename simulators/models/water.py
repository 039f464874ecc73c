"""The water that the booster pumps of one room share: tank, header, demand of the day, and their controller.

Pumps follow a square-law curve by speed; the header with its pressure vessel takes up the difference between
what they give and what people draw; a PI controller holds the set pressure with all running pumps at one
speed, calls the next pump when they are at their limit and lets one go when they idle. Pressures are
gauge, in MPa; flows in m³/h.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from simulators.model import Shared
from simulators.models.curves import WATER, Wander, along

if TYPE_CHECKING:
    from simulators.models.booster import BoosterPump
    from simulators.world import World

SHUT_OFF_MPA = 0.90
"""Pressure that a pump makes at 50 Hz against a closed valve."""
CURVE = 0.00056
"""How much of it is lost, MPa per (m³/h)²."""
SUCTION_MPA = 0.03
VESSEL_M3_PER_MPA = 0.30
FULL_HZ, LEAST_HZ = 50.0, 25.0
RAMP_HZ_PER_S = 8.0
INLET_M3H = 70.0
"""What the town main gives through the open float valve."""
STEP_S = 0.5


class Water(Shared):
    """One booster set."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.pumps: list[BoosterPump] = []
        """In order of duty: the first that is fit leads."""
        self._noise = Wander(rng, 0.05, 90)
        self.pressure = 0.0
        self.tank_m3 = 0.0
        self.flow = 0.0
        """All pumps together."""
        self._integral = 40.0
        self._wanted = 1
        self._busy_s = 0.0
        self._idle_s = 0.0

    def join(self, pump: BoosterPump) -> None:
        """A pump of the set; pumps join in the site file's order. The first one's settings hold for the set."""
        self.pumps.append(pump)

    @property
    def lead(self) -> BoosterPump | None:
        """The pump whose controller speaks for the set."""
        return next((pump for pump in self.pumps if pump.fit), None)

    def change_over(self, pump: BoosterPump) -> None:
        """Put one pump first in the order of duty."""
        self.pumps.remove(pump)
        self.pumps.insert(0, pump)

    def begin(self, world: World) -> None:
        """Ten minutes of running in, before anything counts."""
        params = self.pumps[0].params
        self.pressure = params.set_pressure
        self.tank_m3 = params.tank_m3 * 0.85
        for _ in range(round(600 / STEP_S)):
            self._live(STEP_S, world.hour)
        self.tank_m3 = params.tank_m3 * 0.85
        for pump in self.pumps:
            pump.settle()

    def step(self, dt_s: float, world: World) -> None:
        """Live on, in steps short enough for the header."""
        parts = max(1, math.ceil(dt_s / STEP_S))
        for _ in range(parts):
            self._live(dt_s / parts, world.hour)

    def _live(self, dt_s: float, hour: float) -> None:
        self._control(dt_s)
        empty = self.tank_m3 <= 0.5
        for pump in self.pumps:
            pump.flow = 0.0 if empty else _flow(pump.frequency, self.pressure)
        self.flow = sum(pump.flow for pump in self.pumps)
        self._header(dt_s, self._demand(dt_s, hour))
        self._tank(dt_s)

    def _demand(self, dt_s: float, hour: float) -> float:
        """What would be drawn at the set pressure: people, and what runs out of a broken pipe."""
        people = self.pumps[0].params.peak_demand * along(WATER, hour) * (1 + self._noise.step(dt_s))
        return people + sum(pump.burst_flow for pump in self.pumps)

    def _header(self, dt_s: float, demand: float) -> None:
        drawn = demand * math.sqrt(max(0.0, self.pressure) / self.pumps[0].params.set_pressure)
        self.pressure += (self.flow - drawn) / 3600 * dt_s / VESSEL_M3_PER_MPA
        self.pressure = max(0.0, self.pressure)

    def _tank(self, dt_s: float) -> None:
        """The float valve throttles between 82 and 92 % of the tank."""
        full = self.pumps[0].params.tank_m3
        opening = max(0.0, min(1.0, (0.92 - self.tank_m3 / full) / 0.10))
        if any("inlet_closed" in pump.failing for pump in self.pumps):
            opening = 0.0
        self.tank_m3 = max(0.0, self.tank_m3 + (INLET_M3H * opening - self.flow) / 3600 * dt_s)

    def _control(self, dt_s: float) -> None:
        """PI on the header's pressure, speed limits with the integral held at them, then the number of pumps."""
        error = self.pumps[0].params.set_pressure - self.pressure
        speed = self._integral + 60 * error
        if LEAST_HZ < speed < FULL_HZ or (speed - FULL_HZ) * error < 0:
            self._integral = max(LEAST_HZ, min(FULL_HZ, self._integral + 7 * error * dt_s))
        speed = max(LEAST_HZ, min(FULL_HZ, speed))
        self._stage(dt_s, speed, error)
        on = [pump for pump in self.pumps if pump.fit][: self._wanted]
        for pump in self.pumps:
            pump.running = pump in on
            ramp = RAMP_HZ_PER_S * dt_s
            ramped = max(pump.frequency - ramp, min(pump.frequency + ramp, speed))
            pump.frequency = ramped if pump.running else 0.0

    def _stage(self, dt_s: float, speed: float, error: float) -> None:
        """One more pump after 8 s at the limit, one less after 60 s of idling."""
        fit = sum(pump.fit for pump in self.pumps)
        self._busy_s = self._busy_s + dt_s if speed >= 49 and error > 0.005 else 0.0
        self._idle_s = self._idle_s + dt_s if speed < 36.5 else 0.0
        if self._busy_s > 8 and self._wanted < fit:
            self._wanted += 1
            self._busy_s = 0.0
            self._integral = 43.0
        elif self._idle_s > 60 and self._wanted > 1:
            self._wanted -= 1
            self._idle_s = 0.0
            self._integral = 42.0
        self._wanted = max(1, min(self._wanted, fit or 1))


def _flow(frequency: float, pressure: float) -> float:
    """What one pump gives against a header pressure; its check valve lets nothing back."""
    head = SHUT_OFF_MPA * (frequency / FULL_HZ) ** 2 + SUCTION_MPA - pressure
    return math.sqrt(head / CURVE) if head > 0 else 0.0
