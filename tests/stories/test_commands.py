"""A command for a time and an interlock on the whole way: desk, real wire, simulated relay, journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.desk import DeskRefused
from tests.stories.community import community

pytestmark = [pytest.mark.story, pytest.mark.timeout(120)]


async def test_a_light_burns_for_a_while_by_command_and_goes_back_by_itself(tmp_path: Path) -> None:
    async with community(tmp_path, "quiet") as story:
        await story.live(6)
        desk = story.house.desk
        was = desk.points("light-12")[0]["value"]
        done = await desk.write_point("light-12.on", not was, "li", "repair", 20)
        assert (done["result"], done["override"]["returns_to"]) == ("done", was)
        with pytest.raises(DeskRefused, match=r"light-12\.on is set once in 2 s at most"):
            await desk.write_point("light-12.on", was, "li", "done already")
        await story.live(18)
        assert desk.points("light-12")[0]["value"] is not was
        await story.live(6)
        light = desk.points("light-12")[0]
        assert (light["value"], light["override"]) == (was, None)
        told = [each["override"]["event"] for each in story.told if "override" in each]
        assert told == ["set", "returned"]


async def test_while_nobody_knows_whether_the_pit_is_flooded_its_light_stays_on(tmp_path: Path) -> None:
    async with community(tmp_path, "bus-cut") as story:
        await story.live(14)
        desk = story.house.desk
        assert desk.points("sump-2")[0]["quality"] == "bad"
        await desk.write_point("light-12.on", True, "li", "work in the pit")
        await story.live(3)
        with pytest.raises(DeskRefused, match=r"sump-2\.very_high_level is bad/comm") as refused:
            await desk.write_point("light-12.on", False, "li", "done")
        assert refused.value.kind == "conflict"
        assert desk.points("light-12")[0]["value"] is True
