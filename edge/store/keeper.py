"""Keeps the log of readings in shape: packs what is closed, lets old history go, stays within the disk budget.

What comes in: the store, how long and how much to keep, which uplinks are waited for. What goes out: figures for
people, and word of what the budget has cost. All work on the file is done in the writer's thread in slices of some
ten milliseconds with pauses between, so that commits and polls are never held up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from drivers.driver import Clock
from edge.store.aging import Aging, AgingNews
from edge.store.budget import counts, shed_history, shed_last, shed_unsent, used_bytes
from edge.store.database import StoreError
from edge.store.digests import DAY_NS
from edge.store.packed import PackedHistory
from edge.store.packer import Closing, closed, delete_packed, pack_upto
from edge.store.readings import ReadingsStore
from edge.store.readings_file import PAGE_BYTES, WAL_PAGES, ReadingsFile
from edge.store.retention import (
    HOURS,
    MINUTES,
    coarsen_day,
    first_of,
    forget_hours,
    mend_marks,
    oldest_day,
    retire_day,
    retire_late,
)

TURN_S = 30.0
"""How often it is looked what there is to do."""
SLICE_S = 0.025
"""How long one slice goes on; the step under way is finished."""
REST = 3
"""A pause is so many times as long as the slice before it: a quarter of one core at most."""
WAL_BYTES = WAL_PAGES * PAGE_BYTES
"""So much of the budget is the write-ahead log's, which comes and goes by itself up to this size."""
HIGH, LOW = 0.95, 0.90
"""Shares of the budget: above the one something goes, until the other is reached."""
CALM_S = 3600.0
"""The budget is no longer said to be short when nothing has gone for so long."""
TOLD_S = 600.0
"""What goes is told at once, and then at most so often."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long and how much history is kept."""

    closing: Closing
    keep_ns: int
    minutes_ns: int
    hours_ns: int
    budget: int
    """Bytes of the state directory."""
    ranks: Mapping[str, int]
    """Equipment -> place in `budget.RANKS`."""


Shed = Mapping[str, int]
"""Readings that went, by class; `packed`: those that everybody had. 0 beside the name of a damaged file: nobody knows
what was in it."""


class Keeper:
    """The task beside the store."""

    def __init__(
        self,
        store: ReadingsStore,
        keeping: Keeping,
        clock: Clock,
        uplinks: Collection[str],
        told: Callable[[Shed, int], Awaitable[None]],
        aging: Aging | None = None,
    ) -> None:
        """`uplinks`: whose cursors are waited for. `told` is called with what the budget has cost, and bytes used."""
        self.figures: dict[str, Any] = {}
        self.trouble: str | None = None
        self.aging = aging or Aging(clock)
        """The time by which history is old."""
        self.leaped: Callable[[AgingNews], Awaitable[None]] = _nobody
        """Told what has become of a leap of the clock."""
        self._store = store
        self._keeping = keeping
        self._room = max(keeping.budget - WAL_BYTES, 0)
        self._clock = clock
        self._uplinks = uplinks
        self._told = told
        self._shed: dict[str, int] = {}
        self._shed_s = self._told_s = float("-inf")
        self._failing = False

    @property
    def short(self) -> bool:
        """Whether the budget has cost something lately."""
        return self._clock.mono_s() - self._shed_s < CALM_S

    async def run(self) -> None:
        """Do what there is to do, for ever."""
        await self._quietly(self._sliced, delete_packed)
        while True:
            await self._quietly(self.turn)
            await self._clock.sleep(TURN_S)

    async def _quietly(self, work: Callable[..., Any], *arguments: Any) -> None:
        try:
            await work(*arguments)
        except StoreError as error:  # the store itself tells staff, and tries again
            if not self._failing:
                log.warning("history is not kept in shape for now: %s", error)
            self._failing = True
        else:
            self._failing = False

    async def turn(self) -> None:
        """Everything once."""
        for news in self.aging.news():
            await self.leaped(news)
        await self._pack(self._keeping.closing)
        await self._age()
        await self._bound()
        self.figures = await self._store.work(self._measure)

    # Packing

    async def _pack(self, closing: Closing) -> None:
        now_ns = self.aging.now_ns()
        await self._store.work(lambda file: mend_marks(file, now_ns))
        while True:
            limit, wall_ns = self._passed(), self._clock.wall_ns()
            upto = await self._store.work(lambda file: closed(file, closing, wall_ns, limit))  # noqa: B023  # awaited
            if upto is None:
                break
            # What is stamped by a leap may have to outlive what lies beside it.
            await self._sliced(lambda file: pack_upto(file, upto, now_ns))  # noqa: B023  # awaited

        while await self._sliced(retire_late):
            pass

    def _passed(self) -> int:
        """Up to this number everybody has everything."""
        committed = int(self._store.stats()["committed_seq"])
        held = self._store.held
        ends = [committed, *(self._store.cursor(name) for name in self._uplinks)]
        return min(ends if held is None else [*ends, held - 1])

    # Age

    async def _age(self) -> None:
        keeping, now_ns = self._keeping, self.aging.now_ns()
        await self._older(now_ns - keeping.keep_ns, oldest_day, retire_day)
        await self._older(now_ns - keeping.minutes_ns, partial(first_of, level=MINUTES), coarsen_day)
        await self._older(now_ns - keeping.hours_ns, partial(first_of, level=HOURS), forget_hours)

    async def _older(
        self,
        before_ns: int,
        oldest: Callable[[PackedHistory], int | None],
        work: Callable[[ReadingsFile, int], Iterator[None]],
    ) -> None:
        """Do the work for each day that ended before a time."""
        while True:
            day = await self._store.work(lambda file: oldest(PackedHistory(file.db)))
            if day is None or (day + 1) * DAY_NS > before_ns:
                return
            await self._sliced(lambda file: work(file, day))  # noqa: B023  # awaited

    # The budget

    async def _bound(self) -> None:
        before = await self._store.work(lambda file: counts(PackedHistory(file.db)))
        if await self._used() > self._room * HIGH:
            await self._pack(Closing(0, at_once=True))  # what everybody has takes a fraction when it is packed
            await self._let_go()
            await self._store.count_anew()
        after = await self._store.work(lambda file: counts(PackedHistory(file.db)))
        for name, number in after.items():
            if number > before.get(name, 0):
                self._shed[name] = self._shed.get(name, 0) + number - before.get(name, 0)
                self._shed_s = self._clock.mono_s()
        if self._shed and self._clock.mono_s() - self._told_s >= TOLD_S:
            self._told_s = self._clock.mono_s()
            shed, self._shed = self._shed, {}
            await self._told(shed, await self._used())

    async def _let_go(self) -> None:
        """Shed until the lower mark is reached, or nothing is left that may go."""
        low, today = self._room * LOW, self.aging.now_ns() // DAY_NS
        while await self._used() > low:
            if await self._sliced(lambda file: shed_history(file, today)):
                continue
            if not await self._store.work(shed_last):
                break
        # A damaged file is worth less than what is still to be sent.
        while await self._used() > low and (gone := await self._store.work(lambda file: _drop_aside(file.path))):
            log.error("%s, which was damaged, went for the disk budget of %.0f MB", gone, self._keeping.budget / 1e6)
            self._shed[gone], self._shed_s = 0, self._clock.mono_s()
        ranks = self._keeping.ranks
        steps: Iterator[int] | None = None
        while await self._used() > low:

            def step(file: ReadingsFile) -> bool:
                nonlocal steps
                steps = steps or shed_unsent(file, ranks)
                return next(steps, None) is not None

            if not await self._store.work(step):
                self.trouble = (
                    f"the disk budget of {self._keeping.budget / 1e6:.0f} MB is used up and nothing is left that may "
                    "go; set storage.budget higher, or take other files out of the state directory"
                )
                log.error("%s", self.trouble)
                return
        self.trouble = None

    async def _used(self) -> int:
        """Bytes of the state directory that hold something, apart from the write-ahead log."""
        return await self._store.work(lambda file: _folder_bytes(self._store.path, log=False) + used_bytes(file))

    # How it is done

    async def _sliced(self, begin: Callable[[ReadingsFile], Iterator[Any] | None]) -> bool:
        """Run a generator on the file to its end, slice by slice; whether there was one.

        Where the file was replaced meanwhile, the work is over: it belonged to the old one.
        """
        steps: Iterator[Any] | None = None
        of: ReadingsFile | None = None

        def some(file: ReadingsFile) -> bool:
            nonlocal steps, of
            if of is None:
                of, steps = file, begin(file)
            began = perf_counter()
            while steps is not None and file is of and perf_counter() - began < SLICE_S:
                if next(steps, self) is self:
                    return False
            return steps is not None and file is of

        more = True
        while more:
            began = perf_counter()
            more = await self._store.work(some)
            if more:
                await asyncio.sleep((perf_counter() - began) * REST)
        return steps is not None

    def _measure(self, file: ReadingsFile) -> dict[str, Any]:
        packed = PackedHistory(file.db)
        size, readings = packed.bytes_and_readings()
        oldest = file.db.execute("SELECT min(first_ns) FROM periods").fetchone()[0]
        if oldest is None:
            oldest = file.db.execute("SELECT min(first_ns) FROM groups").fetchone()[0]
        used = used_bytes(file)
        return {
            "bytes": _folder_bytes(self._store.path),
            "budget_bytes": self._keeping.budget,
            "readings_used_bytes": used,
            "readings_free_bytes": _free_bytes(file),
            "packed_bytes": size,
            "packed_readings": readings,
            "packed_share": min(1.0, size / used) if used else 0.0,
            "oldest_age_s": 0.0 if oldest is None else max(0.0, (self._clock.wall_ns() - oldest) / 1e9),
            "aging_held_s": self.aging.held_s,
            "shed": counts(packed),
        }


async def _nobody(news: AgingNews) -> None:
    """Hears of it."""


def _folder_bytes(path: Path, *, log: bool = True) -> int:
    """Bytes of all files beside the readings; with `log`, their own and those of their write-ahead log too.

    The file itself grows only when the log is folded in: what it will hold is asked of the database.
    """
    total, own = 0, (path.name, f"{path.name}-wal")
    for each in path.parent.rglob("*"):
        if not log and each.name in own:
            continue
        try:
            total += each.stat().st_size if each.is_file() else 0
        except OSError:  # gone meanwhile
            continue
    return total


def _drop_aside(path: Path) -> str | None:
    """Delete the oldest of the damaged files that were set aside beside the readings; returns its name."""
    asides = sorted(path.parent.glob(f"{path.name}.damaged-*"))
    names = [each for each in asides if not each.name.endswith(("-wal", "-shm"))]
    if not names:
        return None
    for each in (names[0], *(names[0].with_name(f"{names[0].name}{end}") for end in ("-wal", "-shm"))):
        each.unlink(missing_ok=True)
    return names[0].name


def _free_bytes(file: ReadingsFile) -> int:
    pages, size = (file.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size"))
    return int(pages * size)
