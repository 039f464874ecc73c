"""The simulated community: all models on one behaviour clock, and the scenario that befalls them.

In comes real time by `advance`; out go the models' values. A speed factor makes behaviour pass faster; what
carries it, the wire, stays as slow as it is. The same seed and the same calls give the same history.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

from simulators.model import Model, Shared, SimEquipment
from simulators.models import build
from simulators.scenario import SILENT, Event, Scenario

S = TypeVar("S", bound=Shared)

LONGEST_STEP_S = 1.0
_CLOSE_S = 1e-6


class World:
    """All simulated equipment of a site, and the time in which it lives."""

    def __init__(
        self,
        equipment: Sequence[SimEquipment],
        seed: int,
        start: datetime | None = None,
        speed: float = 1.0,
        *,
        scenario: Scenario | None = None,
    ) -> None:
        """Build every model, in a steady state for the start: `start`, or the scenario's where that is left out.

        Raises ValueError for an equipment whose `simulate:` is wrong, a start that is missing or has no time
        zone, and a speed that is not above 0.
        """
        start = start or (scenario.start if scenario else None)
        if start is None or start.tzinfo is None:
            raise ValueError("the world needs a start with a time zone, or a scenario that gives one")
        if not speed > 0:
            raise ValueError(f"speed is {speed:g}; it must be above 0, 1 is life")
        self.seed = seed
        self.speed = speed
        self.start = start
        self.elapsed_s = 0.0
        """Behaviour seconds since the start."""
        self.silent: set[str] = set()
        """Equipment that does not answer."""
        self.cut: set[str] = set()
        """Connections that carry nothing."""
        self._set_time()
        self._connection = {each.id: each.connection for each in equipment}
        self._shared: dict[tuple[str, type[Shared]], Shared] = {}
        self.models: dict[str, Model] = {each.id: build(each, self._rng(each.id)) for each in equipment}
        for model in self.models.values():
            model.join(self)
        for shared in self._shared.values():
            shared.begin(self)
        self._saved = dict.fromkeys(self.models, 0.0)
        self._plan = sorted(self._actions(scenario.events if scenario else ()), key=lambda action: action[0])

    def _rng(self, name: str) -> random.Random:
        """Chance of its own for each part, so that one more equipment changes nobody else's history."""
        return random.Random(f"{self.seed}/{name}")

    def shared(self, equipment: str, kind: type[S]) -> S:
        """What the models of this kind on the equipment's connection have in common; made when first asked for."""
        key = (self._connection[equipment], kind)
        if key not in self._shared:
            self._shared[key] = kind(self._rng("/".join((key[0], kind.__name__))))
        return cast(S, self._shared[key])

    def _set_time(self) -> None:
        utc = self.start.astimezone(UTC) + timedelta(seconds=self.elapsed_s)
        self.now: datetime = utc.astimezone(self.start.tzinfo)
        """Behaviour time, in the site's zone."""
        now = self.now
        self.hour: float = now.hour + now.minute / 60 + (now.second + now.microsecond / 1e6) / 3600
        """Of the local day, 0..24."""

    # ---- time ----

    def advance(self, real_dt_s: float) -> None:
        """Let `real_dt_s` seconds of real time pass: faults begin and end on time, models step by 1 s at most."""
        left = real_dt_s * self.speed
        self._act()
        while left > _CLOSE_S:
            dt = min(left, LONGEST_STEP_S)
            if self._plan:
                dt = min(dt, max(self._plan[0][0] - self.elapsed_s, _CLOSE_S))
            self._step(dt)
            left -= dt
            self._act()

    def _step(self, dt_s: float) -> None:
        self.elapsed_s += dt_s
        self._set_time()
        for shared in self._shared.values():
            shared.step(dt_s, self)
        saved = self._saved
        for name, model in self.models.items():
            waited = saved[name] + dt_s
            if waited + _CLOSE_S < model.CADENCE_S:
                saved[name] = waited
            else:
                saved[name] = 0.0
                model.step(waited, self)

    # ---- what goes wrong ----

    def _actions(self, events: Sequence[Event]) -> list[tuple[float, Callable[[], None]]]:
        actions: list[tuple[float, Callable[[], None]]] = []
        for event in events:
            actions.append((event.at_s, partial(self.fail, event)))
            if event.for_s is not None:
                actions.append((event.at_s + event.for_s, partial(self.mend, event)))
        return actions

    def _act(self) -> None:
        while self._plan and self._plan[0][0] <= self.elapsed_s + _CLOSE_S:
            self._plan.pop(0)[1]()

    def fail(self, event: Event) -> None:
        """Let an event begin now. Raises ValueError and KeyError for a fault and a target that do not exist."""
        if event.connection:
            self.cut.add(event.target)
        elif event.fault == SILENT:
            self.silent.add(event.target)
        else:
            params: dict[str, Any] = dict(event.params or {})
            self.models[event.target].fail(event.fault, **params)

    def mend(self, event: Event) -> None:
        """Let an event end now."""
        if event.connection:
            self.cut.discard(event.target)
        elif event.fault == SILENT:
            self.silent.discard(event.target)
        else:
            self.models[event.target].mend(event.fault)
