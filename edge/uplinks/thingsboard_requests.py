"""What ThingsBoard may ask of an equipment, and what it is answered.

    {"method": "read", "params": {"point": "power"}}                 or "params": "power"
    {"method": "write", "params": {"point": "on", "value": true}}    with `who`, `reason`, `for_s` as wanted
    {"method": "on", "params": true}                                 the same: the name of a point that is written
    {"method": "ack", "params": {"alarm": "dry_run"}}                the alarm's rule, or its whole id

Answers have `ok`, and `error` where something will not be done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from edge.uplinks.command import MOST_NAME, MOST_WORDS, command_of, outcome, words
from edge.uplinks.shape import Body, Live, SiteView, Write

WHO = "thingsboard"
REASON = "request from ThingsBoard"

Step = Callable[[str, str, str, str | None], Awaitable[Body]]
"""(alarm id, step, who, reason) -> the alarm afterwards."""


class Requests:
    """Carries out requests."""

    def __init__(
        self,
        site: SiteView,
        live: Live,
        write: Write,
        step: Step,
        refusal: type[Exception],
        *,
        allowed: bool,
    ) -> None:
        self._points = site.points
        self._live = live
        self._write = write
        self._step = step
        self._refusal = refusal
        self._allowed = allowed

    async def answer(self, equipment: str, method: str, params: Any) -> dict[str, Any]:
        """Do what is asked; what is answered."""
        return await outcome(self._done(equipment, method, params), self._refusal, f"request {method} of {equipment}")

    async def _done(self, equipment: str, method: str, params: Any) -> Body:
        if method == "read":
            name = params.get("point") if isinstance(params, dict) else params
            value, quality, time_ns = self._live(self._point(equipment, name))
            return {"value": value, "quality": quality, "ts": time_ns // 1_000_000}
        known = method in ("write", "ack") or f"{equipment}.{method}" in self._points
        if not known:
            raise ValueError(f"no method {method!r}; there are read, write, ack, and the names of points")
        if not self._allowed:
            raise ValueError("commands are not taken by this way; set commands: true for this uplink")
        given = params if isinstance(params, dict) else {"value": params}
        if method == "ack":
            return await self._acknowledged(equipment, given)
        point = self._point(equipment, given.get("point") if method == "write" else method)
        command = command_of(given, WHO, REASON)
        return await self._write(point, command.value, command.who, command.reason, command.for_s)

    async def _acknowledged(self, equipment: str, given: Body) -> Body:
        alarm = given.get("alarm", given.get("value"))
        if not isinstance(alarm, str):
            raise ValueError('no "alarm"; write the name of its rule')
        whole = alarm if alarm.startswith(f"{equipment}.") else f"{equipment}.{alarm}"
        who, reason = words(given, "who", WHO, MOST_NAME), words(given, "reason", REASON, MOST_WORDS)
        return {"state": (await self._step(whole, "ack", who, reason)).get("state")}

    def _point(self, equipment: str, name: Any) -> str:
        point = f"{equipment}.{name}"
        if not isinstance(name, str) or point not in self._points:
            raise ValueError(f"no point {name!r} of {equipment}")
        return point
