"""Equipment without a behaviour of its own: `simulate:` gives each point's value, and writes set it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from drivers.point import Value
from drivers.profile import Strict
from simulators.model import Model

if TYPE_CHECKING:
    from simulators.world import World


class FixedParams(Strict):
    """Any point by name."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Fixed(Model):
    """Values that stand until they are written."""

    PARAMS = FixedParams

    def __init__(self, equipment: str, params: Mapping[str, Any], rng: random.Random) -> None:
        super().__init__(equipment, params, rng)
        self._values: dict[str, Value] = dict(params)

    def step(self, dt_s: float, world: World) -> None:
        """Nothing happens by itself."""

    def write(self, point: str, value: Value) -> None:
        """Set a point. Raises ValueError for one that `simulate:` does not name."""
        if point not in self._values:
            raise ValueError(f"{self.equipment} has no value for {point}; name it in `simulate:`")
        self._values[point] = value

    def values(self) -> Mapping[str, Value]:
        """As they stand."""
        return dict(self._values)
