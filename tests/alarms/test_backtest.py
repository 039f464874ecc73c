"""Recorded readings through rules: as the daemon saw it, whatever is missing, doubled or late in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.document import Document, parse
from drivers.point import Batch, Block
from edge.alarms.backtest import Replay, Sample, Stretch, compare, lead_s, needed, related, within
from edge.alarms.engine import AlarmEngine
from edge.alarms.rule import Rule
from edge.alarms.terms import UTC
from edge.alarms.trial import Trial
from tests.alarms.scene import START_NS, compiled, pump

POINTS = pump()
TEMPERATURE = POINTS[1]
HOT = "hot: {point: temperature, above: 80, deadband: 5}"
SLOW = "hot: {point: temperature, above: 80, deadband: 5, on_delay: 10s, off_delay: 20s}"


def rules_of(text: str) -> list[Rule]:
    rules, document = compiled(text, POINTS)
    assert not document.faults
    return rules


def at(seconds: float) -> int:
    return START_NS + round(seconds * 1e9)


def sample(seconds: float, value: float | None, quality: str = "good", point: str = "temperature") -> Sample:
    return at(seconds), f"pump-1.{point}", value, quality


def replayed(rules: list[Rule], samples: list[Sample], end: float, patience: float = 1e6) -> list[Stretch]:
    replay = Replay(rules, POINTS, lambda point: patience)
    replay.take(samples)
    return replay.finish(at(end))


def spans(stretches: list[Stretch]) -> list[tuple[float, float | None]]:
    return [
        ((each.raised_ns - START_NS) / 1e9, None if each.cleared_ns is None else (each.cleared_ns - START_NS) / 1e9)
        for each in stretches
    ]


# ---- a replay ----------------------------------------------------------------------------------------


def test_delays_end_between_readings_to_the_second() -> None:
    found = replayed(rules_of(SLOW), [sample(0, 20.0), sample(100, 90.0), sample(700, 50.0)], 1300)

    assert spans(found) == [(110, 720)]
    assert found[0].value == 90.0


def test_what_stands_at_the_end_has_no_end() -> None:
    assert spans(replayed(rules_of(HOT), [sample(0, 90.0)], 100)) == [(0, None)]


def test_a_point_that_is_not_recorded_for_too_long_is_unknown_from_then_on() -> None:
    """The daemon stood still: a delay that began before cannot end in it."""
    history = [sample(0, 20.0), sample(100, 90.0), sample(5000, 90.0), sample(5004, 20.0)]
    rule = rules_of("hot: {point: temperature, above: 80, on_delay: 30m}")

    assert spans(replayed(rule, history, 6000, patience=1500)) == [(5000, 5004)]
    assert spans(replayed(rule, history, 6000)) == [(1900, 5004)]


def test_a_whole_equipment_that_is_not_read_is_silent() -> None:
    history = [sample(0, 20.0), sample(0, 0.5, point="pressure")]
    history += [sample(60, 20.0, "bad/comm"), sample(61, 0.5, "bad/comm", "pressure")]
    history += [sample(200, 20.0)]

    assert spans(replayed(rules_of("gone: {silent: true, on_delay: 30s}"), history, 300)) == [(91, 200)]


def test_counts_and_windows_of_the_day_are_replayed_too() -> None:
    history = [sample(60 * n, 100 + n, point="starts") for n in range(12)]
    found = replayed(rules_of("often: {point: starts, count: {over: 10m}, above: 8}"), history, 7200)
    assert spans(found)[0][0] == 540

    rule = rules_of('night: {point: temperature, above: 80, active_while: {time: {from: "03:00", to: "04:00"}}}')
    begin = next(n for n in range(0, 86_400, 60) if at(n) // 10**9 % 86_400 == 3 * 3600)
    found = replayed(rule, [sample(0, 90.0)], 86_400)
    assert spans(found) == [(begin, begin + 3600)]


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(60, 100)), min_size=1, max_size=60))
def test_a_replay_of_every_change_is_what_the_daemon_did(steps: list[tuple[int, float]]) -> None:
    rules = rules_of(SLOW)
    live, block = AlarmEngine(rules), Block("pump-1", (TEMPERATURE,))
    now, history, told = 0, list[Sample](), []
    for seconds, value in steps:
        for _ in range(seconds):
            now += 1
            told += live.tick(1000.0 + now, at(now))
        told += live.evaluate(Batch(block, (value,), at(now), 1000.0 + now))
        history.append(sample(now, value))
    expected = [(each.time_ns, each.event in ("raised", "re-raised")) for each in told]
    found = replayed(rules, history, now)

    events = [(each.raised_ns, True) for each in found]
    events += [(each.cleared_ns, False) for each in found if each.cleared_ns is not None]
    assert sorted(events) == sorted(expected)


# ---- gaps, doubled and late readings -----------------------------------------------------------------

HISTORY = st.lists(st.tuples(st.integers(1, 30), st.sampled_from([60.0, 78.0, 81.0, 95.0])), min_size=2, max_size=40)


def history_of(steps: list[tuple[int, float]]) -> list[Sample]:
    now, found = 0, []
    for seconds, value in steps:
        now += seconds
        found.append(sample(now, value))
    return found


@given(HISTORY, st.data())
def test_doubled_and_late_readings_change_nothing(steps: list[tuple[int, float]], data: st.DataObject) -> None:
    history = history_of(steps)
    noisy = []
    for index, each in enumerate(history):
        noisy.append(each)
        if data.draw(st.booleans()):
            noisy.append(each)
        if data.draw(st.booleans()):
            noisy.append(history[data.draw(st.integers(0, index))])
    for rule in (HOT, SLOW, "rise: {point: temperature, change: {over: 1m}, above: 15}"):
        end = (history[-1][0] - START_NS) / 1e9 + 100
        assert replayed(rules_of(rule), noisy, end) == replayed(rules_of(rule), history, end)


@given(HISTORY, st.data())
def test_a_late_or_doubled_message_neither_clears_nor_raises_in_the_daemon(
    steps: list[tuple[int, float]], data: st.DataObject
) -> None:
    """Late by our own clock, or by the device's stamp."""
    clean, noisy = AlarmEngine(rules_of(HOT)), AlarmEngine(rules_of(HOT))
    block = Block("pump-1", (TEMPERATURE,))
    now, sent, out = 0, list[Batch](), ([], [])  # type: ignore[var-annotated]  # two lists of events
    for seconds, value in steps:
        now += seconds
        batch = Batch(block, (value,), at(now), 1000.0 + now, source_time_ns=at(now))
        sent.append(batch)
        out[0].extend(each.event for each in clean.evaluate(batch))
        out[1].extend(each.event for each in noisy.evaluate(batch))
        old = sent[data.draw(st.integers(0, len(sent) - 1))]
        late = Batch(block, old.values, at(now), 1000.0 + now, source_time_ns=old.source_time_ns)
        for again in (late, old):
            out[1].extend(each.event for each in noisy.evaluate(again))

    assert out[0] == out[1]


def test_a_device_whose_clock_was_set_back_is_heard_again_after_three_messages() -> None:
    engine, block = AlarmEngine(rules_of(HOT)), Block("pump-1", (TEMPERATURE,))
    told = []
    for number, (stamp, value) in enumerate([(9000, 20.0), (0, 90.0), (1, 90.0), (2, 90.0), (3, 90.0)]):
        batch = Batch(block, (value,), at(number), 1000.0 + number, source_time_ns=at(stamp))
        told += [(number, each.event) for each in engine.evaluate(batch)]

    assert told == [(4, "raised")]


@given(HISTORY, st.data())
def test_in_a_gap_nothing_is_raised_and_nothing_clears(steps: list[tuple[int, float]], data: st.DataObject) -> None:
    history = history_of(steps)
    kept = [each for each in history if data.draw(st.booleans())]
    bad = {each[0] for each in kept if data.draw(st.booleans())}
    told = [(t, name, value, "bad/sensor" if t in bad else "good") for t, name, value, _ in kept]
    known = {t: value for t, _, value, quality in told if quality == "good"}
    for each in replayed(rules_of(HOT), told, 10_000, patience=20):
        above, below = known.get(each.raised_ns), None if each.cleared_ns is None else known.get(each.cleared_ns)
        assert isinstance(above, float)
        assert above > 80
        assert each.cleared_ns is None or (isinstance(below, float) and below <= 75)


# ---- two sets of rules -------------------------------------------------------------------------------


def test_alarms_come_go_and_move() -> None:
    def one(raised: float, cleared: float | None) -> Stretch:
        return Stretch("a", at(raised), None if cleared is None else at(cleared))

    result = compare(
        [one(0, 10), one(100, 200), one(300, 400), one(900, None)],
        [one(130, 200), one(300, 400.5), one(500, 600), one(900, None)],
    )

    assert spans(result.gone) == [(0, 10)]
    assert [spans(list(pair)) for pair in result.moved] == [[(100, 200), (130, 200)]]
    assert spans(result.same) == [(300, 400.5), (900, None)]
    assert spans(result.came) == [(500, 600)]


def trial_of(text: str) -> tuple[list[Rule], Trial]:
    rules = rules_of(text)
    return rules, Trial(rules, {point.id: point for point in POINTS}, {"pump-1": "pump-room"}, UTC)


def test_keys_are_changed_for_a_trial_down_into_a_condition() -> None:
    rules, trial = trial_of("dry: {all: [{point: running, is: true}, {point: pressure, below: 0.1}], on_delay: 10s}")
    (changed,), document = trial.with_settings(rules, ["all.1.below=0.3", "on_delay=1m"])

    assert not document.faults
    assert changed.raw["all"][1]["below"] == 0.3
    assert changed.on_delay_s == 60
    assert rules[0].raw["all"][1]["below"] == 0.1


def test_a_wrong_key_is_told_with_the_nearest_right_one() -> None:
    rules, trial = trial_of(HOT)
    _, document = trial.with_settings(rules, ["abov=70"])
    assert document.faults[0].message == "unknown key; did you mean above?"
    _, document = trial.with_settings(rules, ["all.0.below=70"])
    assert document.faults[0].message == "cannot be set to '70' in pump-1.hot"
    _, document = trial.with_settings(rules, ["above=500"])
    assert "never passes" in document.faults[0].message


def test_a_file_changes_rules_and_brings_new_ones_and_its_mistakes_are_told_where_they_stand() -> None:
    _, trial = trial_of(HOT)
    text = """
pump-1.hot: {above: 60}
pump-1.cold:
  code: X-1
  name: {zh: 冷, en: Cold}
  advice: {zh: 看, en: Look}
  priority: low
  point: temperature
  below: 5
"""
    document = parse(text, Document("trial.yaml"))
    assert [rule.id for rule in trial.with_file(document)] == ["pump-1.hot", "pump-1.cold"]
    assert not document.faults

    document = parse(text.replace("below: 5", "below: -50"), Document("trial.yaml"))
    trial.with_file(document)
    assert [(fault.line, fault.path) for fault in document.faults] == [(9, "cold.below")]

    document = parse("pump-2.hot: {above: 60}", Document("trial.yaml"))
    assert trial.with_file(document) == []
    assert document.faults[0].message.endswith("did you mean pump-1.hot?")


def test_rules_that_hang_together_are_replayed_together() -> None:
    rules = rules_of("""
bearing: {point: temperature, steps: {high: {above: 80}, high_high: {above: 90}}}
other: {point: pressure, below: 0.1}
""")
    low = [rule for rule in rules if rule.name == "bearing_high"]
    assert [rule.name for rule in related(low, rules)] == ["bearing_high_high", "bearing_high"]
    assert needed(related(low, rules), {}) == [TEMPERATURE]
    assert lead_s(rules_of("often: {point: starts, count: {over: 12h}, above: 8}")) > 12 * 3600
    assert spans(within([Stretch("a", at(1), None), Stretch("a", at(3), None)], at(2))) == [(3, None)]
