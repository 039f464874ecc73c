"""Alarms that repeat themselves: people are not told again, and learn what would have calmed them."""

from __future__ import annotations

from edge.incidents.repeats import Suggestion
from tests.incidents.scene import Scene


def chatter(
    scene: Scene, alarm: str, times: int, priority: str = "medium", begin: float = 0, period: float = 15
) -> None:
    """Raised and cleared again and again."""
    for n in range(times):
        scene.raised(alarm, begin + n * period, priority, value=81.0 + n)
        scene.tick(begin + n * period + 5)
        scene.cleared(alarm, begin + n * period + 6, value=79.0 - n)


def test_a_chattering_alarm_is_told_of_twice_and_then_held() -> None:
    scene = Scene()
    chatter(scene, "pump-1.hot", 8)
    assert len(scene.calls) == 2
    row = scene.engine.repeats.row("pump-1.hot", scene.mono_s)
    assert row is not None
    assert (row["kind"], row["raises"]) == ("chattering", 8)
    held = [line for line in scene.open[0].timeline if line.event == "held"]
    assert len(held) == 6


def test_the_suggestion_is_longer_than_the_longest_pause_and_wider_than_the_widest_swing() -> None:
    scene = Scene()
    chatter(scene, "pump-1.hot", 4)
    row = scene.engine.repeats.row("pump-1.hot", scene.mono_s)
    assert row is not None
    suggestion = row["suggestion"]
    assert suggestion["off_delay_s"] == 10  # pauses of 9 s
    assert suggestion["deadband"] == 5.1  # least raise 81, least clear 76
    assert "deadband: 5.1" in suggestion["text"]["en"]


def test_what_was_held_is_told_once_it_stands_still() -> None:
    scene = Scene()
    chatter(scene, "pump-1.hot", 4)
    scene.raised("pump-1.hot", 60, value=85.0)
    told = len(scene.calls)
    scene.tick(119)
    assert len(scene.calls) == told
    scene.tick(121)
    assert len(scene.calls) == told + 1


def test_a_fleeting_alarm_is_told_only_if_it_stays() -> None:
    scene = Scene()
    for n in range(3):
        scene.raised("pump-1.flow", n * 300)
        scene.tick(n * 300 + 2)
        scene.cleared("pump-1.flow", n * 300 + 4)
        scene.acked("pump-1.flow", n * 300 + 5)
    assert len(scene.calls) == 3
    scene.raised("pump-1.flow", 1200)
    row = scene.engine.repeats.row("pump-1.flow", scene.mono_s)
    assert row is not None
    assert (row["kind"], row["suggestion"]["on_delay_s"]) == ("fleeting", 5)
    scene.tick(1205)
    assert len(scene.calls) == 3
    scene.tick(1210.5)
    assert len(scene.calls) == 4


def test_a_critical_alarm_is_never_held() -> None:
    scene = Scene()
    chatter(scene, "lift-1.trapped", 6, "critical")
    row = scene.engine.repeats.row("lift-1.trapped", scene.mono_s)
    assert row is not None
    assert "loose contact" in row["suggestion"]["text"]["en"]  # nothing that would delay it
    assert not any(line.event == "held" for line in scene.open[0].timeline)


def test_where_nothing_can_be_worked_out_it_says_where_to_look() -> None:
    assert "loose contact" in Suggestion().text().en
    assert Suggestion(on_delay_s=120).text().zh == "建议 触发延时 on_delay: 2m"
