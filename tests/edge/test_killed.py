"""Killed at any point between detection and journal: each transition is journalled once, delays and counts go on.

The daemon's own parts (alarm engine, clerk) on a ledger that keeps what was committed, cut off at every await in
turn; what the equipment does goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from drivers.point import Batch, Block
from edge.alarms.alarm import AlarmRefused
from edge.alarms.engine import DELAY, PAST, AlarmEngine
from edge.clerk import Clerk
from edge.clock import ManualClock
from edge.store.ledger import Entry, Ledger
from tests.alarms.scene import compiled, pump

RULES = """
hot: {point: temperature, above: 80, deadband: 5, on_delay: 10s, off_delay: 10s}
low: {point: pressure, below: 0.2, deadband: 0.05}
often: {point: starts, count: {over: 2m}, above: 5, deadband: 1}
"""
LONG_S = 70
"""Seconds of the story."""
AWAY_S = 4
"""So long a daemon that was killed needs to be back."""


class Killed(BaseException):
    """As by `kill -9`: nothing is cleaned up, nothing more is written."""


class Disk:
    """What outlives the daemon, and the count of awaits up to its death."""

    def __init__(self, dies_at: int | None) -> None:
        self.journal: list[Entry] = []
        self.state: dict[tuple[str, str], Any] = {}
        self.told: list[tuple[str, str, int]] = []
        self.dies_at = dies_at
        self.awaits = 0

    async def point(self) -> None:
        """One await, at which the daemon may die."""
        self.awaits += 1
        if self.awaits == self.dies_at:
            raise Killed
        await asyncio.sleep(0)

    async def commit(self, entries: Sequence[Entry], state: Mapping[tuple[str, str], Any]) -> list[int]:
        """All or nothing; the daemon may die before it, and after it but before it knows."""
        await self.point()
        self.journal += json_copy(entries)
        for key, body in state.items():
            if body is None:
                self.state.pop(key, None)
            else:
                self.state[key] = json.loads(json.dumps(body))
        await self.point()
        return []

    def load(self, kind: str) -> dict[str, Any]:
        return {key: body for (of, key), body in self.state.items() if of == kind}


def json_copy(entries: Sequence[Entry]) -> list[Entry]:
    return [Entry(e.kind, e.subject, e.time_ns, json.loads(json.dumps(e.body))) for e in entries]


class Daemon:
    """Alarm engine and clerk, as the house puts them together."""

    def __init__(self, disk: Disk, clock: ManualClock) -> None:
        self.disk = disk
        self.clock = clock
        points = pump()
        self.block = Block("pump-1", points)
        rules, document = compiled(RULES, points)
        assert not document.faults
        self.alarms = AlarmEngine(rules)
        self.alarms.restore(disk.load("alarm"))
        self.alarms.resume(disk.load(DELAY), disk.load(PAST), clock.mono_s(), clock.wall_ns())
        self.clerk = Clerk(cast(Ledger, disk), clock)
        self.clerk.listeners.append(self._tell)

    def _tell(self, happening: Any) -> None:
        self.disk.told.append((happening.alarm.id, happening.event, happening.alarm.occurrence))

    async def second(self, values: Mapping[str, Any]) -> None:
        """One poll, one tick, one operator, and what the keeper writes."""
        mono_s, wall_ns = self.clock.mono_s(), self.clock.wall_ns()
        whole = tuple(values[point.name] for point in self.block.points)
        out = self.alarms.evaluate(Batch(self.block, whole, wall_ns, mono_s))
        out += self.alarms.tick(mono_s, wall_ns)
        with contextlib.suppress(AlarmRefused):  # nothing to acknowledge now
            out += self.alarms.ack("pump-1.low", "李工", wall_ns, mono_s)
        if out:
            self.clerk.take(out)
        await self.disk.point()
        await self.clerk.drain()
        progress = self.alarms.progress(mono_s, wall_ns, pasts=True)
        if progress:
            await self.clerk.keep(progress)


def values_at(second: int) -> dict[str, Any]:
    """What the equipment does: hot from 5 to 40, a pressure drop from 50 to 60, six starts in half a minute."""
    return {
        "pressure": 0.1 if 50 <= second < 60 else 0.5,
        "temperature": 90.0 if 5 <= second < 40 else 20.0,
        "running": True,
        "mode": 1,
        "fault_text": "",
        "set_pressure": 0.5,
        "starts": 100 + min(max(second // 5 - 1, 0), 7),
        "current_a": 1.0,
        "current_b": 1.0,
        "current_c": 1.0,
    }


async def story(dies_at: int | None) -> Disk:
    """The whole story; the daemon dies once on the way, and is back after a while."""
    disk = Disk(dies_at)
    clock = ManualClock()
    daemon = Daemon(disk, clock)
    second = 0
    while second < LONG_S:
        try:
            await daemon.second(values_at(second))
        except Killed:
            disk.dies_at = None
            away = AWAY_S - 1
            clock.advance(away)
            second += away
            daemon = Daemon(disk, clock)
        clock.advance(1)
        second += 1
    return disk


def journalled(disk: Disk) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in disk.journal:
        found.setdefault(entry.subject, []).append(entry.body["event"])
    return found


async def test_killed_at_any_await_every_transition_is_journalled_once() -> None:
    whole = await story(None)
    expected = journalled(whole)
    assert expected == {
        "pump-1.hot": ["raised", "cleared"],
        "pump-1.often": ["raised"],
        "pump-1.low": ["raised", "acknowledged", "cleared"],
    }
    times = {(e.subject, e.body["event"]): e.time_ns for e in whole.journal}
    for dies_at in range(1, whole.awaits + 1):
        disk = await story(dies_at)
        assert journalled(disk) == expected, f"killed at await {dies_at}"
        for entry in disk.journal:
            late_s = (entry.time_ns - times[entry.subject, entry.body["event"]]) / 1e9
            # Delays and counts go on: late by the time that it was away at most, never by a delay begun anew.
            assert -1 <= late_s <= AWAY_S + 1, f"killed at await {dies_at}: {entry.subject} is {late_s} s late"


async def test_killed_at_any_await_nobody_is_told_twice_by_the_journal() -> None:
    """What was told before the end stands in the journal: a raise is not told again as a new one."""
    whole = await story(None)
    for dies_at in range(1, whole.awaits + 1):
        disk = await story(dies_at)
        assert len(disk.told) == len(set(disk.told)), f"killed at await {dies_at}"


@pytest.mark.parametrize("rule", ["hot", "low", "often"])
async def test_after_the_story_the_state_is_what_the_journal_says(rule: str) -> None:
    disk = await story(7)
    last = [entry for entry in disk.journal if entry.subject == f"pump-1.{rule}"][-1]
    assert disk.state["alarm", f"pump-1.{rule}"] == last.body["alarm"]
