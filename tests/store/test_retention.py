"""Old days lose their readings, then their minutes; queries go on over what is left of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Value
from edge.store.digests import DAY_NS, HOURS_NS, MINUTES_NS, Digest, coarser, slots, write_digest
from edge.store.packed import PackedHistory
from edge.store.packer import pack_upto
from edge.store.packing import GOOD
from edge.store.readings import ReadingsStore, open_readings
from edge.store.readings_file import ReadingsFile
from edge.store.retention import coarsen_day, forget_hours, oldest_day, retire_day, retire_late

S = 10**9
DAY = 20_454  # 1 January 2026
START = DAY * DAY_NS
END = START + 4 * DAY_NS
HOURS_A_DAY = 24


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadingsStore]:
    """Four days: a level each half minute, a counter, a switch and a text each ten minutes; packed by thirds."""
    chance = random.Random(3)
    async with open_readings(tmp_path / "readings.db", 600) as store:
        for n in range(4 * 2880):
            time_ns = START + n * 30 * S + 7
            store.append("e", ("level",), (round(chance.uniform(0, 9), 1),), None, time_ns)
            if n % 20 == 0:
                store.append("e", ("count", "on", "text"), (n // 20, n % 40 == 0, f"t{n % 3}"), None, time_ns)
            if n % 960 == 959:
                await store.flush()
                await slices(store, lambda file: pack_upto(file, file.groups.ends(0, 2**60)[-1]))
        await store.flush()
        yield store


async def slices(store: ReadingsStore, work: Callable[[ReadingsFile], Iterator[None]]) -> None:
    await store.work(lambda file: [file.db.in_transaction for _ in work(file)])


async def test_what_a_counter_has_gone_up_is_the_same_of_readings_minutes_and_hours_resets_included(
    tmp_path: Path,
) -> None:
    chance, count, late = random.Random(5), 0, (0, 0)
    async with open_readings(tmp_path / "readings.db", 600) as store:
        for n in range(4 * 1440):
            count = 0 if chance.random() < 0.002 else count + chance.choice((0, 1, 2, 5))
            store.append("e", ("count",), (count,), None, START + n * 60 * S)
            if n == 700:
                late = START + n * 60 * S, count
            if n % 450 == 449:  # each third period lies on both sides of a midnight
                await store.flush()
                await slices(store, lambda file: pack_upto(file, file.groups.ends(0, 2**60)[-1]))

        async def daily() -> list[float]:
            found = await store.query("e.count", START, END, DAY_NS, aggregate="increase")
            return [float(value) for _, value, _ in found if isinstance(value, int | float)]

        true = await daily()
        await slices(store, lambda file: retire_day(file, DAY + 1))
        assert await daily() == true
        await slices(store, lambda file: coarsen_day(file, DAY))
        assert await daily() == true
        store.append("e", ("count",), (late[1],), None, late[0])  # old history that is imported
        assert await daily() == true


async def test_queries_fall_back_on_minutes_then_hours(store: ReadingsStore) -> None:
    async def hourly(aggregate: str, point: str = "e.level") -> list[tuple[int, Value, str]]:
        return await store.query(point, START, END, HOURS_NS, aggregate=aggregate)  # type: ignore[arg-type]  # one of them

    before = {kind: await hourly(kind) for kind in ("mean", "min", "max", "last", "count")}
    rises, texts = await hourly("increase", "e.count"), await hourly("last", "e.text")
    twa = await hourly("twa")
    native = await store.query("e.level", START, END, limit=10**6)
    await slices(store, lambda file: retire_day(file, DAY + 1))
    await slices(store, lambda file: coarsen_day(file, DAY))

    for kind, expected in before.items():
        found = await hourly(kind)
        assert [(t, q) for t, _, q in found] == [(t, q) for t, _, q in expected]
        assert [v for _, v, _ in found] == pytest.approx([v for _, v, _ in expected], rel=1e-6)
    assert await hourly("increase", "e.count") == rises
    assert await hourly("last", "e.text") == texts
    assert [v for _, v, _ in await hourly("twa")] == pytest.approx([v for _, v, _ in twa], abs=0.2)
    told = await store.query("e.level", START, END, limit=10**6)
    assert told[2 * 2880 :] != native[2 * 2880 :]
    assert [each for each in told if each[0] >= START + 2 * DAY_NS] == native[2 * 2880 :]
    assert len(told) == 24 + 288 + 2 * 2880


async def test_readings_of_retired_days_are_gone_from_the_file_and_nothing_else(store: ReadingsStore) -> None:
    pages = "SELECT (SELECT * FROM pragma_page_count()) - (SELECT * FROM pragma_freelist_count())"
    before = (await store.work(lambda file: file.db.execute(pages).fetchone()))[0]
    assert await store.work(lambda file: oldest_day(PackedHistory(file.db))) == DAY
    await slices(store, lambda file: retire_day(file, DAY + 1))
    after = (await store.work(lambda file: file.db.execute(pages).fetchone()))[0]
    assert after < before
    assert await store.work(lambda file: oldest_day(PackedHistory(file.db))) == DAY + 2
    assert await store.work(lambda file: len(PackedHistory(file.db).periods())) == 6


async def test_hours_are_forgotten_in_the_end(store: ReadingsStore) -> None:
    await slices(store, lambda file: retire_day(file, DAY + 1))
    await slices(store, lambda file: coarsen_day(file, DAY))
    await slices(store, lambda file: forget_hours(file, DAY))
    found = await store.query("e.level", START, END, DAY_NS, aggregate="count")
    assert [each[0] for each in found] == [START + n * DAY_NS for n in (1, 2, 3)]


async def test_a_crash_at_any_step_of_retiring_shows_each_reading_once(store: ReadingsStore) -> None:
    expected = await store.query("e.level", START, END, HOURS_NS, aggregate="count")
    for stop in (1, 3, 5, 7, 10**6):
        await slices(store, partial(stopped, stop))
        assert await store.query("e.level", START, END, HOURS_NS, aggregate="count") == expected


def stopped(stop: int, file: ReadingsFile) -> Iterator[None]:
    return islice(retire_day(file, DAY), stop)


READINGS = st.lists(
    st.tuples(
        st.integers(START, START + DAY_NS - 1),
        st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-9, 9), st.text(max_size=2)),
        st.sampled_from([GOOD, GOOD, "bad/comm"]),
    ),
    max_size=40,
).map(lambda found: sorted(found, key=lambda each: each[0]))


@given(READINGS)
def test_digests_come_back_and_coarser_ones_are_those_of_the_readings(found: list[tuple[int, Value, str]]) -> None:
    fine = slots(found, MINUTES_NS)
    for length, some in ((MINUTES_NS, fine), (HOURS_NS, coarser(fine, HOURS_NS))):
        back = Digest(DAY, write_digest(DAY, some, length), length).slots
        assert repr(back) == repr(some)
    direct = slots(found, HOURS_NS)
    for one, other in zip(coarser(fine, HOURS_NS), direct, strict=True):
        assert (one.start_ns, one.good, repr(one.last), one.mark) == (
            other.start_ns, other.good, repr(other.last), other.mark,
        )  # fmt: skip
        if one.mean is not None:
            assert one.mean == pytest.approx(other.mean, abs=1e-5)


async def test_a_crash_at_any_step_adds_what_came_late_to_its_summaries_once(store: ReadingsStore) -> None:
    await slices(store, lambda file: retire_day(file, DAY + 1))
    await slices(store, lambda file: coarsen_day(file, DAY))
    points = ("level", "count", "on")
    for n in range(600):
        late: tuple[Value, ...] = (n % 9, 5000 + n, n % 2 == 0)
        store.append("e", points, late, None, START - DAY_NS + n * 400 * S)
    await store.flush()
    await slices(store, lambda file: pack_upto(file, file.groups.ends(0, 2**60)[-1]))

    async def counted() -> list[int]:
        spans = [
            await store.query(f"e.{each}", START - DAY_NS, END, 10 * DAY_NS, aggregate="count") for each in points
        ]
        return [int(str(value)) for found in spans for _, value, _ in found]

    def some(file: ReadingsFile, number: int) -> int:
        """So many steps, then a crash."""
        return sum(1 for _ in islice(retire_late(file) or (), number))

    assert await store.work(lambda file: some(file, 0)) == 0
    number = 1
    while await store.work(partial(some, number=number)) == number:
        number += 1
    assert number > len(points), "it gets further each time, and to its end"
    assert await counted() == [4 * 2880 + 600, 4 * 144 + 600, 4 * 144 + 600]
    assert await store.work(lambda file: len(PackedHistory(file.db).periods(to_ns=START))) == 0
    assert await store.work(lambda file: retire_late(file) is None)
