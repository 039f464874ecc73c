"""Rows leave in order, confirmed before they are passed, and wait while nobody takes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from edge.clock import ManualClock
from edge.store.readings import ReadingsStore, open_readings
from edge.uplinks.drain import drain
from edge.uplinks.shape import Row, Stats, UplinkDown
from tests.support import eventually


class FarEnd:
    """Takes rows, unless told to fail."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.sizes: list[int] = []
        self.error: UplinkDown | None = None
        self.asked = 0

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.sizes.append(len(rows))
        self.got += [row.seq for row in rows]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadingsStore]:
    async with open_readings(tmp_path / "readings.db", 600) as opened:
        yield opened


def put(store: ReadingsStore, count: int, time_ns: int = 0) -> None:
    for _ in range(count):
        store.append("pump-1", ("a",), (1.0,), None, time_ns)


class Drained:
    """An uplink being drained, on a clock of the test's."""

    def __init__(self, store: ReadingsStore) -> None:
        self.far, self.clock, self.stats = FarEnd(), ManualClock(), Stats()
        self.store = store

    async def __aenter__(self) -> Drained:
        self.task = asyncio.create_task(
            drain(self.store, "cloud", self.far.send, self.clock, self.stats, limit=10, linger_s=0.5), name="drain"
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    def asked(self, times: int) -> bool:
        return self.far.asked == times

    async def asleep(self) -> None:
        await eventually(lambda: "drain" in self.clock.sleeping())


async def test_a_backlog_leaves_in_full_batches_and_what_comes_then_waits_for_company(store: ReadingsStore) -> None:
    put(store, 25)
    async with Drained(store) as link:
        await eventually(lambda: len(link.far.got) == 25)
        assert link.far.sizes == [10, 10, 5]
        put(store, 1)
        await link.asleep()
        put(store, 2)
        assert len(link.far.got) == 25
        link.clock.advance(0.5)
        await eventually(lambda: len(link.far.got) == 28)
        assert link.far.sizes[-1] == 3
        assert link.far.got == list(range(1, 29))
        assert (link.stats.state, link.stats.sent, link.stats.behind()) == ("up", 28, 0)
        await eventually(lambda: link.stats.oldest_ns is None)
        assert store.cursor("cloud") == 28


async def test_a_far_end_that_is_down_is_asked_with_growing_pauses_and_gets_everything_in_the_end(
    store: ReadingsStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with Drained(store) as link:
        link.far.error = UplinkDown("nobody there")
        put(store, 12, time_ns=link.clock.wall_ns())
        await link.asleep()
        link.clock.advance(0.5)  # the company that it waited for
        pauses = []
        for n in range(9):
            await eventually(partial(link.asked, n + 1))
            await link.asleep()
            woken = link.clock.next_wake_s()
            assert woken is not None
            pauses.append(woken - link.clock.mono_s())
            link.clock.advance(pauses[-1])
        assert [round(pause) >= least for pause, least in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60], strict=True)]
        assert max(pauses) <= 75
        await eventually(lambda: link.far.asked == 10)
        await link.asleep()
        assert (link.stats.state, link.stats.last_error, link.stats.behind()) == ("down", "nobody there", 12)
        assert link.stats.lag_s(link.clock.wall_ns()) == pytest.approx(sum(pauses) + 0.5)
        assert store.cursor("cloud") == 0
        link.far.error = None
        link.clock.advance(75)
        await eventually(lambda: link.far.got == list(range(1, 13)))
        await eventually(lambda: link.stats.lag_s(link.clock.wall_ns()) == 0)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "uplink cloud: nobody there; readings wait in the log, trying again"
    assert lines[1].startswith("uplink cloud is back after ")
    assert len(lines) == 2


async def test_a_far_end_that_says_when_is_not_asked_before(store: ReadingsStore) -> None:
    async with Drained(store) as link:
        link.far.error = UplinkDown("busy", retry_after_s=120)
        put(store, 10)
        await link.asleep()
        link.clock.advance(0.5)
        await eventually(lambda: link.far.asked == 1)
        await link.asleep()
        woken = link.clock.next_wake_s()
        assert woken is not None
        assert 120 <= woken - link.clock.mono_s() <= 150


@pytest.mark.parametrize("at_once_s", [0.0, -100.0])
async def test_a_far_end_that_says_at_once_is_not_asked_without_a_pause(
    store: ReadingsStore, at_once_s: float
) -> None:
    put(store, 10)
    link = Drained(store)
    link.far.error = UplinkDown("busy", retry_after_s=at_once_s)
    async with link:
        await link.asleep()
        assert link.far.asked == 1
        woken = link.clock.next_wake_s()
        assert woken is not None
        assert 1 <= woken - link.clock.mono_s() <= 1.25


async def test_after_a_restart_it_goes_on_behind_what_was_confirmed(tmp_path: Path) -> None:
    async with open_readings(tmp_path / "readings.db", 600) as store:
        put(store, 15)
        async with Drained(store) as link:
            await eventually(lambda: len(link.far.got) == 15)
        put(store, 3)
    async with open_readings(tmp_path / "readings.db", 600) as store, Drained(store) as link:
        await eventually(lambda: link.far.got == [16, 17, 18])
