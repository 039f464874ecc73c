"""What is read before the box knows the time is held, stamped anew and let go: across kills, restarts and boots."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.__main__ import main
from edge.clock import ManualClock
from edge.eras import Eras, keep_time
from edge.store.ledger import Ledger, StoreError, open_ledger
from edge.store.readings import ReadingsStore, Row, open_readings
from edge.timekeeping import Source, Timekeeper

NOW = int(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()) * 10**9
SECOND = 10**9
UNKNOWN = ("uncertain/clock",)


@dataclass
class Box:
    """A box without a clock chip: what survives on its card, and its clock."""

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(3 * SECOND, known=False))
    boot: str = "boot-1"
    source: Source = "kernel"
    sent: list[Row] = field(default_factory=list)
    """What the far end has."""
    count: int = 0
    lives: int = 0

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[Daemon]:
        async with (
            open_ledger(self.folder / "ledger.db") as ledger,
            open_readings(self.folder / "readings.db", 600) as store,
        ):
            time, eras = await keep_time(self.clock, self.source, 600, store, ledger, self.boot)
            yield Daemon(self, time, eras, store, ledger)

    def learn_the_time(self, wall_ns: int) -> None:
        self.clock.step_wall((wall_ns - self.clock.wall_ns()) / 1e9)
        self.clock.time_known = True

    def power_cut(self) -> None:
        self.boot += "+"
        self.clock = ManualClock(3 * SECOND, 20.0, known=False)


@dataclass
class Daemon:
    """The parts of it that have to do with time."""

    box: Box
    time: Timekeeper
    eras: Eras
    store: ReadingsStore
    ledger: Ledger

    async def read(self, times: int, every_s: float = 1.0) -> None:
        """Poll, tick, and let the uplink send."""
        for _ in range(times):
            self.box.clock.advance(every_s)
            self.box.count += 1
            marks = None if self.time.known() else UNKNOWN
            self.store.append("pump-1", ("n",), (self.box.count,), marks, self.time.wall_ns())
            await self.tick()
            await self.send()

    async def tick(self) -> None:
        """What the daemon does each second."""
        self.eras.look()
        await self.eras.follow()

    async def send(self) -> None:
        rows = await self.store.read_after(self.store.cursor("cloud"), 100)
        if rows:
            self.box.sent += rows
            self.store.advance("cloud", rows[-1].seq)

    async def keep(self) -> None:
        """What the daemon does each minute."""
        await self.ledger.commit([], self.eras.bodies())
        await self.store.flush()


@asynccontextmanager
async def killed(box: Box) -> AsyncIterator[Daemon]:
    """A daemon that is killed at the end of the block: what lies in its files then is all that the next one has."""
    box.lives += 1
    left = box.folder.parent / f"card-{box.lives}"
    async with box.daemon() as daemon:
        yield daemon
        left.mkdir()
        for path in box.folder.glob("*.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, left)
    box.folder = left


@pytest.fixture
def box(tmp_path: Path) -> Box:
    (tmp_path / "card").mkdir()
    return Box(tmp_path / "card")


def ages(rows: list[Row]) -> list[float]:
    """Seconds before NOW, row by row."""
    return [(NOW - row.time_ns) / SECOND for row in rows]


async def test_readings_of_1970_reach_the_far_end_once_each_with_true_stamps_after_a_kill_and_a_restart(
    box: Box,
) -> None:
    async with box.daemon() as first:
        await first.read(5)
        await first.keep()
    box.clock.advance(10)
    async with box.daemon() as second:
        await second.read(5)
        assert box.sent == []
        box.learn_the_time(NOW)
        await second.tick()
        assert await second.ledger.load("era") == {}
        await second.send()
        await second.read(2)
    assert [row.values[0] for row in box.sent] == list(range(1, 13))
    assert ages(box.sent) == [19, 18, 17, 16, 15, 4, 3, 2, 1, 0, -1, -2]
    assert {row.qualities for row in box.sent} == {None}
    async with box.daemon() as third:  # and on the disk they are the same
        assert await third.store.read_after(0, 100) == box.sent
        assert third.time.known()


async def test_two_kills_before_the_time_is_known_cost_what_was_not_written_and_no_order_and_no_stamp(
    box: Box,
) -> None:
    for _ in range(2):
        async with killed(box) as daemon:
            assert not daemon.time.known()
            await daemon.read(5)
            await daemon.store.flush()
            await daemon.read(2)  # not written yet when the kill comes
        box.clock.advance(10)
    async with box.daemon() as daemon:
        await daemon.read(3)
        await daemon.store.flush()
        held = await daemon.store.work(lambda file: file.groups.read_after(0, None, 100))
        assert [row.values[0] for row in held] == [*range(1, 6), *range(8, 13), *range(15, 18)]
        assert {row.qualities for row in held} == {UNKNOWN}
        assert [row.time_ns for row in held] == sorted(row.time_ns for row in held)
        assert box.sent == []
        box.learn_the_time(NOW)
        await daemon.tick()
        await daemon.send()
    assert [row.values[0] for row in box.sent] == [row.values[0] for row in held]
    assert ages(box.sent) == [*range(36, 31, -1), *range(19, 14, -1), 2, 1, 0]
    assert {row.qualities for row in box.sent} == {None}


@pytest.mark.parametrize("read_before", [5, 0])
async def test_a_kill_just_when_the_time_has_become_known_stamps_anew_what_came_before_and_that_only(
    box: Box, monkeypatch: pytest.MonkeyPatch, read_before: int
) -> None:
    async with killed(box) as daemon:
        await daemon.read(5)
        await daemon.store.flush()
    async with killed(box) as daemon:
        await daemon.read(read_before)
        box.learn_the_time(NOW)
        written = asyncio.Event()

        async def slow(*_: object) -> list[int]:
            await written.wait()  # the card takes its time; polls go on, and the readings' file is written
            raise StoreError("killed")

        monkeypatch.setattr(daemon.ledger, "commit", slow)
        telling = asyncio.create_task(daemon.tick())
        await asyncio.sleep(0)
        assert daemon.time.known()
        for _ in range(3):
            box.clock.advance(1)
            box.count += 1
            daemon.store.append("pump-1", ("n",), (box.count,), None, daemon.time.wall_ns())
        await daemon.store.flush()
        assert await daemon.store.read_after(0, 100) == []
        telling.cancel()
        await asyncio.wait([telling])
        monkeypatch.undo()
    async with box.daemon() as daemon:
        await daemon.tick()
        await daemon.send()
        assert not [name for name in daemon.store.cursors() if name != "cloud"]
    assert [row.values[0] for row in box.sent] == list(range(1, 9 + read_before))
    assert ages(box.sent) == [*range(read_before + 4, -1, -1), -1, -2, -3]
    assert {row.qualities for row in box.sent} == {None}


@pytest.mark.parametrize("life", [killed, Box.daemon])
async def test_what_is_imported_between_two_daemons_of_a_boot_keeps_its_own_stamps(
    box: Box, life: Callable[[Box], AbstractAsyncContextManager[Daemon]]
) -> None:
    async with life(box) as daemon:
        await daemon.read(5)
        await daemon.keep()
    box.learn_the_time(NOW)
    (box.folder / "old.csv").write_text("time,point,value\n2026-03-01T12:00:00Z,old-1.n,1\n")
    for _ in range(2):
        words = ["import", str(box.folder / "old.csv"), "--state", str(box.folder)]
        assert await asyncio.to_thread(main, words) == 0
    async with box.daemon() as daemon:
        await daemon.read(2)
        kept = await daemon.store.read_after(0, 100)
    assert ages(kept) == [4, 3, 2, 1, 0, 86_400, 86_400, -1, -2]
    assert {row.qualities for row in kept} == {None}


async def test_a_kill_between_stamping_and_writing_so_down_stamps_nothing_twice(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.daemon() as first:
        await first.read(5)
        await first.store.flush()
        box.learn_the_time(NOW)

        async def full(*_: object) -> list[int]:
            raise StoreError("disk is full")

        monkeypatch.setattr(first.ledger, "commit", full)
        await first.tick()
        assert len(await first.ledger.load("era")) == 1
        assert ages(await first.store._read(lambda file: file.groups.read_after(0, None, 10), [])) == [4, 3, 2, 1, 0]
        assert box.sent == []
    monkeypatch.undo()
    async with box.daemon() as second:
        await second.tick()
        await second.send()
        assert await second.ledger.load("era") == {}
    assert ages(box.sent) == [4, 3, 2, 1, 0]


async def test_of_two_boots_without_the_time_the_first_stays_uncertain_before_the_second_and_in_order(
    box: Box,
) -> None:
    box.learn_the_time(NOW - 3600 * SECOND)
    async with box.daemon() as daemon:
        await daemon.read(2)
    box.power_cut()
    async with box.daemon() as daemon:
        await daemon.read(3)
    box.power_cut()
    async with box.daemon() as daemon:
        await daemon.read(3)
        box.learn_the_time(NOW)
        await daemon.tick()
        await daemon.send()
    assert [row.values[0] for row in box.sent] == list(range(1, 9))
    assert [row.time_ns for row in box.sent] == sorted(row.time_ns for row in box.sent)
    assert [row.qualities for row in box.sent] == [None, None, UNKNOWN, UNKNOWN, UNKNOWN, None, None, None]
    assert ages(box.sent)[5:] == [2, 1, 0]
    assert all(3590 < age < 3600 for age in ages(box.sent)[2:5])


async def test_a_time_that_does_not_come_holds_nothing_for_ever_and_what_has_left_keeps_its_stamp(box: Box) -> None:
    async with box.daemon() as daemon:
        await daemon.read(10, every_s=59)
        assert box.sent == []
        await daemon.read(2, every_s=59)
        assert len(box.sent) == 12
        left = list(box.sent)
        await daemon.keep()
    async with box.daemon() as daemon:  # the bound is the boot's, not the process's
        await daemon.read(1)
        assert len(box.sent) == 13
        daemon.store.append("pump-1", ("n",), (14,), UNKNOWN, daemon.time.wall_ns())
        box.learn_the_time(NOW)
        await daemon.tick()
        await daemon.send()
        kept = await daemon.store.read_after(0, 100)
    assert kept == box.sent
    assert kept[:12] == left
    assert ages(kept[-1:]) == [0]
    assert [row.qualities for row in kept] == [UNKNOWN] * 13 + [None]


async def test_no_row_leaves_the_box_while_it_is_being_stamped_anew(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with box.daemon() as daemon:
        await daemon.read(12, every_s=59)  # over the bound: uplinks are given uncertain rows
        daemon.store.append("pump-1", ("n",), (13,), UNKNOWN, daemon.time.wall_ns())
        stamp = daemon.store.restamp

        async def slow(first_seq: int, last_seq: int, shift_ns: int, *, known: bool) -> None:
            await daemon.send()  # an uplink that looks just now
            await stamp(first_seq, last_seq, shift_ns, known=known)

        monkeypatch.setattr(daemon.store, "restamp", slow)
        box.learn_the_time(NOW)
        await daemon.tick()
        await daemon.send()
        assert await daemon.store.read_after(0, 100) == box.sent
    assert [row.qualities for row in box.sent] == [UNKNOWN] * 12 + [None]


async def test_a_box_whose_clock_is_late_but_plausible_is_believed_after_the_bound(box: Box) -> None:
    box.clock = ManualClock(NOW, known=False)
    async with box.daemon() as daemon:
        await daemon.read(9, every_s=60)
        assert not daemon.time.known()
        await daemon.read(2, every_s=60)
        assert daemon.time.known()
    assert len(box.sent) == 11
    assert {row.qualities for row in box.sent} == {None}


async def test_steps_of_an_hour_are_journalled_told_and_never_reorder_a_series(box: Box) -> None:
    box.learn_the_time(NOW)
    told: list[float] = []
    async with box.daemon() as daemon:
        daemon.eras.listeners.append(lambda turn, body: told.append(body["shift_s"]))
        for seconds in (3600, -3600):
            await daemon.read(2)
            box.clock.step_wall(seconds)
            await daemon.tick()
        await daemon.read(2)
        journal = await daemon.ledger.journal(kind="clock")
        series = await daemon.store.query("pump-1.n", 0, 2**62)
    assert told == [3600, -3600]
    assert [entry.body["event"] for _, entry in journal] == ["stepped", "stepped"]
    assert [row.values[0] for row in box.sent] == [1, 2, 3, 4, 5, 6]
    assert [row.seq for row in box.sent] == sorted(row.seq for row in box.sent)
    assert {row.qualities for row in box.sent} == {None}
    assert {value for _, value, _ in series} == {1, 2, 3, 4, 5, 6}


async def test_a_file_that_opens_late_is_held_as_a_whole_and_stamped_once_its_numbers_are_known(box: Box) -> None:
    box.learn_the_time(NOW - 3600 * SECOND)
    async with box.daemon() as daemon:
        await daemon.read(3)
    box.power_cut()
    path = box.folder / "readings.db"
    hidden = path.rename(box.folder / "hidden")
    path.mkdir()
    async with box.daemon() as daemon:
        await daemon.read(3)
        path.rmdir()
        hidden.rename(path)
        await daemon.store.flush()
        await daemon.read(2)
        assert len(box.sent) == 3
        box.learn_the_time(NOW)
        await daemon.tick()
        await daemon.send()
    assert [row.values[0] for row in box.sent] == list(range(1, 9))
    assert ages(box.sent)[3:] == [4, 3, 2, 1, 0]
