"""A simulated community on its wires: every connection of a site file, answered by the equipment behind it.

What comes in: connections and equipment of a site, and the world in which the equipment lives. What goes out: real
endpoints on this machine (TCP ports, ptys, a broker), what to lay over the site file so that a gateway finds them,
and behaviour that goes on for as long as the block does. Silent equipment answers on no wire, and a connection that
is cut carries nothing. A fault of the world itself ends the block with that error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from drivers.driver import Clock
from simulators.model import SimConnection, SimEquipment
from simulators.stage import Address, Endpoint, Served, Stage
from simulators.wires import OPENERS, Job
from simulators.world import World

__all__ = ["STEP_S", "Endpoint", "Served", "serve"]

STEP_S = 0.1
"""Real time between two looks at the world."""


@asynccontextmanager
async def serve(
    connections: Sequence[SimConnection],
    equipment: Sequence[SimEquipment],
    world: World,
    clock: Clock,
    *,
    prefer_site_address: bool,
    paced: bool = True,
    broker: Address | None = None,
) -> AsyncIterator[Served]:
    """Serve all connections while the block lasts.

    `prefer_site_address`: at the site's own loopback port, path or broker where that is free, else anywhere free.
    `paced`: serial lines take their true time. `broker`: one that runs already; without it one is started for each
    broker that the site names. Raises what the world raises.
    """
    served = Served()
    failed: Exception | None = None
    try:
        async with AsyncExitStack() as resources, asyncio.TaskGroup() as tasks:
            stage = Stage(world, clock, prefer_site_address, paced, served, resources, broker)
            running: list[asyncio.Task[None]] = []
            try:
                for connection in connections:
                    members = [each for each in equipment if each.connection == connection.name]
                    running += [
                        tasks.create_task(job(), name=f"simulated {connection.name}")
                        for job in await _open(stage, connection, members)
                    ]
                running.append(tasks.create_task(_live(stage), name="simulated world"))
                yield served
            except Exception as error:  # of whoever uses the block: as it is, not within a group of the tasks'
                failed = error
            for task in running:
                task.cancel()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    if failed is not None:
        raise failed


async def _live(stage: Stage) -> None:
    """Let the world live, and the wires follow it."""
    before_s = stage.clock.mono_s()
    while True:
        await stage.clock.sleep(STEP_S)
        now_s = stage.clock.mono_s()
        stage.world.advance(now_s - before_s)
        before_s = now_s
        for tick in stage.ticks:
            await tick()


async def _open(stage: Stage, connection: SimConnection, members: list[SimEquipment]) -> list[Job]:
    """Serve one connection; what it needs to have running comes back."""
    opener = OPENERS.get(connection.type)
    if opener is None:
        logging.getLogger(__name__).warning(
            "connection %s: nothing simulates type %s; it is left out", connection.name, connection.type
        )
        return []
    return await opener(stage, connection, members)
