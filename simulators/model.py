"""What a simulated equipment is: its place on the wires, and the behaviour behind its points.

In come behaviour time and writes; out go the values of every point of the profile, in the profile's units.
A model knows no protocol: registers, topics and frames are made from its values by whoever serves them.
A model's own keys (`simulate:` of a profile or an equipment) and the keys of its faults (`with:` of a
scenario) are pydantic models, so that a mistake in a file is shown where it stands.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from drivers.driver import Keys
from drivers.point import Value
from drivers.profile import Profile, Strict

if TYPE_CHECKING:
    from simulators.world import World


@dataclass(frozen=True, slots=True)
class SimConnection:
    """One connection of the site file, as simulators need it."""

    name: str
    type: str
    """`modbus-tcp`, `modbus-rtu`, `mqtt` ..."""
    settings: Mapping[str, Any]
    """The connection's other keys, as they stand in the site file."""


@dataclass(frozen=True, slots=True, eq=False)
class SimEquipment:
    """One equipment of the site file, as simulators need it."""

    id: str
    profile: Profile
    connection: str
    address: Keys
    """Where the device is on its connection: the protocol's own model."""
    params: Mapping[str, Any]
    """`simulate:` of the profile with that of the equipment laid over it; `model` names the model."""


class Plain(Strict):
    """The keys of a fault, or of a model, that has none."""


class Model(ABC):
    """The behaviour of one equipment. Deterministic: all chance comes from the `rng` that it is given."""

    PARAMS: ClassVar[type[Strict]] = Plain
    """The keys that `simulate:` may have beside `model`."""
    FAULTS: ClassVar[Mapping[str, type[Strict]]] = {}
    """What can go wrong, and the keys that `with:` may have for it."""
    PHASES: ClassVar[int] = 3
    """Phases of the supply that its power loads: 3, or 1."""
    CADENCE_S: ClassVar[float] = 0.0
    """Behaviour seconds that are saved up into one step: slow equipment need not be stepped with the fast."""
    faults: ClassVar[frozenset[str]] = frozenset()
    """The names of FAULTS."""

    def __init_subclass__(cls) -> None:
        cls.faults = frozenset(cls.FAULTS)

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        self.equipment = equipment
        self.rng = rng
        self.failing: dict[str, Any] = {}
        """Faults at work now, with their checked keys."""

    def join(self, world: World) -> None:  # noqa: B027  (most models share nothing with others)
        """Called once before the first step, when all models of the world exist."""

    @abstractmethod
    def step(self, dt_s: float, world: World) -> None:
        """Live `dt_s` seconds of behaviour time; `world.now` is the time at their end."""

    @abstractmethod
    def values(self) -> Mapping[str, Value]:
        """Every point of the profile by name, in its unit."""

    @property
    def power_kw(self) -> float:
        """Electrical power drawn now, which the community's meter sums."""
        return 0.0

    def write(self, point: str, value: Value) -> None:
        """Take a command. Raises ValueError where the equipment refuses it."""
        raise ValueError(f"{self.equipment} takes no writes; it refuses {value!r} for {point}")

    def fail(self, fault: str, **params: Any) -> None:
        """Begin a fault, or begin it anew. Raises ValueError for an unknown fault and for wrong keys."""
        if fault not in self.FAULTS:
            raise ValueError(f"{self.equipment} has no fault {fault!r}; it has {', '.join(sorted(self.faults))}")
        self.failing[fault] = self.FAULTS[fault].model_validate(params)
        self.on_fail(fault)

    def mend(self, fault: str) -> None:
        """End a fault; nothing happens where it was not at work."""
        if self.failing.pop(fault, None) is not None:
            self.on_mend(fault)

    def on_fail(self, fault: str) -> None:  # noqa: B027  (for models that must act at once)
        """A fault has begun."""

    def on_mend(self, fault: str) -> None:  # noqa: B027
        """A fault has ended."""

    def reports(self) -> bool:
        """Whether the device has something to report now; asking consumes it. False for devices that are polled."""
        return False

    def events(self) -> list[tuple[str, Value]]:
        """Changes to tell, as (point, value), oldest first; asking drains them. For devices that tell events."""
        return []


class Shared(ABC):
    """What several models of one connection share, such as the water in their common pipe."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    @abstractmethod
    def begin(self, world: World) -> None:
        """Called once, when all have joined: find a steady state for the time of day."""

    @abstractmethod
    def step(self, dt_s: float, world: World) -> None:
        """Live `dt_s` seconds; called before the models' own step."""
