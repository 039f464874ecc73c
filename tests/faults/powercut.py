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

from edge.store.ledger import Entry, open_ledger
from edge.store.readings import open_readings
from edge.store.state import LEDGER, READINGS
from tests.faults.powercut_writer import values_of
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
    for number in range(times):
        at = chance.randrange(1, len(steps) + 1)
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
        rows = await store.read_after(0, 100_000)
        for place, row in enumerate(rows, 1):
            if row.values != values_of(place) or row.time_ns != place * 1000:
                found.wrong.append(f"{state.name}: row {row.seq} is not the {place}th that was written")
                break
        if store.cursor("north") > (rows[-1].seq if rows else 0):
            found.wrong.append(f"{state.name}: the cursor is at {store.cursor('north')}, behind the newest row")
        fresh = store.append("e1", ("p0",), (1,), None, 1)
        if fresh <= given:
            found.wrong.append(f"{state.name}: number {fresh} is given out again, {given} had left the box")
        await store.flush()
        return store.trouble


def _integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])


def run(folder: Path, times: int, seed: int, rounds: int) -> Counted:
    """As `cut_often`, from outside an event loop."""
    return asyncio.run(cut_often(folder, times, seed, rounds))
