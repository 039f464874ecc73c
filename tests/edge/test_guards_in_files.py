"""Guards and interlocks as they are written in profiles and site files, and what the engineer is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.document import Faulty
from drivers.profile import load_profile
from tests.edge.plant import PROFILE, SITE, site_of


@pytest.mark.parametrize(
    ("row", "column", "told"),
    [
        ("{strat: []}", 19, "strat: unknown key; did you mean start?"),
        ("{level: [{point: ready, is: true}]}", 19,
         "level: is not writable by its profile; an interlock holds back commands only"),
        ("{start: [{point: tank-1.levle, above: 20}]}", 28,
         "start.0.point: no point 'tank-1.levle'; did you mean tank-1.level?"),
        ("{start: [{point: tank-7.level, above: 20}]}", 28,
         "start.0.point: no point 'tank-7.level'; did you mean tank-1.level?"),
        ("{start: [{point: level, above: 100}]}", 42,
         "start.0.above: above 100 is never true in the point's range 0..100"),
        ("{start: [{point: level, above: 20, to: 7}]}", 53,
         "start.0.to: 7 is none of its values; it is of kind bool"),
        ("{start: [{point: ready, above: 20}]}", 42,
         "start.0.above: above compares numbers, but the point is of kind bool; use is, is_not or in"),
        ("{start: [{point: level}]}", 27,
         "start.0: an interlock has one of above, below, is, is_not, in; found none"),
        ("{start: [{point: level, abvoe: 20}]}", 42, "start.0.abvoe: unknown key; did you mean above?"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_interlock_is_shown_where_it_stands(tmp_path: Path, row: str, column: int, told: str) -> None:
    site = SITE.replace("{start: [{to: true, point: tank-1.level, above: 20}]}", row)
    with pytest.raises(Faulty) as caught:
        site_of(tmp_path, site)
    assert str(caught.value) == f"{tmp_path / 'site.yaml'}:10:{column - 1}: equipment.pump-2.interlocks.{told}"


def test_an_interlock_of_the_site_may_name_a_point_of_its_own_equipment_alone(tmp_path: Path) -> None:
    site = site_of(tmp_path, SITE.replace("point: tank-1.level", "point: level"))
    (lock,) = site.guards["pump-2.start"].interlocks
    assert lock.point.id == "pump-2.level"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("guard: {min_interval: 2s}", "guard: {max_step: 2}", "points.start.guard.max_step: is for numbers"),
        ("guard: {min_interval: 2s}", "guard: {min_intervall: 2s}", "unknown key; did you mean min_interval?"),
        ("writable: true, guard: {min", "guard: {min", "points.start: guard is for points that are written"),
        ("max_step: 10", "high: 60", "points.speed.guard.high: is 60, above the point's own high 50"),
        ("max_step: 10", "low: 50", "points.speed.guard.low: 50 is not below high 50"),
        ("point: ready", "point: raedy", "interlocks.0.point: no point 'raedy' in this profile; did you mean ready?"),
        ("point: ready, is: true", "point: level, above: 100", "interlocks.0.above: above 100 is never true"),
        ("point: ready, is: true", "point: level, below: 101", "interlocks.0.below: below 101 is always true"),
        ("point: ready, is: true", "point: ready, is: 7", "interlocks.0.is: 7 is none of its values"),
    ],
)
def test_a_guard_that_does_not_fit_is_shown_where_it_stands(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert PROFILE.count(old) == 1
    path = tmp_path / "pump" / "small.yaml"
    path.parent.mkdir()
    path.write_text(PROFILE.replace(old, new))
    profile, document = load_profile(path)
    assert profile is None
    (fault,) = document.faults
    assert told in str(fault)
    assert fault.line > 1


@pytest.mark.parametrize("equipment_class", ["elevator", "fire"])
def test_a_profile_that_would_write_to_a_lift_or_a_fire_panel_is_refused(
    tmp_path: Path, equipment_class: str
) -> None:
    path = tmp_path / equipment_class / "small.yaml"
    path.parent.mkdir()
    path.write_text(PROFILE.replace("pump/", f"{equipment_class}/"))
    profile, document = load_profile(path)
    assert profile is None
    assert [(fault.line, fault.path) for fault in document.faults] == [
        (7, "points.start.writable"), (16, "points.speed.writable"),
    ]  # fmt: skip
    assert f"equipment of class {equipment_class} is read only, always" in document.faults[0].message
