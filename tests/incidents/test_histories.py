"""Whatever happens: every alarm that stands is in one open incident, the counts fit, a restart changes nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.alarms.alarm import Event
from edge.incidents.dossier import OVER, WANTING
from tests.incidents.scene import Scene

PRIORITY = {
    "connection:bus.line_offline": "high", "meter-1.mains_lost": "high", "lift-1.trapped": "critical",
    "lift-1.stopped": "high", "pump-1.offline": "medium", "pump-1.hot": "high", "pump-2.offline": "medium",
    "pump-2.flood": "critical", "light-1.out": "low", "light-2.out": "low",
    **{f"light-{n}.out": "low" for n in range(3, 14)},
}  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["raise", "raise", "clear", "ack", "suppress", "shelve", "tick", "restart"]),
        st.sampled_from(sorted(PRIORITY)),
        st.sampled_from([0.0, 0.5, 2.0, 20.0, 90.0, 700.0]),
    ),
    max_size=70,
)
_FROM: dict[str, tuple[Event, set[str]]] = {
    "clear": ("cleared", {"unacknowledged", "acknowledged"}),
    "ack": ("acknowledged", {"unacknowledged", "returned"}),
    "suppress": ("suppressed", {"unacknowledged", "acknowledged", "returned"}),
    "shelve": ("shelved", {"unacknowledged", "acknowledged", "returned"}),
}


def act(scene: Scene, what: str, alarm: str, at: float) -> None:
    """One step, where it is possible."""
    state = scene.alarms[alarm].state.value if alarm in scene.alarms else "normal"
    if what == "raise" and state in ("normal", "returned"):
        scene.raised(alarm, at, PRIORITY[alarm])
    elif what == "tick":
        scene.tick(at)
    elif what == "restart":
        scene.restarted()
    elif what in _FROM and state in _FROM[what][1]:
        scene.happens(_FROM[what][0], alarm, at)


@settings(max_examples=200)
@given(STEPS)
def test_the_incidents_always_fit_the_alarms(steps: list[tuple[str, str, float]]) -> None:
    scene, at = Scene(), 0.0
    for what, alarm, pause in steps:
        at += pause
        scene.now_s = at
        act(scene, what, alarm, at)
        check(scene)


def check(scene: Scene) -> None:
    """What must be so at any moment."""
    standing = {name for name, each in scene.alarms.items() if each.state.value not in OVER}
    found = scene.open
    members = Counter(alarm for each in found for alarm in each.alarms if alarm in standing)
    assert set(members) == standing
    for each in found:
        here = [scene.alarms[alarm] for alarm in each.alarms if scene.engine.incident_id(alarm) == each.id]
        assert each.unacknowledged == sum(alarm.state.value in WANTING for alarm in here)
        assert each.active == sum(alarm.active and alarm.state.value not in OVER for alarm in here)
        assert any(alarm.id in standing for alarm in here)
        assert each.state == ("open" if each.unacknowledged else "acknowledged")
        for alarm in here:  # a critical one is nobody's consequence
            assert alarm.priority.value != "critical" or each.root == alarm.equipment
    assert len({each.id for each in found}) == len(found)


@settings(max_examples=100)
@given(STEPS)
def test_a_restart_tells_nobody_and_loses_nothing(steps: list[tuple[str, str, float]]) -> None:
    scene, at = Scene(), 0.0
    for what, alarm, pause in steps:
        at += pause
        scene.now_s = at
        if what != "restart":
            act(scene, what, alarm, at)
    scene.tick(at + 5)  # what was gathered is told
    before = [(each.id, each.root, set(each.alarms), each.state, each.called) for each in scene.open]
    calls = len(scene.calls)
    scene.restarted()
    scene.tick(at + 6)
    assert [(each.id, each.root, set(each.alarms), each.state, each.called) for each in scene.open] == before
    assert len(scene.calls) == calls
