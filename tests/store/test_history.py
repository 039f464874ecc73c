"""Readings by time: of one point by any aggregate, of many points merged in pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.store import group_table
from edge.store.history import Sample
from edge.store.readings import ReadingsStore, open_readings
from edge.store.steps import Aggregate

LONG_S = 600.0
"""So long a commit interval that only `flush` commits."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "readings.db"


async def collect(
    store: ReadingsStore, points: list[str] | None, from_ns: int = 0, to_ns: int = 10**9, page: int = 10_000
) -> list[list[Sample]]:
    return [found async for found in store.history(points, from_ns, to_ns, page)]


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("mean", 20.5), ("min", 20), ("max", 21), ("last", 21), ("count", 2), ("twa", 20.5), ("increase", 2.0)],
)
async def test_a_query_folds_by_any_aggregate_over_disk_and_memory(
    path: Path, aggregate: Aggregate, expected: float
) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(30):
            store.append("meter-1", ("energy",), (n,), None, n * 50)
            if n == 20:
                await store.flush()
        found = await store.query("meter-1.energy", 1_000, 1_100, 100, aggregate=aggregate)
    assert found == [(1_000, expected, "good")]


async def test_a_counter_knows_what_it_was_before_the_span(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(4):
            store.append("meter-1", ("energy",), (n * 7,), None, n * 10**9)
        await store.flush()
        found = await store.query("meter-1.energy", 2 * 10**9, 3 * 10**9, 10**9, aggregate="increase")
    assert found == [(2 * 10**9, 7.0, "good")]


async def test_points_come_merged_in_order_of_time_in_pages(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(5_000):
            store.append("pump-1", ("a", "b"), (n, True), ("good", "bad/comm") if n % 2 else None, n * 10)
            store.append("pump-2", ("a",), (-n,), None, n * 10 + 5)
            if n % 1000 == 900:
                await store.flush()
        pages = await collect(store, ["pump-1.b", "pump-2.a"], 100, 49_000, 1_000)
    assert [len(page) for page in pages[:-1]] == [1_000] * (len(pages) - 1)
    found = [each for page in pages for each in page]
    expected: list[Sample] = []
    for n in range(10, 4_900):
        expected.append((n * 10, "pump-1.b", True, "bad/comm" if n % 2 else "good"))
        expected.append((n * 10 + 5, "pump-2.a", -n, "good"))
    assert found == expected


async def test_all_points_come_where_none_is_named_and_none_where_there_is_none(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        assert await collect(store, None) == []
        store.append("pump-1", ("a", "b"), (1, 2.5), None, 10)
        await store.flush()
        store.append("pump-2", ("c",), ("开",), None, 5)
        assert await collect(store, None) == [
            [(5, "pump-2.c", "开", "good"), (10, "pump-1.a", 1, "good"), (10, "pump-1.b", 2.5, "good")]
        ]
        assert await collect(store, []) == []
        assert await collect(store, ["pump-9.a"]) == []
        assert await collect(store, None, 10, 10) == []


async def test_times_that_stepped_back_and_forth_and_long_gaps_come_in_order(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_table, "SPAN_GROUPS", 2)
    times = [500, 600, 100, 100, 700, 10**15, 200, 650, 100, 2 * 10**15, 3, 800]
    async with open_readings(path, LONG_S) as store:
        for n, time_ns in enumerate(times):
            store.append("pump-1", ("n",), (n,), None, time_ns)
            if n % 2 and n < 10:
                await store.flush()
        pages = await collect(store, None, 0, 2**63, 5)
    found = [(each[0], each[2]) for page in pages for each in page]
    assert found == sorted(((time_ns, n) for n, time_ns in enumerate(times)), key=lambda each: each[0])


async def test_history_takes_no_more_memory_for_a_longer_span(path: Path) -> None:
    async with open_readings(path, LONG_S) as store:
        for n in range(20_000):
            store.append("pump-1", ("a",), (n,), None, n)
            if n % 5000 == 4999:
                await store.flush()
        seen, most = 0, 0
        async for page in store.history(None, 0, 10**9, 500):
            seen += len(page)
            most = max(most, len(page))
    assert (seen, most) == (20_000, 500)
