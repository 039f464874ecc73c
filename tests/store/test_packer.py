"""Packed and fresh rows are read alike, whatever was packed when, and a crash at any step costs nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from drivers.point import Value
from edge.store.frames import Frame
from edge.store.packed import PackedHistory
from edge.store.packer import Closing, closed, delete_packed, pack_upto
from edge.store.readings import ReadingsStore, Row, open_readings
from edge.store.readings_file import ReadingsFile
from edge.store.steps import AGGREGATES, Aggregate

S = 10**9
START = 1_767_225_600 * S
LONG_S = 600.0
MARKS = ("good", "good", "good", "bad/comm", "uncertain/stale")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "readings.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[ReadingsStore]:
    async with open_readings(path, LONG_S) as store:
        yield store


async def record(store: ReadingsStore, rows: int, seed: int = 1, late: float = 0.0) -> list[Row]:
    """Rows of three equipment with all kinds of values, committed in groups; some of them late."""
    chance = random.Random(seed)
    given: list[Row] = []
    for n in range(rows):
        equipment = f"e{chance.randrange(3)}"
        points = ("level", "count", "on", "text")[: chance.randrange(1, 5)]
        some: tuple[Value, ...] = (
            round(chance.gauss(20, 2), 1), n // 3, chance.random() < 0.5, chance.choice(("up", "down", None)),
        )  # fmt: skip
        values = some[: len(points)]
        marks = tuple(chance.choice(MARKS) for _ in points) if chance.random() < 0.1 else None
        time_ns = START + n * S + chance.randrange(10**6) - (3600 * S if chance.random() < late else 0)
        source = time_ns - 5 if chance.random() < 0.2 else None
        seq = store.append(equipment, points, values, marks, time_ns, source)
        given.append(Row(seq, time_ns, equipment, points, values, marks, source))
        if n % 97 == 0:
            await store.flush()
    await store.flush()
    return given


async def pack(store: ReadingsStore, upto: int) -> None:
    def work(file: ReadingsFile) -> None:
        for _ in pack_upto(file, file.groups.ends(0, upto)[-1]):
            assert not file.db.in_transaction

    await store.work(work)


def readings(given: list[Row], point: str) -> list[tuple[int, Value, str]]:
    equipment, _, name = point.rpartition(".")
    found = [
        (row.time_ns, row.values[place], row.qualities[place] if row.qualities else "good")
        for row in given
        if row.equipment == equipment and name in row.points
        for place in (row.points.index(name),)
    ]
    return sorted(found, key=lambda reading: reading[0])


POINTS = ("e0.level", "e1.count", "e2.on", "e0.text")
END = START + 10**6 * S


async def test_what_is_packed_comes_back_exactly_and_the_rows_are_gone(store: ReadingsStore) -> None:
    given = await record(store, 3000, late=0.05)
    for upto in (500, 1500, 2900):
        await pack(store, given[upto].seq)
        for point in POINTS:
            assert list(map(repr, await store.query(point, 0, END))) == list(map(repr, readings(given, point)))
    left = await store.work(lambda file: file.groups.ends(0, given[2800].seq))
    assert left == []
    assert await store.work(lambda file: file.db.execute("SELECT count(*) FROM sweeps").fetchone()[0]) == 0


@pytest.mark.parametrize("late", [0.0, 0.02])
async def test_steps_over_packed_and_fresh_are_those_over_fresh_alone(store: ReadingsStore, late: float) -> None:
    given = await record(store, 6000, late=late)
    asked: list[tuple[str, Aggregate, int, int, int]] = [
        (point, aggregate, every, START + begin * S, START + 5_700 * S)
        for point in POINTS for aggregate in AGGREGATES for every, begin in ((10 * S, 5_000), (900 * S, 77))
    ]  # fmt: skip
    before = [await store.query(p, begin, end, every, aggregate=a) for p, a, every, begin, end in asked]
    await pack(store, given[2000].seq)
    await pack(store, given[4500].seq)
    for (p, a, every, begin, end), expected in zip(asked, before, strict=True):
        found = await store.query(p, begin, end, every, aggregate=a)
        assert [(t, q) for t, _, q in found] == [(t, q) for t, _, q in expected], (p, a, every)
        for (_, one, _), (_, other, _) in zip(found, expected, strict=True):
            assert one == (pytest.approx(other) if isinstance(other, float) else other), (p, a, every)


async def test_a_limit_brings_the_first_of_packed_and_fresh(store: ReadingsStore) -> None:
    given = await record(store, 2000)
    await pack(store, given[700].seq)
    await pack(store, given[1400].seq)
    for limit in (1, 100, 300, 420):
        assert await store.query("e0.level", 0, END, limit=limit) == readings(given, "e0.level")[:limit]


async def test_history_merges_packed_and_fresh_in_order_of_time(store: ReadingsStore) -> None:
    given = await record(store, 4000, late=0.03)
    expected = sorted(
        (time_ns, point, repr(value), mark)
        for row in given for point in (f"{row.equipment}.{name}" for name in row.points)
        for time_ns, value, mark in readings([row], point)
    )  # fmt: skip
    for upto in (0, 1500, 3900):
        if upto:
            await pack(store, given[upto].seq)
        pages = [page async for page in store.history(None, 0, END, 700)]
        found = [each for page in pages for each in page]
        assert [each[0] for each in found] == sorted(each[0] for each in found)
        assert sorted((t, p, repr(v), q) for t, p, v, q in found) == expected
        some = [each async for page in store.history(["e1.count", "e0.on"], START + 500 * S, END) for each in page]
        assert [each for each in found if each[1] in ("e1.count", "e0.on") and each[0] >= START + 500 * S] == some


async def test_stamps_of_devices_are_kept(store: ReadingsStore) -> None:
    given = await record(store, 600)
    await pack(store, given[-1].seq)

    def sources(file: ReadingsFile) -> dict[int, int | None]:
        frames = [Frame.unpack(body) for (body,) in file.db.execute(
            "SELECT body FROM chunks WHERE id & 16777215 IN (SELECT id FROM series WHERE point = '')")]  # fmt: skip
        return {t: s for frame in frames for t, s in zip(frame.times(), frame.sources(), strict=True)}

    assert await store.work(sources) == {row.time_ns: row.source_time_ns for row in given}


async def test_a_crash_at_any_step_loses_and_doubles_nothing(store: ReadingsStore) -> None:
    given = await record(store, 400)
    expected = [readings(given, point) for point in POINTS]

    def some(file: ReadingsFile, stop: int) -> bool:
        """As a start after a crash, and then so many steps; whether there was nothing left to pack."""
        assert list(delete_packed(file)) is not None
        ends = file.groups.ends(0, given[-1].seq)
        steps = pack_upto(file, ends[-1]) if ends else iter(())
        return all(step < stop for step, _ in enumerate(steps))

    stop, done = 0, False
    while not done:
        done = await store.work(partial(some, stop=stop))
        assert [await store.query(point, 0, END) for point in POINTS] == expected
        stop += 1
    assert stop > 20
    assert await store.work(lambda file: file.db.execute("SELECT count(*) FROM periods").fetchone()[0]) >= 1


async def test_numbers_and_cursors_go_on_after_all_is_packed(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        given = await record(store, 100)
        store.advance("cloud", given[-1].seq)
        await pack(store, given[-1].seq)
    async with open_readings(path, LONG_S) as store:
        assert store.cursor("cloud") == given[-1].seq
        assert store.append("e0", ("level",), (1.0,), None, END) > given[-1].seq
        assert len(await store.read_after(store.cursor("cloud"), 10)) == 1
        assert len(await store.query("e0.level", 0, END + 1)) == len(readings(given, "e0.level")) + 1


async def test_a_stretch_is_closed_by_age_or_by_count_never_beyond_the_limit(store: ReadingsStore) -> None:
    given = await record(store, 3200)  # 33 groups: two spans
    spans = await store.work(lambda file: file.db.execute("SELECT last_seq, last_ns FROM spans").fetchall())
    (first, first_ns), (second, second_ns) = spans
    hour = 3600 * S

    async def upto(now_ns: int, limit: int = 10**9, most_rows: int = 10**6, longest: int = 6 * hour) -> int | None:
        closing = Closing(hour, most_rows, longest)
        return await store.work(lambda file: closed(file, closing, now_ns, limit))

    assert await upto(START + hour) is None
    assert await upto(START + 7 * hour - S) is None
    assert await upto(START + 7 * hour + S) == second
    assert await upto(START + 7 * hour + S, longest=S) == first
    assert await upto(START + 7 * hour + S, limit=second - 1) == first
    assert await upto(START + 7 * hour + S, limit=first - 1) is None
    assert await upto(first_ns + hour, most_rows=1000) == first
    assert await upto(second_ns + hour, most_rows=1000) == first
    assert await upto(second_ns + hour, most_rows=2000) == second
    assert given[-1].seq > second


async def test_packing_goes_on_where_it_was(store: ReadingsStore) -> None:
    given = await record(store, 500)
    await pack(store, given[200].seq)
    mark = await store.work(lambda file: PackedHistory(file.db).mark())
    await pack(store, given[-1].seq)
    periods = await store.work(lambda file: PackedHistory(file.db).periods())
    assert [(period.first_seq, period.last_seq) for period in periods] == [(1, mark), (mark + 1, given[-1].seq)]
    assert sum(period.readings for period in periods) == sum(len(row.values) for row in given)
