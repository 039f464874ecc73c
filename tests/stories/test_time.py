"""The demo's community on a box without a clock chip: it starts in 1970 and learns the time later."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.clock import ManualClock
from tests.stories.community import community
from tests.support import eventually

pytestmark = [pytest.mark.story, pytest.mark.timeout(120)]

TRUE_NS = int(datetime(2026, 3, 2, 18, tzinfo=UTC).timestamp()) * 10**9


async def test_a_box_that_starts_in_1970_alarms_at_once_and_sets_its_readings_right_later(tmp_path: Path) -> None:
    clock = ManualClock(5 * 10**9, known=False)
    async with community(tmp_path, "evening", clock=clock) as story:
        began_s = clock.mono_s()
        await story.live(40)
        house = story.house
        assert "lift-2.alarm_button" in [name for _, name in story.happened("alarm", "raised")]
        before = {house.engine.live(point).quality.value for point in house.site.points}
        assert "uncertain/clock" in before
        assert "good" not in before
        await house.store.flush()
        assert house.store.stats()["last_seq"] > 100
        assert await house.store.read_after(0, 10) == []  # uplinks are given nothing yet

        clock.step_wall((TRUE_NS - clock.wall_ns()) / 1e9)
        clock.time_known = True
        learned_s = clock.mono_s()
        await story.live(10)
        await eventually(lambda: house.store.held is None)
        rows = await house.store.read_after(0, 10**6)
        assert len(rows) > 100
        assert [row.seq for row in rows] == sorted(row.seq for row in rows)
        first_ns = TRUE_NS - round((learned_s - began_s) * 1e9)
        assert all(first_ns <= row.time_ns <= clock.wall_ns() for row in rows)
        assert not any("uncertain/clock" in (row.qualities or ()) for row in rows)
        now = [house.engine.live(point) for point in house.site.points]
        assert "good" in {live.quality.value for live in now}
        assert "uncertain/clock" not in {live.quality.value for live in now}
        assert min(live.time_ns for live in now) >= first_ns
        (entry,) = [entry for _, entry in await house.ledger.journal(kind="clock")]
        assert (entry.body["event"], round(entry.body["shift_s"])) == (
            "known",
            round((TRUE_NS - 5 * 10**9) / 1e9) - 40,
        )
        found = await house.store.query("pump-1.outlet_pressure", first_ns, clock.wall_ns())
        # A device that has missed a turn on a busy machine says so; without that every reading is good.
        missed = sum(
            device["timeouts"]
            for way in house.ways.values()
            for device in way.status().get("devices", ())
            if device["equipment"] == "pump-1"
        )
        marks = [quality for _, _, quality in found if quality != "good"]
        assert len(marks) < len(found)
        assert marks == [] or (missed and set(marks) == {"uncertain/stale"} and len(marks) <= missed), (marks, missed)
