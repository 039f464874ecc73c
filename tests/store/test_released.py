"""History that an earlier Courtyard has packed is read beside what is packed now, reading for reading.

`released/readings-3.sql` was written by the program whose chunks carry no check sum: a day of hours, a day of 5
minutes, two packed days, each a period, and a few rows of the next day in the log. `recorded` tells what was given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from drivers.point import Value
from edge.store.digests import DAY_NS, HOURS_NS
from edge.store.packer import pack_upto
from edge.store.readings import ReadingsStore, open_readings
from edge.store.retention import coarsen_day, retire_day
from edge.store.steps import Aggregate

RELEASED = Path(__file__).parent / "released" / "readings-3.sql"
DAY = 20_454
"""1 January 2026, counted from 1970. Of it hours are left, of the next day minutes."""
FIRST_WHOLE, FRESH, NEXT = DAY + 2, DAY + 4, DAY + 5
MINUTE = 60 * 10**9
FRESH_MINUTES = 30
SENT = 20
"""Of the fresh rows; the uplink has these."""

Given = tuple[str, tuple[str, ...], tuple[Value, ...], tuple[str, ...] | None, int, int | None]
"""What `append` takes."""
Told = tuple[int, Value, str]


def recorded(day: int) -> Iterator[Given]:
    """What is recorded on a day, in order: values of all types, bad ones too, and one row that comes a day late."""
    minutes = FRESH_MINUTES if day == FRESH else 1440
    for n in range((day - DAY) * 1440, (day - DAY) * 1440 + minutes):
        time_ns = DAY * DAY_NS + n * MINUTE
        level = None if n % 211 == 0 else 20 + n * 37 % 101 / 10
        marks = ("bad/comm", "good", "uncertain/stale") if level is None else None
        yield "pump-1", ("level", "starts", "running"), (level, 2**40 + n // 3, n % 7 < 3), marks, time_ns, None
        if n % 10 == 0:
            label = ("满", "half 'full'", "", None)[n // 10 % 4]
            yield "bin-1", ("label", "ratio", "wide"), (label, n / 7, 2**64 - 1 - n), None, time_ns + 1, time_ns - 5
        if n % 1440 == 700:
            yield "door-1", ("open",), (True,), None, time_ns + 2, None
            yield "door-1", ("open",), (False,), ("uncertain/stale",), time_ns + 2 - DAY_NS, None


def readings(point: str, begin: int, end: int) -> list[Told]:
    """One point's readings from one day until before another, by their time, of what is recorded by then."""
    equipment, name = point.split(".")
    found = [
        (time_ns, values[names.index(name)], marks[names.index(name)] if marks else "good")
        for day in range(DAY, end)
        for of, names, values, marks, time_ns, _ in recorded(day)
        if of == equipment and name in names and begin <= time_ns // DAY_NS
    ]
    return sorted(found, key=lambda reading: reading[0])


POINTS = (
    "pump-1.level",
    "pump-1.starts",
    "pump-1.running",
    "bin-1.label",
    "bin-1.ratio",
    "bin-1.wide",
    "door-1.open",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "readings.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(RELEASED.read_text())
    return path


@pytest.fixture
async def store(path: Path) -> AsyncIterator[ReadingsStore]:
    async with open_readings(path, 600) as store:
        yield store


async def told(store: ReadingsStore, point: str, begin: int, end: int) -> list[Told]:
    """All that is told of some days."""
    return await store.query(point, begin * DAY_NS, end * DAY_NS, limit=10**6)


def kinds(path: Path) -> set[int]:
    """First bytes of what is packed."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT body FROM chunks UNION ALL SELECT summary FROM chunks WHERE summary IS NOT NULL"
        return {body[0] for (body,) in database.execute(query)}


async def record_and_pack(store: ReadingsStore, day: int) -> None:
    for row in recorded(day):
        store.append(*row)
    await store.flush()
    await store.work(lambda file: list(pack_upto(file, file.groups.ends(0, 2**60)[-1])))


def test_the_file_has_chunks_of_both_kinds_without_a_sum(path: Path) -> None:
    assert kinds(path) == {0, 1}


@pytest.mark.parametrize("point", POINTS)
async def test_every_reading_of_the_packed_days_and_of_the_log_is_told_as_it_was_given(
    store: ReadingsStore, point: str
) -> None:
    found = await told(store, point, FIRST_WHOLE, NEXT)
    assert list(map(repr, found)) == list(map(repr, readings(point, FIRST_WHOLE, NEXT)))
    assert store.trouble is None


async def test_rows_that_no_uplink_has_yet_are_given_out_as_they_were(store: ReadingsStore) -> None:
    expected = list(recorded(FRESH))
    position = store.cursor("cloud")
    rows = await store.read_after(position, 1000)
    assert [(r.equipment, r.points, r.values, r.qualities, r.time_ns, r.source_time_ns) for r in rows] == expected[
        SENT:
    ]
    assert [row.seq for row in rows] == list(range(position + 1, position + 1 + len(rows)))
    assert store.append(*expected[0]) > rows[-1].seq


async def test_hours_over_summaries_minutes_and_hours_are_those_of_what_was_given(store: ReadingsStore) -> None:
    level = readings("pump-1.level", DAY, FRESH)
    aggregates: list[tuple[Aggregate, Callable[[list[Any]], float]]] = [
        ("mean", fmean), ("min", min), ("max", max), ("count", len),
    ]  # fmt: skip
    for aggregate, of in aggregates:
        found = await store.query("pump-1.level", DAY * DAY_NS, FRESH * DAY_NS, HOURS_NS, aggregate=aggregate)
        expected = [
            of([value for time_ns, value, _ in level if value is not None and time_ns // HOURS_NS == hour])
            for hour in range(DAY * 24, FRESH * 24)
        ]
        assert [time_ns // HOURS_NS for time_ns, _, _ in found] == list(range(DAY * 24, FRESH * 24))
        assert [value for _, value, _ in found] == pytest.approx(expected)
    starts = await store.query("pump-1.starts", DAY * DAY_NS, FRESH * DAY_NS, DAY_NS, aggregate="increase")
    assert [value for _, value, _ in starts] == pytest.approx([480] * 4, abs=1)
    assert len(await told(store, "pump-1.running", DAY, DAY + 1)) == 24
    assert len(await told(store, "pump-1.running", DAY + 1, DAY + 2)) == 288


async def test_what_is_packed_now_stands_beside_it(store: ReadingsStore, path: Path) -> None:
    await store.work(lambda file: list(pack_upto(file, file.groups.ends(0, 2**60)[-1])))
    await record_and_pack(store, NEXT)
    assert kinds(path) == {0, 1, 0x66, 0x99}
    for point in POINTS:
        found = await told(store, point, FIRST_WHOLE, NEXT + 1)
        assert list(map(repr, found)) == list(map(repr, readings(point, FIRST_WHOLE, NEXT + 1)))
    pages = [page async for page in store.history(None, FIRST_WHOLE * DAY_NS, (NEXT + 1) * DAY_NS)]
    everything = [(t, point, v, q) for point in POINTS for t, v, q in readings(point, FIRST_WHOLE, NEXT + 1)]
    assert sorted(map(repr, [each for page in pages for each in page])) == sorted(map(repr, everything))


async def test_it_is_thinned_out_as_ever(store: ReadingsStore) -> None:
    before = {point: await told(store, point, DAY, DAY + 1) for point in POINTS}
    await store.work(lambda file: list(retire_day(file, FIRST_WHOLE)))
    await store.work(lambda file: list(coarsen_day(file, DAY + 1)))
    assert {point: await told(store, point, DAY, DAY + 1) for point in POINTS} == before
    assert len(await told(store, "pump-1.level", DAY + 1, DAY + 2)) == 24
    assert len(await told(store, "pump-1.level", FIRST_WHOLE, FIRST_WHOLE + 1)) == 288
    whole = readings("bin-1.wide", FIRST_WHOLE + 1, FRESH)
    assert await told(store, "bin-1.wide", FIRST_WHOLE + 1, FRESH) == whole
