"""The whole demo community, told as a timeline: real sockets and ptys, a clock that the test owns.

Time passes in steps. After each step the test waits until everything has come to rest: every poller asleep on the
clock, every message that the simulators sent taken by the daemon, everything that happened written and told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.document import merge
from edge.app import run
from edge.clock import ManualClock
from edge.console.server import Console
from edge.data import CONFIG, SCENARIOS
from edge.demo import simulated
from edge.house import House
from simulators.serve import Served

STEP_S = 0.5
REST_S = 10.0
"""Real time in which everything must have come to rest after a step."""
QUIET = 3
"""So many looks in a row must find everything at rest: a pty hands its bytes on a moment later."""
LOSSY_S = 0.05
"""Real time given to messages that may never arrive, because their broker or line is gone."""


@dataclass(slots=True, eq=False)
class Community:
    """A running community, and what has happened in it."""

    clock: ManualClock
    served: Served
    house: House
    console: Console
    began_s: float
    told: list[dict[str, Any]] = field(default_factory=list)
    """Events of kinds alarm, order and push, each with `at`: seconds from the start."""

    async def live(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.advance(STEP_S)
            await self.rest()

    async def rest(self) -> None:
        """Wait until everything that this moment causes has been done."""
        began = time.monotonic()
        quiet = 0
        while quiet < QUIET:
            quiet = quiet + 1 if self._resting(lossy=time.monotonic() - began > LOSSY_S) else 0
            assert time.monotonic() - began < REST_S, f"never comes to rest: {self._restless()}"
            await asyncio.sleep(0.001)

    def _resting(self, *, lossy: bool) -> bool:
        return not self._restless() and (lossy or not self._under_way())

    def _restless(self) -> list[str]:
        """Who is still at work."""
        asleep = self.clock.sleeping()
        wanted = {f"connection[{n}]" for n, way in self.house.ways.items() if way.connection.requests}
        busy = sorted((wanted | {"ticks", "keeper", "simulated world"}) - asleep)
        if not self.house.clerk.idle:
            busy.append("clerk")
        return busy

    def _under_way(self) -> list[str]:
        """Listening connections that have not yet taken all that was sent to them."""
        return [
            name
            for name, way in self.house.ways.items()
            if not way.connection.requests and way.taken < self.served.counts[name]
        ]

    def happened(self, kind: str, event: str | None = None) -> list[tuple[float, str]]:
        """When and to whom: (seconds from the start, id) of all that happened of a kind."""
        return [
            (each["at"], str(each["id"]))
            for each in self.told
            if each["kind"] == kind and event in (None, each.get("event"))
        ]


@asynccontextmanager
async def community(
    state: Path,
    scenario: str,
    seed: int = 1,
    clock: ManualClock | None = None,
    over: Mapping[str, Any] | None = None,
) -> AsyncIterator[Community]:
    """The demo's site on a scenario, running while in the block; `over` is laid over its site file."""
    clock = clock or ManualClock()
    began_s = clock.mono_s()
    stop = asyncio.Event()
    up: asyncio.Future[tuple[House, Console]] = asyncio.get_running_loop().create_future()
    # Time-outs are real time; with simulators in the same process a short one is long enough.
    overrides: dict[str, Any] = {
        "console": {"listen": "127.0.0.1:0"},
        "connections": {"pump-room": {"timeout": 0.05}},
    }
    overrides = merge(overrides, over or {})
    async with (
        simulated(
            CONFIG / "site.yaml", overrides, SCENARIOS / f"{scenario}.yaml", seed=seed, clock=clock, paced=False
        ) as (site, served),
        asyncio.TaskGroup() as tasks,
    ):
        daemon = tasks.create_task(
            run(site, state, stop, clock, ready=lambda house, console: up.set_result((house, console))), name="daemon"
        )
        waited: list[asyncio.Future[Any]] = [daemon, up]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if daemon.done():
            daemon.result()
        house, console = up.result()
        story = Community(clock, served, house, console, began_s)
        listening = tasks.create_task(_listen(story), name="story")
        try:
            yield story
        finally:
            listening.cancel()
            stop.set()


async def _listen(story: Community) -> None:
    with story.house.hub.subscribe() as listener:
        async for event in listener:
            if event.kind in ("alarm", "order", "push", "command"):
                at = round(story.clock.mono_s() - story.began_s, 3)
                story.told.append({"at": at, "kind": event.kind, **event.body})
