"""A lift: people call it by the time of day, it travels, opens its doors, counts, and warms its machine room.

Collective control in one shaft: the car goes on in its direction while anybody ahead wants it, then turns.
Position is counted in storeys from the lowest landing. A storey takes 2.5 s at full speed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import Field

from drivers.point import Value
from drivers.profile import Strict
from drivers.units import Seconds
from simulators.model import Model, Plain
from simulators.models.curves import PEOPLE, WARMTH, along, towards

if TYPE_CHECKING:
    from simulators.world import World

SPEED = 0.4
"""Storeys a second."""
PULL = 0.3
"""Storeys a second squared, starting and stopping."""
ZONE = 0.06
"""Storeys from a landing within which the doors may be unlocked."""
OPENING_S, STAY_S, BOARD_S, CLOSING_S = 2.0, 3.0, 0.8, 2.5
PRESS_S = 8.0
"""After this long between floors somebody presses the button."""


class ElevatorParams(Strict):
    """One shaft and its counters at the start."""

    floors: int = Field(default=18, ge=2, le=120)
    """Landings above ground."""
    basements: int = Field(default=0, ge=0, le=9)
    calls_per_hour: float = Field(default=40, ge=0)
    """In the busiest hour."""
    capacity_kg: float = Field(default=1000, gt=0)
    room_temperature: float = 24.0
    """Of the machine room when the lift stands, °C."""
    trips: int = Field(default=184_203, ge=0)
    door_cycles: int = Field(default=201_877, ge=0)
    run_hours: float = Field(default=1_871.4, ge=0)


class Heat(Strict):
    """How long the machine room takes to become hot."""

    over: Seconds = 120.0


class Phase(Enum):
    """What the car does. Timed ones end by the timer."""

    IDLE = 0
    OPENING = 1
    STAY = 2
    CLOSING = 3
    MOVING = 4
    STUCK = 5


@dataclass(slots=True)
class Party:
    """People with one wish."""

    at: int
    to: int
    kg: float


class Elevator(Model):
    """One lift car and its controller."""

    PARAMS = ElevatorParams
    FAULTS = {
        "trapped_passenger": Plain,
        "door_fault": Plain,
        "safety_circuit": Plain,
        "hot_machine_room": Heat,
        "inspection": Plain,
    }

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self.params = ElevatorParams.model_validate(params)
        self._top = self.params.floors + self.params.basements - 1
        self._lobby = self.params.basements
        self._position = float(rng.randint(0, self._top))
        self._speed = 0.0
        self._way = 0
        self._target = round(self._position)
        self._phase = Phase.IDLE
        self._timer_s = 0.0
        self._stuck_s = 0.0
        self._riders: list[Party] = []
        self._waiting: list[Party] = []
        self._next_call_s = 0.0
        self._room = self.params.room_temperature + 3
        self._heat = 0.0
        self.trips = self.params.trips
        self.door_cycles = self.params.door_cycles
        self.run_hours = self.params.run_hours

    # ---- people ----

    def _people(self, world: World) -> None:
        """Calls come as a Poisson process whose rate follows the day: drawn at the peak rate, then thinned."""
        if not self.params.calls_per_hour:
            return
        while self._next_call_s <= world.elapsed_s:
            if self._next_call_s and self.rng.random() < along(PEOPLE, world.hour):
                self._call(self._party(world.hour))
            self._next_call_s += self.rng.expovariate(self.params.calls_per_hour / 3600)

    def _party(self, hour: float) -> Party:
        """Most go between the lobby and home: down in the morning, up in the evening."""
        home = self.rng.choice([floor for floor in range(self._top + 1) if floor != self._lobby])
        kg = 70.0 * self.rng.choice((1, 1, 1, 2, 2, 3))
        outward = self.rng.random() < (0.75 if 4 <= hour < 11 else 0.3)
        return Party(home, self._lobby, kg) if outward else Party(self._lobby, home, kg)

    def _call(self, party: Party) -> None:
        if len(self._waiting) < 6 and self._in_service:  # with more, people take another lift
            self._waiting.append(party)

    @property
    def _in_service(self) -> bool:
        return self._phase is not Phase.STUCK and not self.failing.keys() & {"safety_circuit", "inspection"}

    # ---- the car ----

    def step(self, dt_s: float, world: World) -> None:
        """Calls, doors and travel, the machine room."""
        self._people(world)
        if "trapped_passenger" in self.failing:
            self._arrange_to_trap()
        self._act(dt_s)
        self._warm(dt_s, world)

    def _act(self, dt_s: float) -> None:
        match self._phase:
            case Phase.IDLE:
                self._depart()
            case Phase.MOVING:
                self._travel(dt_s)
            case Phase.STUCK:
                self._stuck_s += dt_s
            case _:
                self._timer_s -= dt_s
                if self._timer_s <= 0:
                    self._next_phase()

    def _next_phase(self) -> None:
        """A door movement, or the stay at a landing, is over."""
        if self._phase is Phase.OPENING:
            floor = round(self._position)
            self._riders = [party for party in self._riders if party.to != floor]
            boarding = [party for party in self._waiting if party.at == floor]
            self._waiting = [party for party in self._waiting if party.at != floor]
            self._riders += boarding
            self._enter(Phase.STAY, STAY_S + BOARD_S * len(boarding))
        elif self._phase is Phase.STAY:
            self._enter(Phase.CLOSING, CLOSING_S)
        elif "door_fault" in self.failing:
            self._enter(Phase.OPENING, OPENING_S)  # the light curtain, or what lies on the sill
        else:
            self.door_cycles += 1
            self._enter(Phase.IDLE, 0)

    def _enter(self, phase: Phase, timer_s: float) -> None:
        self._phase = phase
        self._timer_s = timer_s

    def _stops(self) -> set[int]:
        return {party.to for party in self._riders} | {party.at for party in self._waiting}

    def _depart(self) -> None:
        """From a standstill with closed doors: open here, or go where somebody wants the car."""
        stops, here = self._stops(), round(self._position)
        if here in stops or "door_fault" in self.failing:
            self._enter(Phase.OPENING, OPENING_S)
        elif stops and self._in_service:
            ahead = [stop for stop in stops if (stop - here) * self._way > 0]
            self._target = min(ahead or stops, key=lambda stop: (abs(stop - here), stop))
            self._way = 1 if self._target > here else -1
            self.trips += 1
            self._enter(Phase.MOVING, 0)

    def _travel(self, dt_s: float) -> None:
        """One step on the way, no faster than it can still stop."""
        self._pick_up_on_the_way()
        left = abs(self._target - self._position)
        self._speed = min(SPEED, self._speed + PULL * dt_s, math.sqrt(2 * PULL * left) + 0.02)
        self.run_hours += dt_s / 3600
        move = self._speed * dt_s
        midway = (self._way * (0.5 - self._position)) % 1  # storeys to the next spot between two landings
        if "trapped_passenger" in self.failing and self._riders and midway <= min(move, left):
            self._position += midway * self._way
            self._stick()
        elif move >= left:
            self._position = float(self._target)
            self._speed = 0.0
            self._enter(Phase.OPENING if self._in_service or self._riders else Phase.IDLE, OPENING_S)
        else:
            self._position += move * self._way

    def _pick_up_on_the_way(self) -> None:
        """Stop earlier where somebody now stands, if the car can still stop there."""
        far = abs(self._target - self._position)
        between = [stop for stop in self._stops() if self._reach <= (stop - self._position) * self._way < far]
        if between:
            self._target = min(between, key=lambda stop: abs(stop - self._position))

    @property
    def _reach(self) -> float:
        """Storeys that the car needs to stop."""
        return self._speed**2 / (2 * PULL) + 0.05

    # ---- faults ----

    def on_fail(self, fault: str) -> None:
        """A safety circuit stops the car where it is; who waits takes the stairs."""
        if fault in ("safety_circuit", "inspection"):
            self._waiting.clear()
        if fault == "safety_circuit" and self._phase is Phase.MOVING:
            self._stick()

    def on_mend(self, fault: str) -> None:
        """A car between floors creeps to the nearest landing and lets everybody out."""
        held = self.failing.keys() & {"trapped_passenger", "safety_circuit"}
        if self._phase is Phase.STUCK and not held:
            self._target = math.floor(self._position + 0.5)
            self._way = 1 if self._target >= self._position else -1
            for party in self._riders:
                party.to = self._target
            self._stuck_s = 0.0
            self._enter(Phase.MOVING, 0)

    def _stick(self) -> None:
        self._speed = 0.0
        self._stuck_s = 0.0
        self._enter(Phase.STUCK, 0)

    def _arrange_to_trap(self) -> None:
        """Nobody is trapped in an empty car: somebody comes at the next landing first."""
        if self._riders or self._phase is Phase.STUCK:
            return
        if self._phase is Phase.MOVING:
            reach = self._position + self._way * self._reach
            at = math.ceil(reach) if self._way > 0 else math.floor(reach)
            if (at - self._target) * self._way >= 0:
                at = self._target
        else:
            at = round(self._position)
        if not any(party.at == at for party in self._waiting):
            self._waiting.append(Party(at, self._top if at <= self._top // 2 else 0, 70.0))
        if self._phase is Phase.STAY:
            self._riders += [party for party in self._waiting if party.at == at]
            self._waiting = [party for party in self._waiting if party.at != at]

    # ---- what is seen ----

    def _warm(self, dt_s: float, world: World) -> None:
        """The room follows the weather a little and the drive's losses slowly."""
        goal = self.params.room_temperature + 4 * along(WARMTH, world.hour)
        goal += 12 if self._phase is Phase.MOVING else 0
        self._room = towards(self._room, goal, dt_s, 1500)
        fault = self.failing.get("hot_machine_room")
        rise = 24 * dt_s / max(fault.over, 1) if fault else -24 * dt_s / 300
        self._heat = max(0.0, min(24.0, self._heat + rise))

    @property
    def power_kw(self) -> float:
        """The drive against its counterweight, and the car's light and fan."""
        if self._phase is not Phase.MOVING:
            return 0.35
        pull = self._way * (self._load - 45) / 100
        return 2.2 + 11 * max(0.0, pull) + 3 * (self._speed < SPEED)

    @property
    def _load(self) -> float:
        return min(110.0, sum(party.kg for party in self._riders) / self.params.capacity_kg * 100)

    def _fault_code(self) -> int:
        if "safety_circuit" in self.failing:
            return 1
        if "door_fault" in self.failing:
            return 2
        return 4 if self._phase is Phase.STUCK else 0

    def values(self) -> Mapping[str, Value]:
        """Every point of class elevator."""
        moving = self._phase is Phase.MOVING
        storey = math.floor(self._position + 0.5)
        below = storey - self.params.basements
        doors = {Phase.OPENING: 1, Phase.STAY: 2, Phase.CLOSING: 3}
        return {
            "moving": moving,
            "door_zone": abs(self._position - storey) <= ZONE,
            "occupied": bool(self._riders),
            "alarm_button": bool(self._riders) and self._stuck_s > PRESS_S,
            "safety_circuit_open": "safety_circuit" in self.failing,
            "door_fault": "door_fault" in self.failing,
            "service_mode": 2 if "inspection" in self.failing else 0,
            "direction": (1 if self._way > 0 else 2) if moving else 0,
            "floor": below + 1 if below >= 0 else below,
            "door_state": doors.get(self._phase, 0),
            "fault_code": self._fault_code(),
            "load": round(self._load),
            "machine_room_temperature": self._room + self._heat,
            "power": self.power_kw,
            "trips": self.trips,
            "door_cycles": self.door_cycles,
            "run_hours": self.run_hours,
        }
