"""A bin with a sensor under its lid: it fills as people come by, is emptied twice a day, and may burn.

The sensor reports every 10 minutes, at once past a threshold, and for the first time within 5 s of the start.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict
from drivers.units import Seconds
from simulators.model import Model, Plain
from simulators.models.curves import PEOPLE, WARMTH, Wander, along, mean, towards

if TYPE_CHECKING:
    from simulators.world import World

REPORT_S = 600.0
HOT_REPORT_S = 60.0
"""While it is hot the sensor hurries."""
HOT_C = 60.5
"""Set a little above the alarm's 60 °C: what is reported, in steps of 0.1 °C, is then over it too."""
FULL_PERCENT = 85.0
EMPTY_MM, FULL_MM = 1000.0, 150.0
"""Distance from the lid to the floor, and to what counts as full."""
ROUNDS_H = (6.0, 19.5)
"""When the bins are emptied."""


class BinParams(Strict):
    """One bin; what is left out is drawn by the seed."""

    per_day: float | None = Field(default=None, ge=0)
    """How much comes in a day, % of the bin."""
    fill: float | None = Field(default=None, ge=0, le=100)
    """At the start, %; otherwise what has come since the last round."""
    battery: float | None = Field(default=None, ge=0, le=100)
    coldest: float = 6.0
    """At night, °C."""
    warmest: float = 17.0


class Fire(Strict):
    """How long the fire takes to its full heat."""

    over: Seconds = 20.0


class Filling(Strict):
    """How long somebody takes to throw in far too much."""

    over: Seconds = 30.0


class Bin(Model):
    """One bin with its LoRaWAN sensor."""

    PARAMS = BinParams
    FAULTS = {"fire": Fire, "overfull": Filling, "tilted": Plain, "battery_low": Plain}
    CADENCE_S = 1.0

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = BinParams.model_validate(params)
        drawn, battery = rng.uniform(70, 100), rng.uniform(55, 100)
        self._per_day = drawn if self.params.per_day is None else self.params.per_day
        self._battery = battery if self.params.battery is None else self.params.battery
        self._rounds = sorted((hour + rng.uniform(-0.2, 0.2)) for hour in ROUNDS_H)
        self._due_s = rng.uniform(0.3, 4.5)
        self._wander = Wander(rng, 0.5, 1800)
        self._rate = self._per_day / mean(PEOPLE) / 86400
        self._hour: float | None = None
        self.fill = self.params.fill or 0.0
        self.heat = 0.0
        self._air = 0.0
        self._due = False
        self._crossed = (False, False, False)
        self._echo_mm = 0.0
        self._rssi, self._snr = rng.uniform(-108, -84), rng.uniform(2, 9)
        self._frame = rng.randint(100, 60_000)

    def join(self, world: World) -> None:
        """Begin with what has come since the last round, and no hotter than the air."""
        self._air = self._weather(world.hour)
        if self.params.fill is None:
            since = (world.hour - max(h for h in (self._rounds[-1] - 24, *self._rounds) if h <= world.hour)) * 3600
            steps = [world.hour - since / 3600 * part / 50 for part in range(50)]
            self.fill = 2 + sum(self._rate * along(PEOPLE, hour % 24) * since / 50 for hour in steps)

    def _weather(self, hour: float) -> float:
        p = self.params
        return p.coldest + (p.warmest - p.coldest) * along(WARMTH, hour)

    def step(self, dt_s: float, world: World) -> None:
        """Fill, empty, warm, and see whether there is something to tell."""
        self._fill(dt_s, world.hour)
        self._air = towards(self._air, self._weather(world.hour) + self._wander.step(dt_s), dt_s, 900)
        fire = self.failing.get("fire")
        if fire:
            self.heat = min(85.0, self.heat + 85 * dt_s / max(fire.over, 1.0))
        else:
            self.heat = towards(self.heat, 0.0, dt_s, 90)
        self._battery = max(0.0, self._battery - dt_s / 86400 / 30)
        self._watch(world.elapsed_s)

    def _fill(self, dt_s: float, hour: float) -> None:
        before, self._hour = self._hour, hour
        if before is not None and any(_passed(before, hour, at) for at in self._rounds):
            self.fill = 2.0
        self.fill = min(100.0, self.fill + self._rate * along(PEOPLE, hour) * dt_s)
        stuffed = self.failing.get("overfull")
        if stuffed:
            self.fill = max(self.fill, min(97.0, self.fill + 97 * dt_s / max(stuffed.over, 1.0)))

    def on_mend(self, fault: str) -> None:
        """Who takes out too much takes out all."""
        if fault == "overfull":
            self.fill = 2.0

    def _watch(self, elapsed_s: float) -> None:
        crossed = (self.temperature > HOT_C, self.fill > FULL_PERCENT, "tilted" in self.failing)
        hot = crossed[0]
        if elapsed_s >= self._due_s or crossed != self._crossed:
            self._due = True
            self._due_s = elapsed_s + (HOT_REPORT_S if hot else REPORT_S)
            self._echo_mm = self.rng.uniform(-3, 3)
            self._frame = (self._frame + 1) % 65_536
        self._crossed = crossed

    @property
    def temperature(self) -> float:
        """Under the lid, °C."""
        return self._air + self.heat

    def reports(self) -> bool:
        """By the clock and past a threshold."""
        due, self._due = self._due, False
        return due

    def values(self) -> Mapping[str, Value]:
        """Every point of the bin's profile, as the sensor would send it."""
        distance = round(EMPTY_MM - (EMPTY_MM - FULL_MM) * self.fill / 100 + self._echo_mm)
        return {
            "battery": 9 if "battery_low" in self.failing else round(self._battery),
            "temperature": round(self.temperature, 1),
            "distance": distance,
            "fill": max(0.0, min(100.0, (EMPTY_MM - distance) / (EMPTY_MM - FULL_MM) * 100)),
            "tilted": "tilted" in self.failing,
            "rssi": round(self._rssi + self._echo_mm),
            "snr": round(self._snr + self._echo_mm / 3, 1),
            "frame_counter": self._frame,
        }


def _passed(before: float, now: float, at: float) -> bool:
    """Whether the day's clock went past `at` between two looks, over midnight too."""
    return before < at <= now if before <= now else at > before or at <= now
