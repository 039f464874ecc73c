"""What the community records arrives at the far end: counted at both ends."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.stories.community import community
from tests.support import eventually

pytestmark = [pytest.mark.story, pytest.mark.service, pytest.mark.timeout(120)]


def exported(url: str, equipment: str, until_ns: int) -> Counter[str]:
    """How many samples up to a time a server of the InfluxDB v2 write API holds, by series name."""
    httpx.get(f"{url}/internal/force_flush", trust_env=False)
    query = {"match[]": f'{{equipment="{equipment}"}}'}
    lines = httpx.get(f"{url}/api/v1/export", params=query, trust_env=False).text.splitlines()
    rows = [row for line in lines if not (row := json.loads(line))["metric"]["__name__"].endswith("_quality")]
    return Counter(
        {row["metric"]["__name__"]: sum(at * 10**6 <= until_ns for at in row["timestamps"]) for row in rows}
    )


async def test_every_recorded_reading_reaches_influxdb(tmp_path: Path, victoria_metrics: str) -> None:
    cloud = {"type": "influxdb", "url": victoria_metrics, "org": "maple", "bucket": "courtyard", "token": "t"}
    async with community(tmp_path, "quiet", over={"uplinks": {"cloud": cloud}}) as story:
        await story.live(30)
        until_ns = story.clock.wall_ns()
        await story.live(5)  # what is under way arrives
        await story.house.store.flush()
        log = await story.house.store.read_after(0, 100_000)
        recorded = Counter(
            f"pump_{name}"
            for row in log
            if row.equipment == "pump-1" and row.time_ns <= until_ns
            for name, value in zip(row.points, row.values, strict=True)
            if isinstance(value, int | float)
        )
        assert max(recorded.values()) > 1
        await eventually(lambda: exported(victoria_metrics, "pump-1", until_ns) == recorded, within_s=30)
        (status,) = [row for row in story.house.desk.uplinks() if row["name"] == "cloud"]
        assert (status["state"], status["rejected"]) == ("up", 0)
