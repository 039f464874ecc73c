"""The power cut of a whole community: a site whose 5,000 alarms come within ten seconds, and the daemon behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from drivers.driver import Clock
from drivers.point import Batch, Block
from edge.house import House, build
from edge.site import Site
from edge.site_file import load_site
from edge.store.ledger import open_ledger
from edge.store.readings import open_readings

LINES = 25
EACH = 50
"""Circuits on a line, four alarms on each: 5,000 in all."""
LIFTS = 4
_RULE = (
    "{{code: S-0{n}, name: {{zh: 断电{n}, en: Power lost {n}}}, advice: {{zh: 看, en: Look}}, "
    "priority: {p}, point: p{n}, is: true{more}}}"
)
_POINT = "{{name: {{zh: 点{n}, en: P{n}}}, kind: bool, register: discrete, address: {n}}}"


def _profile(name: str, rules: dict[str, str], more: str = "") -> str:
    """A profile with one point for each rule, given by name and priority."""
    points = [f"  p{n}: {_POINT.format(n=n)}" for n in range(len(rules))]
    made = [f"  {rule}: {_RULE.format(n=n, p=p, more=more)}" for n, (rule, p) in enumerate(rules.items())]
    head = [f"profile: {name}", "name: {zh: 回路, en: Circuit}", "protocol: modbus"]
    return "\n".join([*head, 'source: "synthetic profile: of this test"', "points:", *points, "alarms:", *made])


PROFILES = {
    "light": _profile("light/storm", {"a0": "high", "a1": "medium", "a2": "low", "a3": "low"}),
    "power": _profile("power/storm", {"lost": "high"}, ", root_cause: true"),
    "elevator": _profile("elevator/storm", {"trapped": "critical"}, ", rescue: true"),
}
DUTY = """\
duty:
  channels: {record: {type: file, path: pushes.jsonl}}
  recipients: {desk: {name: 值班员, channels: [record]}}
  ladders:
    critical: [{after: 0s, to: [desk]}]
    high: [{after: 0s, to: [desk]}]
    medium: [{after: 0s, to: [desk]}]
    low: [{after: 0s, to: [desk]}]
"""


def storm_site(folder: Path, *, parents: bool, lines: int = LINES) -> Site:
    """The site; with `parents` everything hangs on the supply, without them nobody has said so."""
    for name, text in PROFILES.items():
        (folder / "profiles" / name).mkdir(parents=True, exist_ok=True)
        (folder / "profiles" / name / "storm.yaml").write_text(text, encoding="utf-8")
    hangs = ", parent: supply-1" if parents else ""
    rows = ["site: {id: s, name: 风暴小区, timezone: Asia/Shanghai}", "profiles: profiles", "connections:"]
    rows += [f"  line-{n}: {{type: modbus-tcp, host: 10.0.0.{n + 1}{hangs}}}" for n in range(lines)]
    rows += ["  own: {type: modbus-tcp, host: 10.0.1.1}", "equipment:"]
    rows += ["  supply-1: {profile: power/storm, connection: own, unit_id: 1}"]
    rows += [
        f"  lift-{n}: {{profile: elevator/storm, connection: own, unit_id: {n + 10}{hangs}}}" for n in range(LIFTS)
    ]
    rows += [
        f"  light-{n}-{unit}: {{profile: light/storm, connection: line-{n}, unit_id: {unit + 1}}}"
        for n in range(lines)
        for unit in range(EACH)
    ]
    (folder / "site.yaml").write_text("\n".join([*rows, DUTY]), encoding="utf-8")
    return load_site(folder / "site.yaml")


@asynccontextmanager
async def house_of(site: Site, state: Path, clock: Clock) -> AsyncIterator[House]:
    """The daemon without its connections: engine, clerk, ledger and pushes at work."""
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(open_ledger(state / "ledger.db"))
        store = await stack.enter_async_context(open_readings(state / "readings.db"))
        house = await build(site, state, ledger, store, clock)
        for name in site.connections:  # the lines themselves stay up
            house.engine.connection(name, up=True)
        tasks = [asyncio.create_task(house.clerk.run()), asyncio.create_task(house.dispatcher.run(), name="pushes")]
        try:
            yield house
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


def blocks(site: Site) -> Iterator[Block]:
    """The circuits, in the order in which the light goes out: one line after the other, and the lifts in between."""
    names = [name for name in site.equipment if name.startswith("light-")]
    for count, name in enumerate(names):
        if count % 300 == 299 and count // 300 < LIFTS:
            yield block_of(site, f"lift-{count // 300}")
        yield block_of(site, name)


def block_of(site: Site, name: str) -> Block:
    """All points of one equipment."""
    return Block(name, site.equipment[name].device.points)


def all_true(block: Block, clock: Clock) -> Batch:
    """Every point of a block reads true."""
    return Batch(block, (True,) * len(block.points), clock.wall_ns(), clock.mono_s())
