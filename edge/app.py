"""The life cycle, one page: open the state, put the house together, run until told to stop, drain.

Intake closes first, the store last. Upstream (connections) is nested in downstream (clerk, pushes, uplinks,
console): leaving is draining. Cancellation is the only stop signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path

from drivers.document import Faulty
from drivers.driver import Clock
from edge.clock import SystemClock
from edge.console.server import Console, ConsoleBusy, serve_console
from edge.desk import DeskRefused
from edge.eras import keep_time
from edge.house import House, build
from edge.loop import settled
from edge.notify import Notifier
from edge.site import Site
from edge.site_file import load_site
from edge.store.ledger import StoreError, open_ledger
from edge.store.lock import StateBusy, state_lock
from edge.store.readings import open_readings
from edge.store.state import LEDGER, READINGS, refuse_newer_state
from edge.supervise import Fatal, supervise
from edge.uplinks import open_uplinks

TICK_S = 0.5
"""How finely alarm delays are looked at while one is running."""
PULSE_S = 1.0
"""How often everything else that waits for time to pass is: nothing wakes the processor in between."""
KEEP_S = 60.0
"""How often meters, plans and alarm counts are written down: what a power cut may cost of them."""
DELAYS_S = 5.0
"""How often alarm delays in progress are."""
WATCH_S = 5.0
"""How often the box itself and its uplinks are looked at: the alarms about them wait for ten seconds and more."""
DRAIN_S = 4.0
"""How long stopping may take; the unit's TimeoutStopSec is longer."""

log = logging.getLogger(__name__)


async def run(
    site: Site,
    state: Path,
    stop: asyncio.Event,
    clock: Clock | None = None,
    ready: Callable[[House, Console], None] = lambda house, console: None,
) -> None:
    """Run one site until told to stop. `ready` is called once all tasks run.

    Raises StateBusy, StoreError, ConsoleBusy where it cannot start; Fatal where what every reading passes
    through has failed.
    """
    async with _opened(site, state, clock or SystemClock()) as (house, console), asyncio.TaskGroup() as downstream:
        down = [
            downstream.create_task(house.clerk.run(), name="clerk"),
            downstream.create_task(house.dispatcher.run(), name="pushes"),
            downstream.create_task(_keep(house), name="keeper"),
            downstream.create_task(_keep_ladders(house), name="escalations"),
            downstream.create_task(house.nightly.run(), name="nightly"),
            downstream.create_task(house.keeper.run(), name="history"),
            *(downstream.create_task(each.run(), name="clock") for each in (house.eras,) if each is not None),
            *(downstream.create_task(uplink(), name=name) for name, uplink in open_uplinks(house, DeskRefused)),
        ]
        notifier = Notifier()
        async with asyncio.TaskGroup() as upstream:
            up = [
                upstream.create_task(_ticks(house), name="ticks"),
                upstream.create_task(notifier.feed_watchdog(), name="watchdog"),
                upstream.create_task(house.commands.run(), name="overrides"),
            ]
            for name, way in house.ways.items():
                task = f"connection[{name}]"
                up.append(upstream.create_task(supervise(task, way.run, house.clock, way.lost), name=task))
            notifier.ready(f"{len(house.ways)} connections, {len(site.equipment)} equipment")
            ready(house, console)
            await stop.wait()
            notifier.stopping()
            for each in up:
                each.cancel()
        await _drain(house)
        for each in down:
            each.cancel()


@asynccontextmanager
async def _opened(site: Site, state: Path, clock: Clock) -> AsyncIterator[tuple[House, Console]]:
    """The state directory locked, both files open, the house built, the console listening."""
    host, port = site.console.address()
    token = site.console.token.get_secret_value() if site.console.token else None
    async with AsyncExitStack() as stack:
        stack.enter_context(state_lock(state))
        refuse_newer_state(state)
        ledger = await stack.enter_async_context(open_ledger(state / LEDGER))
        store = await stack.enter_async_context(
            open_readings(state / READINGS, site.storage.commit, site.storage.commit_longest)
        )
        timekeeper, eras = await keep_time(clock, site.time.source, site.time.trust_after, store, ledger)
        clock = timekeeper
        house = await build(site, state, ledger, store, clock, timekeeper.boot)
        house.keep_time(eras)
        console = await stack.enter_async_context(serve_console(house.desk, host, port, token=token, clock=clock))
        yield house, console


async def _ticks(house: House) -> None:
    """The pulse of everything that waits for time to pass. Nothing here waits for a disk."""
    watched_s = -inf
    while True:
        await house.clock.sleep(TICK_S if house.engine.expects(PULSE_S) else PULSE_S)
        if house.eras is not None:
            house.eras.look()
        house.engine.tick()
        now_s = house.clock.mono_s()
        if now_s - watched_s > WATCH_S - TICK_S:
            watched_s = now_s
            house.watch_uplinks()
            house.watch_box()


async def _keep(house: House) -> None:
    """Write delays every few seconds, meters and counts every minute."""
    kept_s = house.clock.mono_s()
    while True:
        await house.clock.sleep(DELAYS_S)
        now_s = house.clock.mono_s()
        if now_s - kept_s > KEEP_S - DELAYS_S / 2:
            kept_s = now_s
            await house.keep()
        else:
            await house.keep_delays()


async def _keep_ladders(house: House) -> None:
    """Write how far escalations have come, soon after that changes."""
    while True:
        await house.dispatcher.moved()
        await house.clock.sleep(PULSE_S)  # what else moves until then is written with it
        await house.keep_ladders()


async def _drain(house: House) -> None:
    """What was read is on disk, what happened is written and told, before the house closes."""
    try:
        async with asyncio.timeout(DRAIN_S):
            await house.clerk.drain()
            await house.keep()
            await house.keep_ladders()
            await house.store.flush()
    except TimeoutError:
        log.error("not everything could be written within %.0f s of the stop; the disk is slow or gone", DRAIN_S)


@contextlib.contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop` while in the block."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def said(error: BaseException) -> str | None:
    """The one line that says why the daemon cannot go on; None for what is a fault of the program."""
    if isinstance(error, BaseExceptionGroup):
        lines = [said(each) for each in error.exceptions]
        return None if None in lines else "; ".join(dict.fromkeys(line for line in lines if line))
    known = isinstance(error, StateBusy | StoreError | ConsoleBusy | Fatal | Faulty | OSError)
    return str(error) if known else None


async def serve(config: Path, state: Path) -> int:
    """`courtyard run`: exit code 0 after a stop, 1 where it cannot run."""
    stop = asyncio.Event()
    try:
        site = load_site(config)
        with stop_on_signals(stop):
            await run(site, state, stop, ready=partial(_announce, site))
    except Exception as error:
        line = said(error)
        if line is None:
            raise
        print(line if isinstance(error, Faulty) else f"courtyard: {line}", file=sys.stderr)
        return 1
    return 0


def _announce(site: Site, house: House, console: Console) -> None:
    console.served.add_done_callback(lambda _: settled())
    log.info("%s runs: %d equipment, console at %s", site.info.name, len(site.equipment), console.url)
