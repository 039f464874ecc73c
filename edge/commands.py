"""Commands to points: guarded, written, read back, journalled; and those for a time, which return by themselves.

What comes in: who wants which value on which point, why, and perhaps for how long; from console, command line and
MQTT alike. What goes out: the value on the device, and in the journal every attempt, those that were refused too.
An override is in the ledger before the device hears of it: a daemon that is killed in the middle returns it after
its next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from drivers.driver import Clock, DeviceSilent, DriverError, Refused
from drivers.point import Point, Value
from edge.acquisition.commands import LONGEST_S, Commands, Fate, Override, fate_of
from edge.acquisition.guards import Barred, alike
from edge.clerk import Clerk
from edge.engine import Engine
from edge.events import Event, Hub
from edge.site import Equipment, Site
from edge.store.ledger import Ledger
from edge.stuck import Stuck
from edge.texts import iso

TICK_S = 0.5
"""How finely overrides return."""
RETRY_S = 10.0
"""After this the return of an override is tried again."""
GATEWAY = "courtyard"
"""Who returns an override, in the journal."""

log = logging.getLogger(__name__)

State = dict[tuple[str, str], dict[str, Any] | None]


class DeskRefused(Exception):
    """It will not be done; the message says why, for the person who asked."""

    def __init__(self, kind: Literal["not_found", "refused", "conflict", "unavailable"], message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Way(Protocol):
    """An acquired connection, as commands and the desk see it."""

    @property
    def up(self) -> bool:
        """Whether it is open now."""
        ...

    def status(self) -> dict[str, Any]:
        """Its row in `connections`."""
        ...

    def worst_age_s(self, point: Point) -> float | None:
        """The oldest that a point can become while its devices answer; None where it is not polled."""
        ...

    def silent(self, equipment: str) -> str | None:
        """Why an equipment is known not to answer now; None where it may."""
        ...

    async def write(self, equipment: Equipment, point: Point, value: Value) -> Value:
        """Write and read back."""
        ...


class PointCommands:
    """Carries commands out, one at a time on each point."""

    def __init__(
        self, site: Site, engine: Engine, clerk: Clerk, ways: Mapping[str, Way], clock: Clock, hub: Hub
    ) -> None:
        self._site = site
        self._clerk = clerk
        self._ways = ways
        self._clock = clock
        self._hub = hub
        self._points = {point.id: point for point in site.points}
        self._commands = Commands(site.guards, engine.live)
        self._stuck = Stuck(engine, dict.fromkeys(each.equipment for each in site.points if each.writable))
        self._returning = asyncio.Event()
        """Set while there is an override: a daemon without one is not woken."""

    @property
    def resting(self) -> bool:
        """Whether nothing returns by itself, now or later."""
        return not self._returning.is_set()

    async def restore(self, ledger: Ledger) -> None:
        """Take up overrides and rates where the ledger says that they were."""
        mono_s, wall_ns = self._clock.mono_s(), self._clock.wall_ns()
        self._stuck.begin()
        for point_id, body in (await ledger.load("command")).items():
            if point_id in self._points:
                self._commands.restore(self._points[point_id], body["time_ns"], mono_s, wall_ns)
        for point_id, body in (await ledger.load("override")).items():
            override = Override.from_body(body, mono_s, wall_ns)
            if point_id in self._points:
                self._commands.overrides[point_id] = override
                self._returning.set()
            else:
                await self._give_up(override, f"{point_id} is no longer in the site file")

    def override(self, point: Point) -> dict[str, Any] | None:
        """The override at work on a point, as everybody outside reads it."""
        found = self._commands.overrides.get(point.id)
        return None if found is None else _shown(found)

    async def write(
        self, point_id: str, value: Value, who: str, reason: str, for_s: float | None = None
    ) -> dict[str, Any]:
        """Write a point that its profile and its guards allow, read it back, and note who, why, before, after.

        With `for_s` (1 s to a day) the value returns by itself to what it was before. Raises DeskRefused.
        """
        point = self._points.get(point_id)
        if point is None:
            raise DeskRefused("not_found", f"no point {point_id}")
        if not who.strip() or not reason.strip():
            raise DeskRefused("refused", "say who you are and why: both go into the journal")
        if for_s is not None and not 1 <= for_s <= LONGEST_S:
            raise DeskRefused("refused", f"a command lasts 1 s to 24 h; {for_s:g} s was asked")
        command = self._command(point, value, who, reason)
        state: State = {}
        try:
            value = self._reserve(point, value)
            error = await self._attempt(point, value, command, state, self._timed(point, value, command, for_s))
        except Barred as barred:
            command |= {"error": str(barred), **barred.facts}
            raise DeskRefused("refused" if barred.lasting else "conflict", str(barred)) from barred
        finally:  # the journal has every attempt, those that were refused too
            await self._note(command, state)
        if error is not None:
            raise DeskRefused("refused" if isinstance(error, Refused) else "unavailable", str(error)) from error
        self._stuck.free(point_id)
        return command

    def _command(self, point: Point, value: Value, who: str, reason: str) -> dict[str, Any]:
        """Its entry in the journal, as far as it is known at the start."""
        return {
            "point": point.id, "before": self._commands.newest(point).value, "asked": value, "after": None,
            "who": who, "reason": reason, "result": "refused",
        }  # fmt: skip

    async def _note(self, command: dict[str, Any], state: State) -> None:
        """Into the journal, with the state that it left, before anybody is told."""
        await self._clerk.note("command", command["point"], command, state)
        self._hub.publish(Event("command", command, self._clock.wall_ns()))

    def _reserve(self, point: Point, value: Value) -> Value:
        equipment_class = self._site.equipment[point.equipment].equipment_class
        return self._commands.reserve(point, equipment_class, value, self._clock.mono_s())

    def _timed(self, point: Point, value: Value, command: Mapping[str, Any], for_s: float | None) -> Override | None:
        if for_s is None:
            return None
        moment = self._clock.mono_s(), self._clock.wall_ns()
        try:
            return self._commands.timed(point, value, for_s, command["who"], command["reason"], *moment)
        except Barred:
            self._commands.settle(point, "refused", None, *moment)
            raise

    async def _attempt(
        self, point: Point, value: Value, command: dict[str, Any], state: State, new: Override | None
    ) -> DriverError | None:
        """Write to the reserved point, read back, release it; what it left goes into `command` and `state`."""
        equipment = self._site.equipment[point.equipment]
        way = self._ways[equipment.connection]
        older = self._commands.overrides.get(point.id)
        # Until the device has said otherwise, it may have been taken or not; where nothing went out, it was not.
        fate: Fate = "failed" if way.up else "refused"
        command["result"] = "failed"
        try:
            await self._foresee(point, new)
            command["after"] = await way.write(equipment, point, value)
            fate = command["result"] = fate_of(point, value, command["after"])
        except DriverError as error:
            if isinstance(error, Refused):
                fate = command["result"] = "refused"
            command["error"] = str(error)
            return error
        finally:
            self._commands.settle(point, fate, command["after"], self._clock.mono_s(), self._clock.wall_ns())
            left = self._commands.ended(point, fate, command["after"], new)
            if fate != "refused" and self._commands.guard(point).spec.min_interval:
                state["command", point.id] = {"time_ns": self._clock.wall_ns()}
            if older or new:
                state["override", point.id] = left.to_body() if left else None
                command["override"] = _told(older, new, left)
            if left:
                self._returning.set()
        return None

    async def _foresee(self, point: Point, new: Override | None) -> None:
        """Write down before what must outlive a `kill -9` in the middle."""
        state: State = {("override", point.id): new.to_body()} if new else {}
        if self._commands.guard(point).spec.min_interval:
            state["command", point.id] = {"time_ns": self._clock.wall_ns()}
        if state:
            await self._clerk.keep(state)

    # What returns by itself.

    async def run(self) -> None:
        """Return overrides whose time has come, for ever."""
        while True:
            await self._returning.wait()
            await self._clock.sleep(TICK_S)
            await asyncio.gather(*(self._return(each) for each in self._commands.due(self._clock.mono_s())))
            if not self._commands.overrides:
                self._returning.clear()

    async def _return(self, override: Override) -> None:
        point = self._points[override.point]
        if self._commands.overrides.get(point.id) is not override:
            return
        aim = self._commands.homeward(point, override)
        command = self._command(point, aim, GATEWAY, f"override by {override.who} ends: {override.reason}")
        if why := self._ways[self._site.equipment[point.equipment].connection].silent(point.equipment):
            # Each attempt would cost the neighbours on its line a whole time-out.
            await self._held(override, command | {"error": why}, {}, DeviceSilent.__name__)
            return
        try:
            value = self._reserve(point, aim)
        except Barred as barred:
            if barred.guard in ("writable", "value", "range"):  # the profile has changed since
                await self._give_up(override, str(barred))
            elif barred.guard not in ("busy", "rate"):  # these pass within the interval
                await self._held(override, command | {"error": str(barred), **barred.facts}, {}, barred.guard)
            return
        state: State = {}
        # While it is on its way it stands for itself: only when it is there is it over.
        error = await self._attempt(point, value, command, state, override)
        if command["result"] != "done":
            await self._held(override, command, state, type(error).__name__)
            return
        there = alike(point, override.returns_to, command["after"])
        if there:
            self._commands.overrides.pop(point.id, None)
            self._stuck.free(point.id)
            state["override", point.id] = None
        command["override"] = {"event": "returned" if there else "returning", **_shown(override)}
        await self._note(command, state)

    async def _held(self, override: Override, command: dict[str, Any], state: State, kind: str) -> None:
        """It cannot return now: said once for each reason, tried again and again."""
        override.due_s = self._clock.mono_s() + RETRY_S
        self._stuck.held(override.point)
        override.trouble = command.get("error") or f"{override.point} reads back {command['after']!r}"
        if kind == override.trouble_kind:
            await self._clerk.keep(state)
            return
        override.trouble_kind = kind
        log.warning("the override of %s cannot return yet: %s", override.point, override.trouble)
        command["override"] = {"event": "held", **_shown(override)}
        await self._note(command, state)

    async def _give_up(self, override: Override, why: str) -> None:
        """It can never return: somebody must look."""
        log.error("the override of %s cannot return to %r: %s", override.point, override.returns_to, why)
        self._commands.overrides.pop(override.point, None)
        self._stuck.held(override.point)
        command = {
            "point": override.point, "before": None, "asked": override.returns_to, "after": None, "who": GATEWAY,
            "reason": f"override by {override.who} ends: {override.reason}", "result": "refused", "error": why,
            "override": {"event": "given up", **_shown(override)},
        }  # fmt: skip
        await self._note(command, {("override", override.point): None})


def _shown(override: Override) -> dict[str, Any]:
    return {
        "value": override.value,
        "returns_to": override.returns_to,
        "until": iso(override.until_ns),
        "for_s": override.for_s,
        "who": override.who,
        "reason": override.reason,
        "trouble": override.trouble or None,
    }


def _told(older: Override | None, new: Override | None, left: Override | None) -> dict[str, Any]:
    """What a command has done to overrides, for the journal."""
    if left is not None and left is new:
        replaced = {"replaces": _shown(older)} if older else {}
        return {"event": "set", **_shown(left), **replaced}
    if left is not None:
        return {"event": "goes on", **_shown(left)}
    return {"event": "cancelled", **_shown(older)} if older else {"event": "not set"}
