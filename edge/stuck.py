"""Equipment with an override that cannot return: what the gateway's rule `override_held` looks at.

What comes in: points whose override is held or given up, and points that have been commanded since. What goes out:
the engine's connection `override:<equipment>`, up while any point of the equipment is stuck.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge.engine import Engine
from edge.site_rules import OVERRIDE


class Stuck:
    """By equipment, the points that stand where somebody wanted them for a time only."""

    def __init__(self, engine: Engine, equipment: Iterable[str]) -> None:
        self._engine = engine
        self._points: dict[str, set[str]] = {each: set() for each in equipment}

    def begin(self) -> None:
        """The daemon has started: an alarm from before it clears unless an override is found stuck again."""
        for equipment in self._points:
            self._tell(equipment)

    def held(self, point: str) -> None:
        """Its override cannot return."""
        self._note(point, stuck=True)

    def free(self, point: str) -> None:
        """It has returned, or somebody has commanded it since."""
        self._note(point, stuck=False)

    def _note(self, point: str, *, stuck: bool) -> None:
        equipment = point.rpartition(".")[0]
        points = self._points.get(equipment)
        if points is None or (point in points) is stuck:
            return
        points ^= {point}
        self._tell(equipment)

    def _tell(self, equipment: str) -> None:
        self._engine.connection(f"{OVERRIDE}{equipment}", up=bool(self._points[equipment]))
