"""The keeper packs what is closed, keeps within the budget by the right order, and counts what it cost."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from edge.clock import ManualClock
from edge.store.budget import RANKS
from edge.store.digests import DAY_NS
from edge.store.keeper import HIGH, WAL_BYTES, Keeper, Keeping, Shed
from edge.store.packed import PackedHistory
from edge.store.packer import Closing
from edge.store.readings import ReadingsStore, open_readings

S = 10**9
HOUR = 3600 * S
START = 20_454 * DAY_NS
EQUIPMENT = {"light-1": "light", "bin-1": "bin", "pump-1": "pump", "fire-1": "fire"}
LONG = 3650 * DAY_NS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadingsStore]:
    async with open_readings(tmp_path / "readings.db", 600) as store:
        yield store


def keeping(budget: int = 10**9, keep_ns: int = LONG) -> Keeping:
    ranks = {name: RANKS.index(kind) for name, kind in EQUIPMENT.items()}
    return Keeping(Closing(HOUR, longest_ns=6 * HOUR), keep_ns, LONG, LONG, budget, ranks)


async def record(store: ReadingsStore, clock: ManualClock, rows: int, step_ns: int) -> None:
    """Noise that does not compress, of all equipment in turn; the clock goes along."""
    chance = random.Random(clock.wall_ns())
    for n in range(rows):
        clock.advance(step_ns / 1e9)
        noise = chance.randbytes(170).hex()
        store.append(tuple(EQUIPMENT)[n % len(EQUIPMENT)], ("p0",), (noise,), None, clock.wall_ns())
        if n % 100 == 99:
            await store.flush()
    await store.flush()


async def left(store: ReadingsStore) -> dict[str, int]:
    """Readings of each equipment that a query still finds."""
    far = START + LONG
    return {name: len(await store.query(f"{name}.p0", 0, far, limit=10**6)) for name in EQUIPMENT}


async def test_closed_periods_are_packed_but_never_what_an_uplink_still_lacks(store: ReadingsStore) -> None:
    clock = ManualClock(START)
    keeper = Keeper(store, keeping(), clock, ["cloud"], nobody)
    await record(store, clock, 4000, 10 * S)
    before = await left(store)
    await keeper.turn()
    assert keeper.figures["packed_readings"] == 0
    store.advance("cloud", 2000)
    await keeper.turn()
    assert 0 < keeper.figures["packed_readings"] <= 2000
    store.advance("cloud", 4000)
    clock.advance(20_000)
    await keeper.turn()
    assert keeper.figures["packed_readings"] > 2000
    assert await left(store) == before
    assert keeper.figures["shed"] == {}
    assert not keeper.short


async def test_rows_that_wait_for_the_clock_are_not_packed(store: ReadingsStore) -> None:
    clock = ManualClock(START)
    keeper = Keeper(store, keeping(), clock, [], nobody)
    await record(store, clock, 4000, 10 * S)
    store.hold(100)
    await keeper.turn()
    assert keeper.figures["packed_readings"] == 0
    store.hold(None)
    await keeper.turn()
    assert keeper.figures["packed_readings"] > 0


async def test_old_days_go_by_age(store: ReadingsStore) -> None:
    clock = ManualClock(START)
    keeper = Keeper(store, keeping(keep_ns=2 * DAY_NS), clock, [], nobody)
    await record(store, clock, 5000, 100 * S)
    await keeper.turn()
    days = await store.work(lambda file: file.db.execute("SELECT DISTINCT id >> 24 FROM minutes").fetchall())
    assert [day - 20_454 for (day,) in days] == [0, 1]  # the next period reaches into days that are to be kept
    assert (
        await store.work(lambda file: min(p.last_ns for p in PackedHistory(file.db).periods())) > START + 2 * DAY_NS
    )
    counted = await store.query("pump-1.p0", START, START + LONG, LONG, aggregate="count")
    assert counted[0][1] == 1250


async def test_readings_of_a_clock_that_was_years_ahead_hold_up_neither_packing_nor_age(store: ReadingsStore) -> None:
    clock, years = ManualClock(START), 4 * 365 * DAY_NS
    keeper = Keeper(store, keeping(keep_ns=2 * DAY_NS), clock, [], nobody)
    await record(store, clock, 2000, 20 * S)
    clock.step_wall(years / S)
    await record(store, clock, 8, 20 * S)
    clock.step_wall(-years / S)
    await record(store, clock, 5000, 20 * S)
    clock.advance(8 * 3600)
    before = await left(store)
    await keeper.turn()
    assert keeper.figures["packed_readings"] > 5000
    assert await left(store) == before
    assert [len(await store.query(f"{name}.p0", START + years, START + LONG)) for name in EQUIPMENT] == [2] * 4
    clock.advance(4 * 86_400)
    await keeper.turn()
    (kept,) = await store.work(lambda file: PackedHistory(file.db).periods())
    assert (kept.readings, kept.first_ns > START + years) == (8, True), "the days beside them have gone by their age"
    counted = await store.query("pump-1.p0", START, START + DAY_NS, DAY_NS, aggregate="count")
    assert counted[0][1] == 1078  # 4320 turns of 20 s, eight of them stamped otherwise


async def test_a_clock_that_leaps_years_ahead_costs_no_reading_and_a_box_from_a_drawer_goes_on_by_itself(
    store: ReadingsStore,
) -> None:
    clock = ManualClock(START)
    keeper = Keeper(store, keeping(keep_ns=2 * DAY_NS), clock, [], nobody)
    await record(store, clock, 2000, 60 * S)
    clock.step_wall(90 * 86_400)
    await record(store, clock, 2800, 60 * S)
    await keeper.turn()
    assert sum((await left(store)).values()) == 4800
    assert keeper.figures["aging_held_s"] == 7 * 86_400  # it was looked at only now
    assert await _days(store) == []
    for _ in range(6 * 4):
        clock.advance(6 * 3600)
        await keeper.turn()
    assert sum((await left(store)).values()) < 4800, "what is old by the time that was known goes on"
    assert await _days(store) == [0, 1]
    assert await _newer(store, START + 90 * DAY_NS) == 2800
    clock.advance(86_400)
    await keeper.turn()
    assert keeper.figures["aging_held_s"] == 0
    assert await _newer(store, START + 90 * DAY_NS) == 0, "more than two days old by the new time"
    assert await _days(store) == [0, 1, 91, 92, 93]


async def test_what_comes_for_days_that_are_summaries_already_goes_into_these(store: ReadingsStore) -> None:
    """An import of old history, while younger days have been thinned out already."""
    clock = ManualClock(START)
    days = Keeping(Closing(HOUR, longest_ns=6 * HOUR), 2 * DAY_NS, 8 * DAY_NS, LONG, 10**9, keeping().ranks)
    keeper = Keeper(store, days, clock, [], nobody)
    for n in range(3200):
        clock.advance(300)
        store.append("pump-1", ("p0",), (n % 10,), None, clock.wall_ns())
        if n % 100 == 99:
            await store.flush()
    await keeper.turn()
    assert await store.work(lambda file: PackedHistory(file.db).mark("hours_until_ns")) == START + 3 * DAY_NS
    count = "SELECT count(*), count(DISTINCT id >> 24) FROM hours"
    assert await store.work(lambda file: file.db.execute(count).fetchone()) == (3, 3)

    def late(n: int) -> int:
        """One stamp beside each of old, and before these some for which there is nothing yet."""
        return START + (n - 500) * 300 * S + 60 * S

    for n in range(4800):
        store.append("pump-1", ("p0",), (1000 + n % 10,), None, late(n))
        store.append("bin-1", ("p0",), (n % 7 == 0,), None, late(n))
        if n % 100 == 99:
            await store.flush()
    for _ in range(2):
        await keeper.turn()
    span = START - 3 * DAY_NS, START + 20 * DAY_NS
    for point, recorded in (("pump-1.p0", 3200 + 4800), ("bin-1.p0", 4800)):
        counted = await store.query(point, *span, DAY_NS, aggregate="count")
        assert sum(int(str(value)) for _, value, _ in counted) == recorded
    old = await store.query("pump-1.p0", START - DAY_NS, START, DAY_NS, aggregate="max")
    assert old[0][1] == 1009
    both = await store.query("pump-1.p0", START + DAY_NS, START + 2 * DAY_NS, DAY_NS)
    assert both[0][1] == pytest.approx((4.5 + 1004.5) / 2, abs=0.1)
    assert await store.work(lambda file: len(PackedHistory(file.db).periods(to_ns=START + DAY_NS))) == 0


async def test_what_a_clock_that_was_years_ahead_has_thinned_out_hides_nothing_that_comes_afterwards(
    store: ReadingsStore,
) -> None:
    clock = ManualClock(START)
    keeper = Keeper(store, keeping(keep_ns=2 * DAY_NS), clock, [], nobody)
    clock.step_wall(3 * 365 * 86_400)
    await record(store, clock, 2000, 100 * S)
    clock.advance(14 * 86_400)
    await keeper.turn()
    clock.advance(14 * 86_400)
    await keeper.turn()  # what was recorded by that time is old by it
    assert await store.work(lambda file: PackedHistory(file.db).mark("minutes_until_ns")) > START + 3 * 365 * DAY_NS
    clock.step_wall(-3 * 365 * 86_400)
    begun_ns = clock.wall_ns()
    await record(store, clock, 6000, 10 * S)
    clock.advance(7 * 3600)
    await keeper.turn()
    assert keeper.figures["packed_readings"] > 2000
    for name in EQUIPMENT:
        assert len(await store.query(f"{name}.p0", begun_ns, begun_ns + DAY_NS)) == 1500


async def _days(store: ReadingsStore) -> list[int]:
    """Of which summaries of 5 minutes were made."""
    found = await store.work(lambda file: file.db.execute("SELECT DISTINCT id >> 24 FROM minutes").fetchall())
    return [day - 20_454 for (day,) in found]


async def _newer(store: ReadingsStore, from_ns: int) -> int:
    """Readings that are kept as they were."""
    periods = await store.work(lambda file: PackedHistory(file.db).periods())
    fresh = await store.work(lambda file: sum(len(row.values) for row in file.groups.read_after(0, None, 10**6)))
    return sum(each.readings for each in periods if each.first_ns >= from_ns) + fresh


async def test_the_budget_holds_while_a_leap_is_not_believed(store: ReadingsStore) -> None:
    clock = ManualClock(START)
    keeper = Keeper(store, keeping(WAL_BYTES + 4_000_000), clock, ["cloud"], nobody)
    for _ in range(5):
        await record(store, clock, 8_000, 8 * S)
        store.advance("cloud", int(store.stats()["last_seq"]) - 2_000)
        await keeper.turn()
        clock.step_wall(2 * 365 * 86_400)
        assert await keeper._used() <= 4_000_000 * HIGH
    assert keeper.aging.held
    assert set(keeper.figures["shed"]) == {"packed"}
    rows = await store.read_after(store.cursor("cloud"), 10**6)
    assert len(rows) == 2_000


async def nobody(shed: Shed, used: int) -> None:
    """Hears of it."""


async def test_history_that_everybody_has_goes_before_any_unsent_row(store: ReadingsStore) -> None:
    clock = ManualClock(START)
    found: list[tuple[Shed, int]] = []

    async def told(shed: Shed, used: int) -> None:
        found.append((dict(shed), used))

    budget = WAL_BYTES + 4_000_000
    keeper = Keeper(store, keeping(budget), clock, ["cloud"], told)
    for _ in range(5):
        await record(store, clock, 8_000, 8 * S)
        store.advance("cloud", int(store.stats()["last_seq"]) - 2_000)
        await keeper.turn()
        assert await keeper._used() <= 4_000_000 * HIGH
    assert keeper.short
    assert set(keeper.figures["shed"]) == {"packed"}
    assert found[0][0]["packed"] > 0
    assert found[0][1] <= budget
    rows = await store.read_after(store.cursor("cloud"), 10**6)
    assert len(rows) == 2_000  # nothing that the cloud lacks is missing
    clock.advance(4000)
    assert not keeper.short


async def test_of_unsent_rows_the_least_important_go_first_and_are_counted(store: ReadingsStore) -> None:
    clock = ManualClock(START)
    budget = WAL_BYTES + 4_000_000
    keeper = Keeper(store, keeping(budget), clock, ["cloud"], nobody)
    assert store.cursor("cloud") == 0
    seen: list[Mapping[str, int]] = []
    for _ in range(8):
        await record(store, clock, 8_000, 8 * S)
        await keeper.turn()
        assert await keeper._used() <= 4_000_000 * HIGH
        sent = await _sent(store)
        assert sum(sent) + sum(keeper.figures["shed"].values()) == store.stats()["values"]
        assert store.behind(0) == len(sent)
        seen.append(keeper.figures["shed"])
    firsts = [
        next((n for n, shed in enumerate(seen) if shed.get(name)), 99) for name in ("light", "bin", "pump", "fire")
    ]
    assert firsts == sorted(firsts)
    assert firsts[0] < 99
    assert firsts[2] < 99
    assert keeper.trouble is None
    whole = (store.path.stat().st_size, (store.path.parent / "readings.db-wal").stat().st_size)
    assert sum(whole) < budget


async def _sent(store: ReadingsStore) -> list[int]:
    """Readings that an uplink gets, row by row; each number once and in order."""
    seq, found = 0, []
    while rows := await store.read_after(seq, 5_000):
        assert [row.seq for row in rows] == sorted({row.seq for row in rows})
        found += [len(row.values) for row in rows]
        seq = rows[-1].seq
    return found


async def test_a_damaged_file_that_was_set_aside_goes_before_any_unsent_row_but_not_before_it_must(
    store: ReadingsStore,
) -> None:
    clock = ManualClock(START)
    asides = [store.path.with_name(f"{store.path.name}.damaged-2026112{day}T030000Z") for day in (1, 2)]
    for aside in asides:
        aside.write_bytes(bytes(1_500_000))
    log = asides[0].with_name(f"{asides[0].name}-wal")
    log.write_bytes(b"log")
    told: list[Shed] = []

    async def tell(shed: Shed, used: int) -> None:
        told.append(shed)

    keeper = Keeper(store, keeping(WAL_BYTES + 4_000_000), clock, ["cloud"], tell)
    await record(store, clock, 4_000, S)
    await keeper.turn()
    assert all(aside.exists() for aside in asides)
    await record(store, clock, 3_000, S)
    await keeper.turn()
    assert [aside.exists() for aside in (*asides, log)] == [False, True, False]
    assert len(await _sent(store)) == 7_000
    assert told == [{asides[0].name: 0}]
    assert keeper.short


async def test_where_nothing_more_may_go_staff_are_told(store: ReadingsStore) -> None:
    clock = ManualClock(START)
    (store.path.parent / "film.mp4").write_bytes(bytes(3_000_000))
    keeper = Keeper(store, keeping(WAL_BYTES + 2_000_000), clock, ["cloud"], nobody)
    await record(store, clock, 2_000, S)
    await keeper.turn()
    assert "set storage.budget higher" in (keeper.trouble or "")
