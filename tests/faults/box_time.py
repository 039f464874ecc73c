"""What a box without a clock chip knows of the time while it is killed, and whether its readings have true stamps.

What comes in: when the time becomes known, when the box boots anew, when each reading was handed out. What goes out:
what is wrong in the log: a stamp that is not true, a mark that does not fit it, rows that are out of order.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from drivers.point import Quality
from edge.store.readings_file import ReadingsFile
from edge.store.state import reading
from tests.faults.killed_site import COUNTER

Plan = Callable[[int, "BoxTime"], None]
"""What happens to the box's time after the kill of that number, from 1."""
NEAR_S = 1.5
"""A reading is stamped when its answer is there; so much later at most it may be on a busy machine."""


@dataclass
class Life:
    """One process of the daemon."""

    boot: int
    began: dict[int, int]
    """By device: counters handed out before it."""


@dataclass
class BoxTime:
    """The file from which the box learns the time, and what was in it when."""

    path: Path
    boot: int = 0
    known_in: set[int] = field(default_factory=set)
    """Boots in which the time became known."""
    lives: list[Life] = field(default_factory=list)
    waiting: bool = True
    """Whether readings of the present boot may wait for their stamps still."""
    _coming: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._write()

    @property
    def known(self) -> bool:
        """In the present boot."""
        return self.boot in self.known_in

    def power_cut(self) -> None:
        """The box boots, and it is 1970. Not while it has just learnt the time: what comes of that is to be seen."""
        if self.waiting and (self.known or not self.boot):
            return
        self.boot += 1
        self.waiting = True
        self._write()

    def learn_in(self, seconds: float) -> None:
        """A time server will answer, unless one already will."""
        if self._coming is None:
            self._coming = asyncio.get_running_loop().call_later(seconds, self.learn)

    def learn(self) -> None:
        """A time server has answered."""
        if self._coming is not None:
            self._coming.cancel()
        self._coming = None
        self.known_in.add(self.boot)
        self._write()

    def begin(self, handed_out: Mapping[int, int]) -> None:
        """A process of the daemon begins. `handed_out`: so far, by device."""
        self.lives.append(Life(self.boot, dict(handed_out)))

    def killed(self, ledger: Path) -> None:
        """It has ended: see whether it had stamped anew what there was."""
        if self.known and ledger.exists():
            with reading(ledger) as db:
                self.waiting = bool(db.execute("SELECT count(*) FROM state WHERE kind = 'era'").fetchone()[0])

    def _write(self) -> None:
        fresh = self.path.with_suffix(".part")
        fresh.write_bytes(orjson.dumps({"boot": f"boot-{self.boot}", "known": self.known}))
        fresh.replace(self.path)

    def boot_of(self, unit: int, counter: int) -> int:
        """In which boot a reading was handed out."""
        return next(life.boot for life in reversed(self.lives) if life.began.get(unit, 0) < counter)


def now_and_then(chance: random.Random) -> Plan:
    """Some seconds after each boot a time server answers; now and then, after a kill, the box has booted anew."""

    def plan(number: int, box: BoxTime) -> None:
        if chance.random() < 0.4:
            box.power_cut()
        if not box.known:
            box.learn_in(chance.uniform(0.5, 6))

    return plan


@dataclass
class Stamps:
    """What was found in the log."""

    true: int = 0
    """Readings with a true stamp."""
    uncertain: int = 0
    """Readings of boots in which nobody ever knew the time, marked so."""
    furthest_s: float = 0.0
    """Of the true ones from when the reading was handed out."""
    wrong: list[str] = field(default_factory=list)


def stamps(log: Path, box: BoxTime, answered: Mapping[int, Sequence[float]]) -> Stamps:
    """Every reading of a counter. Its stamp is true and it is good where its boot has learnt the time, else it is
    `uncertain/clock`; and in order they are always."""
    found, wall_s = Stamps(), time.time() - time.monotonic()
    with closing(ReadingsFile(log, read_only=True)) as file:
        rows = [row for row in file.groups.read_after(0, None, 2**31) if COUNTER in row.points]
    newest: dict[str, int] = {}
    for row in rows:
        place = row.points.index(COUNTER)
        counter, unit = row.values[place], int(row.equipment[1:])
        if row.time_ns < newest.get(row.equipment, 0):
            found.wrong.append(f"row {row.seq} of {row.equipment} is stamped before the one that came before it")
        newest[row.equipment] = row.time_ns
        if not isinstance(counter, int):  # nothing stands there while the device is silent
            continue
        mark = row.qualities[place] if row.qualities else Quality.GOOD.value
        if box.boot_of(unit, counter) in box.known_in:
            off_s = abs(row.time_ns / 1e9 - wall_s - answered[unit][counter - 1])
            found.true += 1
            found.furthest_s = max(found.furthest_s, off_s)
            if mark != Quality.GOOD.value or off_s > NEAR_S:
                found.wrong.append(
                    f"row {row.seq}, {counter} of {row.equipment}: {mark}, {off_s:.3f} s from the truth"
                )
        else:
            found.uncertain += 1
            if mark != Quality.UNCERTAIN_CLOCK.value:
                found.wrong.append(
                    f"row {row.seq}, {counter} of {row.equipment}: {mark}, though nobody knew the time"
                )
    return found
