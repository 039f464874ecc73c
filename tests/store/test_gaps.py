"""What waits for an uplink is counted truly: over kills, restored backups, and rows that the disk budget has cost."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge.store.gaps import Gap, Gaps
from edge.store.readings import ReadingsStore, open_readings
from edge.store.readings_file import ReadingsFile

LONG_S = 600.0


async def counted(store: ReadingsStore) -> list[int]:
    """Numbers of all rows; every count of what lies behind a place is checked against them."""
    found = [row.seq for row in await store.read_after(0, 10**6)]
    for place, seq in enumerate(found):
        assert store.behind(seq) == len(found) - place - 1
        assert store.behind(seq - 1) == len(found) - place
    assert store.behind(0) == len(found)
    assert store.behind(store.last_seq) == 0
    return found


def put(store: ReadingsStore, count: int) -> None:
    for _ in range(count):
        name = ("light-1", "pump-1")[store.last_seq % 2]
        store.append(name, ("n",), (1,), None, 10**9 * store.last_seq)


async def test_kills_leave_gaps_in_the_numbers_that_no_backlog_counts(tmp_path: Path) -> None:
    chance, folder = random.Random(4), tmp_path / "0"
    folder.mkdir()
    for life in range(1, 8):
        left = tmp_path / str(life)
        async with open_readings(folder / "readings.db", LONG_S) as store:
            before = await counted(store)
            put(store, chance.choice((0, 3, 20)))
            await store.flush()
            left.mkdir()
            for path in folder.glob("readings.db*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, left)
            put(store, 2)  # lost by the kill, or kept where the end is an orderly one
            assert len(await counted(store)) >= len(before) + 2
        folder = left if chance.random() < 0.7 else folder
    async with open_readings(folder / "readings.db", LONG_S) as store:
        found = await counted(store)
        assert len(found) > 20
        assert found[-1] > 2 * 65_536, "numbers have jumped"


async def test_rows_that_were_let_go_wait_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    async with open_readings(path, LONG_S) as store:
        for _ in range(80):
            put(store, 50)
            await store.flush()

        def shed(file: ReadingsFile, equipment: str, groups: slice) -> int:
            return file.shed(file.groups.ends(0, 2**62)[groups], {equipment}, lambda gone: None)

        whole = len(await counted(store))
        assert await store.work(lambda file: shed(file, "light-1", slice(0, 12))) == 300
        await store.count_anew()
        left = [row.seq for row in await store.read_after(0, 10**6)]
        assert store.behind(0) == len(left) == whole - 300 == 3700
        assert store.behind(600) == whole - 600
        assert abs(store.behind(300) - sum(seq > 300 for seq in left)) <= 1, (
            "within what was let go it is an estimate"
        )
        assert await store.work(lambda file: shed(file, "pump-1", slice(0, 1))) == 300
        await store.count_anew()
    async with open_readings(path, LONG_S) as store:
        found = await counted(store)
        assert len(found) == whole - 600
        await store.work(lambda file: file.forget(found[-1]))
        assert await store.work(lambda file: file.gaps()) == []


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.booleans()), max_size=8), st.data())
def test_every_number_outside_of_a_mixed_gap_is_counted_exactly(
    parts: list[tuple[int, int, bool]], data: st.DataObject
) -> None:
    seq, gaps, rows = 0, [], list[int]()
    for count, missing, mixed in parts:
        rows += range(seq + 1, seq + count + 1)
        seq += count
        gaps.append(Gap(seq + 1, seq + missing + mixed, missing))
        rows += [seq + missing + mixed] * mixed
        seq += missing + mixed
    sure = [n for n in range(seq + 1) if not any(gap.first_seq <= n < gap.last_seq for gap in gaps)]
    found = Gaps(data.draw(st.permutations(gaps)))
    for after in sure:
        assert seq - after - found.missing(after, seq) == sum(row > after for row in rows)
