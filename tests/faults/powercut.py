"""Power cuts at random moments of a record of writes: the files are made as they may stand then, and opened.

What comes in: how often, and a seed. What goes out: what was found. Both files open by themselves; no entry of the
ledger is missing that anybody may have been told of; of the readings there is all up to some moment, in order, once
and true; and no number that may have left the box is given out a second time.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.point import Value
from edge.store.ledger import Entry, open_ledger
from edge.store.readings import ReadingsStore, open_readings
from edge.store.state import LEDGER, READINGS
from tests.faults.powercut_writer import POINTS, values_of
from tests.faults.shim import Step, after_cut, recorded, unsynced


@dataclass
class Counted:
    """What was found."""

    cuts: int = 0
    opened: int = 0
    """Without repair, with nothing set aside."""
    told: int = 0
    """Ledger entries that somebody may have been told of, over all cuts."""
    forgotten: list[str] = field(default_factory=list)
    """Of these not in the ledger."""
    wrong: list[str] = field(default_factory=list)
    """Readings that are out of order, doubled, missing in the middle or changed; numbers given out twice."""
    torn: int = 0
    """Writes that were not synced when the power went, over all cuts."""


def write(folder: Path, rounds: int) -> list[Step]:
    """Let the writer write; what it did."""
    command = [sys.executable, "-m", "tests.faults.powercut_writer", str(folder / "written"), str(folder / "trace")]
    subprocess.run([*command, str(rounds)], check=True)
    return recorded(folder / "trace")


async def cut_often(folder: Path, times: int, seed: int, rounds: int) -> Counted:
    """So many cuts into one record."""
    chance = random.Random(seed)
    steps = write(folder, rounds)
    if not any(step.kind == "write" for step in steps):
        pytest.skip("this Python has its own SQLite built in; the record needs the system's shared one")
    found = Counted()
    begun, done = ([n for n, step in enumerate(steps) if step.name == name] for name in ("packing", "packed"))
    packings = list(zip(begun, done, strict=True))
    for number in range(times):
        # Any moment; every other time one in which rows are being packed, which is when they change their place.
        first, last = chance.choice(packings) if number % 2 else (0, len(steps) - 1)
        at = chance.randrange(first, last) + 1
        await _cut(folder / f"cut-{number}", steps[:at], chance, found)
    return found


async def _cut(state: Path, steps: list[Step], chance: random.Random, found: Counted) -> None:
    state.mkdir()
    for name, content in after_cut(steps, chance).items():
        (state / name).write_bytes(content)
    found.cuts += 1
    found.torn += unsynced(steps)
    marks = [step.name.split() for step in steps if step.kind == "mark"]
    told = max((int(mark[1]) for mark in marks if mark[0] == "told"), default=0)
    given = max((int(mark[1]) for mark in marks if mark[0] == "given"), default=0)
    found.told += told
    troubles = [await _look_at_ledger(state, told, found), await _look_at_readings(state, given, found)]
    checked = {name: _integrity(state / name) for name in (LEDGER, READINGS)}
    troubles += [f"{name}: {result}" for name, result in checked.items() if result != "ok"]
    shutil.rmtree(state)
    if not any(troubles):
        found.opened += 1
    else:
        found.wrong += [f"{state.name}: {trouble}" for trouble in troubles if trouble]


async def _look_at_ledger(state: Path, told: int, found: Counted) -> str | None:
    async with open_ledger(state / LEDGER) as ledger:
        numbers = [entry.body["n"] for _, entry in await ledger.journal(limit=100_000)]
        if numbers != list(range(1, len(numbers) + 1)):
            found.wrong.append(f"{state.name}: the journal is not in order: {numbers[:20]}")
        found.forgotten += [f"{state.name}: entry {n}" for n in range(len(numbers) + 1, told + 1)]
        kept = {key: body["n"] for key, body in (await ledger.load("alarm")).items()}
        if kept != {f"a{n % 7}": n for n in numbers[-7:]}:
            found.wrong.append(f"{state.name}: the state {kept} is not that of the journal up to {len(numbers)}")
        await ledger.commit([Entry("alarm", "after", 0, {"n": 0})])
        return ledger.trouble


async def _look_at_readings(state: Path, given: int, found: Counted) -> str | None:
    async with open_readings(state / READINGS, 3600) as store:
        found.wrong += [f"{state.name}: {wrong}" for wrong in await _told_wrong(store)]
        waiting = await store.read_after(0, 100_000)
        if waiting and store.cursor("north") > waiting[-1].seq:
            found.wrong.append(f"{state.name}: the cursor is at {store.cursor('north')}, behind the newest row")
        fresh = store.append("e1", ("p0",), (1,), None, 1)
        if fresh <= given:
            found.wrong.append(f"{state.name}: number {fresh} is given out again, {given} had left the box")
        await store.flush()
        return store.trouble


async def _told_wrong(store: ReadingsStore) -> list[str]:
    """What history, packed and fresh, tells otherwise than it was written: all up to some row, once, in order."""
    told: dict[int, dict[str, Value]] = {}
    doubled = 0
    async for page in store.history(None, 0, 2**60):
        for time_ns, point, value, _ in page:
            row = told.setdefault(time_ns // 1000, {})
            doubled += point in row
            row[point] = value
    wrong = [f"{doubled} readings are there twice"] if doubled else []
    if list(told) != list(range(1, len(told) + 1)):
        wrong.append(f"rows are missing or out of order: {list(told)[:20]} ...")
    for count, row in told.items():
        if row != {f"e1.{name}": value for name, value in zip(POINTS, values_of(count), strict=True)}:
            wrong.append(f"row {count} is not what was written")
            break
    return wrong


def _integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])


def run(folder: Path, times: int, seed: int, rounds: int) -> Counted:
    """As `cut_often`, from outside an event loop."""
    return asyncio.run(cut_often(folder, times, seed, rounds))
