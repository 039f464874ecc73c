"""`courtyard demo` and `courtyard simulate`: the simulated community, with and without the daemon on it.

The only module that knows both the daemon and the simulators. The devices are served on real protocols (TCP,
ptys, an embedded broker) on free ports, and the daemon finds them there as it would find real ones.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from drivers.document import merge
from drivers.driver import Clock, Keys
from edge.app import run, said, stop_on_signals
from edge.clock import SystemClock
from edge.console.server import Console
from edge.data import CONFIG, SCENARIOS
from edge.house import House
from edge.loop import settled
from edge.site import Site
from edge.site_file import load_site
from edge.store.lock import make_folder
from edge.terminal import Terminal
from simulators.model import SimConnection, SimEquipment
from simulators.scenario import load_scenario
from simulators.serve import Served, serve
from simulators.world import World

DEFAULT_PORT = 8080
EVENING = SCENARIOS / "evening.yaml"
QUIET = SCENARIOS / "quiet.yaml"


def default_state() -> Path:
    """Where the demo keeps its state when nobody says otherwise."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "courtyard" / "demo"


def free_port(wanted: int = 0) -> int:
    """`wanted` where it is free on loopback, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port on loopback")


def sim_connections(site: Site) -> list[SimConnection]:
    """The site's connections as simulators need them."""
    return [
        SimConnection(name, each.settings.type, each.settings.model_dump(exclude={"type"}))
        for name, each in site.connections.items()
    ]


def sim_equipment(site: Site) -> list[SimEquipment]:
    """The site's equipment as simulators need it."""
    return [
        SimEquipment(each.id, each.profile, each.connection, cast(Keys, each.device.address), each.simulate)
        for each in site.equipment.values()
    ]


def build_world(site: Site, scenario: Path, seed: int, speed: float) -> World:
    """The community's behaviour; raises Faulty where the scenario has mistakes."""
    equipment = sim_equipment(site)
    story = load_scenario(scenario, equipment, site.connections, site.zone)
    return World(equipment, seed=seed, scenario=story, speed=speed)


@asynccontextmanager
async def simulated(
    config: Path,
    overrides: Mapping[str, Any],
    scenario: Path,
    *,
    seed: int = 1,
    speed: float = 1.0,
    clock: Clock | None = None,
    paced: bool = True,
) -> AsyncIterator[tuple[Site, Served]]:
    """The devices of a site served on free ports, and the site with these ports laid over it.

    `clock` and `paced` are for tests, which own the time and do not wait for serial lines.
    """
    places = merge(overrides, {"connections": _listeners(load_site(config, overrides))})
    site = load_site(config, places)
    world = build_world(site, scenario, seed, speed)
    async with serve(
        sim_connections(site),
        sim_equipment(site),
        world,
        clock or SystemClock(),
        prefer_site_address=False,
        paced=paced,
    ) as served:
        found: dict[str, Any] = {"connections": {name: dict(over) for name, over in served.overrides.items()}}
        if served.broker is not None:
            host, port = served.broker
            found["uplinks"] = {
                name: {"host": host, "port": port} for name, each in site.uplinks.items() if each.type == "mqtt"
            }
        yield load_site(config, merge(places, found)), served


def _listeners(site: Site) -> dict[str, Any]:
    """Free ports for the connections where the daemon listens and the devices dial in."""
    return {
        name: {"listen": f"127.0.0.1:{free_port()}"}
        for name, each in site.connections.items()
        if hasattr(each.settings, "listen")
    }


async def demo(arguments: argparse.Namespace) -> int:
    """The simulated community and the daemon on it, until Ctrl-C or `--for`."""
    state = arguments.state or default_state()
    port = free_port(DEFAULT_PORT) if arguments.port is None else arguments.port
    stop = asyncio.Event()
    overrides = {"console": {"listen": f"127.0.0.1:{port}"}}
    terminal = Terminal(state)
    try:
        make_folder(state)
        _log_to(state / "demo.log")
        with stop_on_signals(stop):
            async with simulated(
                CONFIG / "site.yaml",
                overrides,
                arguments.scenario or EVENING,
                seed=arguments.seed,
                speed=arguments.speed,
            ) as (site, served):
                end = asyncio.get_running_loop().call_later(arguments.for_s, stop.set) if arguments.for_s else None

                def ready(house: House, console: Console) -> None:
                    console.served.add_done_callback(lambda _: settled())
                    terminal.begin(house, console.url, len(served.endpoints))

                with terminal:
                    await run(site, state, stop, ready=ready)
                if end is not None:
                    end.cancel()
    except Exception as error:
        line = said(error)
        if line is None:
            raise
        terminal.complain(line)
        return 1
    return 0


async def simulate(arguments: argparse.Namespace) -> int:
    """Only the devices of a site, each at the site's own address where that is on this machine and free."""
    site = load_site(arguments.config)
    world = build_world(site, arguments.scenario or QUIET, arguments.seed, arguments.speed)
    stop = asyncio.Event()
    with stop_on_signals(stop):
        async with serve(
            sim_connections(site), sim_equipment(site), world, SystemClock(), prefer_site_address=True
        ) as served:
            for endpoint in served.endpoints:
                print(f"{endpoint.address:<28} {endpoint.kind:<14} {endpoint.what}", flush=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(arguments.for_s):
                    await stop.wait()
    return 0


def _log_to(path: Path) -> None:
    """The daemon's log goes into a file: the terminal shows a summary."""
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", encoding="utf-8"
    )
    for noisy in ("httpx", "httpcore", "amqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
