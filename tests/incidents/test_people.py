"""An entrapment from detection to release, and incidents over a restart."""

from __future__ import annotations

import pytest

from edge.incidents.incident import IncidentRefused
from tests.incidents.scene import Scene, events


def entrapment() -> Scene:
    scene = Scene()
    scene.raised("lift-1.button", 0, "critical")
    scene.raised("lift-1.trapped", 60, "critical")
    scene._keep(scene.engine.pushed("lift-1.trapped", "desk", "group", None, scene.wall_ns))
    scene.acked("lift-1.button", 70, "王")
    scene.acked("lift-1.trapped", 71, "王")
    return scene


def test_an_entrapment_is_one_incident_with_a_timeline() -> None:
    scene = entrapment()
    scene.step("INC-000001", "onsite", 900, "张", "维保到场")
    scene.step("INC-000001", "released", 1500, "张")
    scene.cleared("lift-1.trapped", 1510)
    scene.cleared("lift-1.button", 1511)
    (incident,) = scene.engine.closed()
    assert incident.title.en == "trapped"  # the rescue names it, not the button that was first
    assert incident.first_out == "lift-1.button"
    assert [(line.event, line.who) for line in incident.timeline] == [
        ("raised", ""), ("raised", ""), ("pushed", "desk"), ("acknowledged", "王"), ("acknowledged", "王"),
        ("onsite", "张"), ("released", "张"), ("cleared", ""), ("cleared", ""), ("closed", ""),
    ]  # fmt: skip
    assert (incident.onsite_by, incident.released_by, incident.acked_by) == ("张", "张", "王")


def test_who_is_told_that_it_is_over_is_noted_after_its_end_too() -> None:
    scene = entrapment()
    scene.cleared("lift-1.trapped", 1200)
    scene.cleared("lift-1.button", 1200)
    (incident,) = scene.engine.closed()
    scene._keep(scene.engine.pushed(incident.id, "desk", "group", None, scene.wall_ns, over=True))
    scene._keep(scene.engine.pushed(incident.id, "desk", "mail", "HTTP 503", scene.wall_ns, over=True))
    (incident,) = scene.engine.closed()
    assert [(line.event, line.note) for line in incident.timeline[-3:]] == [
        ("closed", ""), ("pushed over", "group"), ("push over failed", "mail: HTTP 503"),
    ]  # fmt: skip
    assert incident.state == "closed"


def test_release_is_noted_by_itself_when_the_condition_goes() -> None:
    scene = entrapment()
    assert "released" in events(scene.cleared("lift-1.trapped", 1200))
    incident = scene.open[0]
    assert incident.released_ns == scene.wall_ns
    assert incident.released_by == ""
    scene.step("INC-000001", "released", 1300, "张")  # somebody says so afterwards: his name counts
    assert scene.open[0].released_by == "张"


def test_what_cannot_be_done_says_why() -> None:
    scene = entrapment()
    scene.step("INC-000001", "onsite", 100, "张")
    for step, who, note, why in (
        ("onsite", "李", "", "张 is on site already"),
        ("onsite", " ", "", "a name is missing"),
        ("note", "李", " ", "a note has words"),
        ("dance", "李", "", "no step dance"),
    ):
        with pytest.raises(IncidentRefused, match=why):
            scene.engine.step("INC-000001", step, who, note, scene.wall_ns)
    with pytest.raises(IncidentRefused, match="no incident 'INC-7'"):
        scene.engine.step("INC-7", "note", "李", "x", scene.wall_ns)


def test_nobody_is_told_a_second_time_after_a_restart_and_everything_goes_on() -> None:
    scene = Scene()
    scene.raised("connection:bus.line_offline", 0, "high")
    scene.raised("pump-1.offline", 1)
    scene.tick(5)
    scene.raised("light-1.out", 100, "low")
    before = [each.to_body() for each in scene.open]
    calls = list(scene.calls)
    assert scene.restarted() == []
    scene.tick(110)
    assert [each.to_body() for each in scene.open] == before
    assert scene.calls == calls
    scene.raised("pump-2.offline", 120)
    assert scene.engine.incident_id("pump-2.offline") == "INC-000001"
    scene.raised("light-2.out", 130)
    assert scene.engine.incident_id("light-2.out") == "INC-000003"


def test_a_cause_that_comes_after_a_restart_takes_over_what_began_before_it() -> None:
    scene = Scene()
    scene.raised("pump-1.offline", 0)
    scene.tick(5)
    scene.restarted()
    scene.raised("connection:bus.line_offline", 20, "high")
    (only,) = scene.open
    assert only.root == "connection:bus"


def test_a_call_that_was_due_when_the_box_died_is_made() -> None:
    scene = Scene()
    scene.raised("light-1.out", 0)
    scene.raised("light-2.out", 1)
    assert len(scene.calls) == 1
    scene.restarted()
    scene.tick(2)
    assert [name for name, _ in scene.calls] == ["INC-000001", "INC-000002"]


def test_incidents_whose_alarms_are_gone_are_closed_and_alarms_without_one_get_one_silently() -> None:
    scene = Scene()
    scene.raised("light-1.out", 0)
    scene.raised("light-2.out", 100)
    del scene.alarms["light-1.out"]  # its rule is no longer in the site file
    scene.bodies.pop("INC-000002")  # it is of before there were incidents
    told = scene.restarted()
    assert sorted(events(told)) == ["closed", "opened"]
    scene.tick(200)
    assert len(scene.calls) == 2
    assert [list(each.alarms) for each in scene.open] == [["light-2.out"]]


def test_closed_incidents_are_kept_up_to_a_bound_and_then_forgotten() -> None:
    scene = Scene()
    for n in range(205):
        scene.raised(f"light-{n}.out", n * 1000)
        scene.acked(f"light-{n}.out", n * 1000 + 1)
        scene.cleared(f"light-{n}.out", n * 1000 + 2)
    assert len(scene.engine.closed()) == 200
    assert [name for name, body in scene.bodies.items() if body is None] == [f"INC-{n:06d}" for n in range(1, 6)]
    scene.restarted()
    assert scene.engine.closed()[0].id == "INC-000205"
    scene.raised("light-9.out", 300_000)
    assert scene.open[0].id == "INC-000206"
