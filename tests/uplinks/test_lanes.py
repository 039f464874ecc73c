"""After an outage live rows go first, what was left follows in order, and whatever is killed nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.clock import ManualClock, SystemClock
from edge.store.readings import ReadingsStore, open_readings
from edge.uplinks.drain import drain
from edge.uplinks.places import MOST, Places
from edge.uplinks.shape import Row, Stats, UplinkDown
from tests.support import eventually


class FarEnd:
    """Keeps what comes, in order, with its lane; may be away, or lose the answer to what it has taken."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bool]] = []
        self.away = False
        self.lose_answer = False

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise UplinkDown("away", 1.0)
        for row in rows:
            self.got.append((row.seq, late))
            if row.seq % 7 == 0:
                await asyncio.sleep(0)  # may be killed in the middle
        if self.lose_answer:
            self.lose_answer = False
            raise UplinkDown("the answer was lost", 0.0)
        await asyncio.sleep(0)

    def lane(self, *, late: bool) -> list[int]:
        return [seq for seq, was_late in self.got if was_late is late]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadingsStore]:
    async with open_readings(tmp_path / "readings.db", 600) as opened:
        yield opened


def put(store: ReadingsStore, count: int, time_ns: int = 0) -> None:
    for _ in range(count):
        store.append("pump-1", ("a",), (1.0,), None, time_ns)


async def test_after_an_outage_live_rows_go_first_and_the_backlog_follows_at_its_rate(store: ReadingsStore) -> None:
    far, clock, stats = FarEnd(), ManualClock(), Stats()
    far.away = True
    put(store, 1000, clock.wall_ns() - 60 * 10**9)
    drained = drain(store, "cloud", far.send, clock, stats, limit=50, linger_s=0.0, backlog_rate=100)
    task = asyncio.create_task(drained, name="drain")
    await eventually(lambda: "drain" in clock.sleeping())
    assert stats.lag_s(clock.wall_ns()) == 60
    far.away = False
    clock.advance(2)
    await eventually(lambda: len(far.got) == 25)  # a quarter of a second's worth at once
    seconds = 0
    while len(far.lane(late=True)) < 1000:
        await eventually(lambda: "drain" in clock.sleeping())
        put(store, 3, clock.wall_ns())
        await eventually(lambda: len(far.lane(late=False)) == 3 * (seconds + 1))  # noqa: B023  # no time has passed
        await eventually(lambda: "drain" in clock.sleeping())
        clock.advance(1)
        seconds += 1
        await eventually(lambda: "drain" in clock.sleeping() or len(far.lane(late=True)) == 1000)
    await eventually(lambda: stats.behind() == 0)
    assert seconds == 39  # by steps of a second, a slice of 25 in each
    assert far.lane(late=True) == list(range(1, 1001))
    assert far.lane(late=False) == list(range(1001, 1001 + 3 * seconds))
    assert store.cursor("cloud") == 1000 + 3 * seconds
    assert set(store.cursors()) == {"cloud"}
    task.cancel()
    await asyncio.wait([task])


async def test_what_a_short_outage_leaves_is_simply_sent_in_order(store: ReadingsStore) -> None:
    far, clock = FarEnd(), ManualClock()
    far.away = True
    put(store, 90)
    drained = drain(store, "cloud", far.send, clock, limit=50, linger_s=0.0, backlog_rate=100)
    task = asyncio.create_task(drained, name="drain")
    await eventually(lambda: "drain" in clock.sleeping())
    far.away = False
    clock.advance(2)
    await eventually(lambda: far.lane(late=False) == list(range(1, 91)))
    task.cancel()
    await asyncio.wait([task])


async def test_a_far_end_that_is_slow_gets_the_backlog_in_smaller_slices(store: ReadingsStore) -> None:
    sizes: list[int] = []

    async def slow(rows: Sequence[Row], *, late: bool) -> None:
        if late:
            sizes.append(len(rows))
            await asyncio.sleep(len(rows) * 0.008)

    put(store, 5000)
    drained = drain(store, "cloud", slow, SystemClock(), limit=100, linger_s=0.0, backlog_rate=1000)
    task = asyncio.create_task(drained)
    await eventually(lambda: len(sizes) >= 3)
    task.cancel()
    await asyncio.wait([task])
    assert sizes[:3] == [100, 50, 50]


def test_many_outages_in_one_backlog_cost_a_repetition_and_no_row() -> None:
    log = Numbers()
    places = Places(log, "cloud")
    had: set[int] = set()
    for n in range(1, 3 * MOST):
        log.last = n * 100
        places.skip(log.last)
        log.last += n  # n live rows
        had |= set(range(places.live + 1, log.last + 1))
        places.confirm(log.last, late=False)
        assert len(log.cursors()) <= 1 + 2 * MOST
        again = Places(log, "cloud")  # as after a restart
        assert (again.live, again.hole(), again.behind()) == (places.live, places.hole(), places.behind())
    repeated = 0
    while (hole := places.hole()) is not None:
        rows = set(range(hole[0] + 1, hole[1] + 1))
        repeated += len(rows & had)
        had |= rows
        places.confirm(hole[1], late=True)
    assert had == set(range(1, log.last + 1))
    assert repeated == sum(range(1, 2 * MOST))  # the smallest ones
    assert log.cursors() == {"cloud": log.last}


class Numbers:
    """A log's cursors and no rows."""

    def __init__(self) -> None:
        self.last = 0
        self.places: dict[str, int] = {}

    def cursor(self, name: str) -> int:
        return self.places.get(name, 0)

    def cursors(self) -> dict[str, int]:
        return dict(self.places)

    def advance(self, name: str, seq: int) -> None:
        self.places[name] = max(self.cursor(name), min(seq, self.last))

    def drop_cursor(self, name: str) -> None:
        self.places.pop(name, None)

    def behind(self, seq: int) -> int:
        return self.last - seq


# Killed at any moment

STEPS = st.lists(
    st.builds(
        lambda how, rows, turns, end: [(how, 0), ("rows", rows), ("run", turns), (end, 0)],
        st.sampled_from(["back", "away", "lose"]),
        st.integers(0, 120),
        st.integers(0, 40),  # so many turns of the event loop, then the uplink is killed
        st.sampled_from(["commit", "commit", "finish", "back"]),
    ),
    max_size=6,
).map(lambda parts: [step for part in parts for step in part])


class World:
    """One store in its lives, one far end that outlives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.far = FarEnd()
        self.kept: set[int] = set()  # numbers of rows that the disk has
        self.confirmed: set[int] = set()  # ... that the far end had when the place was written
        self.fresh: set[int] = set()  # numbers of rows that the disk does not have yet
        self.lives = 0

    async def life(self, steps: Sequence[tuple[str, int]]) -> None:
        """Some steps, then `kill -9`: only what was committed remains."""
        folder = self.folder / str(self.lives)
        self.lives += 1
        self.fresh.clear()
        async with open_readings(folder / "readings.db", 600) as store:
            for what, number in steps:
                await self._step(store, what, number)
            await asyncio.to_thread(shutil.copytree, folder, self.folder / str(self.lives))

    async def _step(self, store: ReadingsStore, what: str, number: int) -> None:
        if what == "rows":
            self.fresh |= {store.append("pump-1", ("a",), (1.0,), None, 0) for _ in range(number)}
        elif what == "commit":
            await store.flush()
            self.kept |= self.fresh
            self.confirmed = self._passed(store)
        elif what in ("away", "back"):
            self.far.away = what == "away"
        elif what == "lose":
            self.far.lose_answer = True
        else:
            await self._run(store, number if what == "run" else None)

    async def _run(self, store: ReadingsStore, turns: int | None) -> None:
        clock = ManualClock()
        drained = drain(store, "cloud", self.far.send, clock, limit=20, linger_s=0.0, backlog_rate=40)
        task = asyncio.create_task(drained, name="drain")
        try:
            if turns is None:
                self.far.away = False
                await self._until_all(store, clock)
            for _ in range(turns or 0):
                await asyncio.sleep(0)
                clock.advance(0.1)
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()

    async def _until_all(self, store: ReadingsStore, clock: ManualClock) -> None:
        def passed() -> bool:
            clock.advance(1)
            return store.cursor("cloud") >= store.newest()

        await eventually(passed)

    def _passed(self, store: ReadingsStore) -> set[int]:
        """Numbers of rows that the places say the far end has."""
        places = store.cursors()
        spans = [(0, store.cursor("cloud"))]
        for slot in range(MOST):
            if f"cloud/{slot}/to" in places:
                spans.append((places[f"cloud/{slot}/from"], places[f"cloud/{slot}/to"]))
        return {seq for seq in self.kept if any(start < seq <= end for start, end in spans)}


@settings(max_examples=15)
@given(lives=st.lists(STEPS, min_size=1, max_size=4))
async def test_killed_at_any_moment_nothing_is_lost_and_only_the_unconfirmed_comes_again(
    tmp_path_factory: pytest.TempPathFactory, lives: list[list[tuple[str, int]]]
) -> None:
    world = World(tmp_path_factory.mktemp("lives"))
    for steps in lives:
        before = len(world.far.got)
        confirmed = set(world.confirmed)
        await world.life(steps)
        repeated = {seq for seq, _ in world.far.got[before:]} & confirmed
        assert not repeated, "a row came again though its confirmation was on the disk"
    await world.life([("finish", 0), ("commit", 0)])
    missing = world.kept - {seq for seq, _ in world.far.got}
    assert not missing
