"""Random histories of an alarm against the standard, and against a plain count of seconds."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.point import Quality
from edge.alarms.alarm import AlarmRefused, Transition
from edge.alarms.machine import LATCHING, TABLE, State
from tests.alarms.scene import Scene

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["value", "bad", "tick", "ack", "reset", "shelve", "unshelve", "remove", "put_back", "link"]),
        st.integers(0, 100),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(st.booleans(), st.sampled_from([0, 5]), st.sampled_from([0, 7]), STEPS)
def test_whatever_happens_each_transition_is_one_of_the_standard(
    latching: bool, on_delay: int, off_delay: int, steps: list[tuple[str, int]]
) -> None:
    scene = Scene(f"""
a: {{any: [{{point: temperature, above: 80, deadband: 5}}, {{silent: true}}], latching: {str(latching).lower()},
     on_delay: {on_delay}, off_delay: {off_delay}}}
""")
    table = LATCHING if latching else TABLE
    state = State.NORMAL
    for number, (what, amount) in enumerate(steps):
        at = scene.now_s + amount / 10 + (number == 0)
        for transition in _do(scene, what, amount, at):
            assert (state, transition.alarm.state) in {(before, after) for (before, _), after in table.items()}
            state = transition.alarm.state
            if state in (State.UNACKNOWLEDGED, State.ACKNOWLEDGED):
                assert transition.alarm.active
        assert scene.state("a") == state.value
        assert [alarm.id for alarm in scene.engine.alarms()] == ([] if state is State.NORMAL else ["pump-1.a"])


def _do(scene: Scene, what: str, amount: int, at: float) -> list[Transition]:
    engine, alarm = scene.engine, "pump-1.a"
    scene.now_s = at
    now = (scene.wall_ns, scene.mono_s)
    acts: dict[str, Callable[[], list[Transition]]] = {
        "value": lambda: scene.read(at, temperature=float(amount + 20)),
        "bad": lambda: scene.read(at, Quality.BAD_COMM),
        "tick": lambda: scene.tick(at),
        "link": lambda: scene.link(at, up=amount % 2 == 0),
        "ack": lambda: engine.ack(alarm, "李工", *now),
        "reset": lambda: engine.reset(alarm, "李工", *now),
        "shelve": lambda: engine.shelve(alarm, "李工", "试", 1, *now),
        "unshelve": lambda: engine.unshelve(alarm, "李工", *now),
        "remove": lambda: engine.remove(alarm, "李工", "试", *now),
        "put_back": lambda: engine.put_back(alarm, "李工", *now),
    }
    try:
        return acts[what]()
    except AlarmRefused:
        return []


@given(st.lists(st.tuples(st.sampled_from([None, 60.0, 78.0, 90.0]), st.integers(1, 8)), max_size=40))
def test_delays_agree_with_a_second_by_second_count(story: list[tuple[float | None, int]]) -> None:
    """The condition seconds on end decide, whatever the ticks are; unknown seconds keep the count and end nothing."""
    scene = Scene("hot: {point: temperature, above: 80, deadband: 5, on_delay: 5s, off_delay: 5s}")
    stands, since = False, -1
    now = 0
    for value, seconds in story:
        for _ in range(seconds):
            now += 1
            scene.read(now, temperature=value)
            scene.tick(now)
            known = None if value is None else value > (75 if stands else 80)
            if known is not None and known is stands:
                since = -1
            elif known is not None:
                since = now if since < 0 else since
                if now - since >= 5:
                    stands, since = known, -1
            alarm = scene.engine.alarm("pump-1.hot")
            assert alarm is not None
            assert alarm.active is stands
