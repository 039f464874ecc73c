"""Judging and report by exception, on literal batches."""

from __future__ import annotations

from drivers.driver import Keys
from drivers.point import Batch, Block, Point, Quality, Text, Value
from edge.acquisition.pipeline import NEVER, Live, Pipeline

NOON = 1_772_424_000_000_000_000


def point(name: str, deadband: float = 0, low: float | None = None, high: float | None = None) -> Point:
    return Point(
        id=f"pump-1.{name}", equipment="pump-1", name=name, title=Text(name, name), kind="float", unit="", period_s=1,
        deadband=deadband, low=low, high=high, counter=False, writable=False, labels=None, address=Keys(),
    )  # fmt: skip


PRESSURE, HERTZ = point("pressure", 0.01, 0, 1.6), point("hertz")
BLOCK = Block("pump-1", (PRESSURE, HERTZ))


def batch(*values: Value, at: float = 0, wall: int = NOON, quality: Quality = Quality.GOOD) -> Batch:
    return Batch(BLOCK, values, wall + int(at * 1e9), at, quality)


def taken(pipeline: Pipeline, each: Batch) -> tuple[str, ...]:
    _, indices = pipeline.take(each)
    return pipeline.names(each.block, indices) if indices else ()


def test_the_first_reading_is_recorded_whole() -> None:
    assert taken(Pipeline(600), batch(0.42, 40.0)) == ("pressure", "hertz")


def test_a_change_within_the_deadband_is_not_recorded_but_seen() -> None:
    pipeline = Pipeline(600)
    pipeline.take(batch(0.42, 40.0))
    assert taken(pipeline, batch(0.425, 40.0, at=1)) == ()
    assert pipeline.live(PRESSURE).value == 0.425


def test_slow_drift_is_recorded_once_it_has_left_the_deadband_of_the_last_recorded_value() -> None:
    pipeline = Pipeline(600)
    recorded = [taken(pipeline, batch(0.40 + i * 0.004, 40.0, at=i)) for i in range(7)]
    assert [i for i, names in enumerate(recorded) if "pressure" in names] == [0, 3, 6]


def test_only_the_changed_point_is_recorded() -> None:
    pipeline = Pipeline(600)
    pipeline.take(batch(0.42, 40.0))
    assert taken(pipeline, batch(0.42, 41.0, at=1)) == ("hertz",)


def test_an_unchanged_block_is_recorded_each_heartbeat() -> None:
    pipeline = Pipeline(600)
    values = (0.42, 40.0)
    recorded = [at for at in range(0, 1801, 10) if pipeline.take(Batch(BLOCK, values, NOON, at))[1]]
    assert recorded == [0, 600, 1200, 1800]


def test_an_impossible_value_is_bad_and_its_neighbour_stays_good() -> None:
    judged, _ = Pipeline(600).take(batch(7.0, 40.0))
    assert judged.qualities == (Quality.BAD_RANGE, Quality.GOOD)


def test_a_repeated_impossible_value_stays_bad() -> None:
    pipeline = Pipeline(600)
    values = (7.0, 40.0)
    for at in (0, 1, 2):
        judged, _ = pipeline.take(Batch(BLOCK, values, NOON, at))
        assert judged.qualities == (Quality.BAD_RANGE, Quality.GOOD)


def test_a_device_that_says_it_does_not_know_is_not_called_out_of_range() -> None:
    judged, _ = Pipeline(600).take(batch(7.0, 40.0, quality=Quality.BAD_SENSOR))
    assert judged.qualities == (Quality.BAD_SENSOR, Quality.BAD_SENSOR)


def test_before_the_box_knows_the_time_nothing_is_good_and_afterwards_all_is_recorded_anew() -> None:
    pipeline = Pipeline(600)
    pipeline.time_unknown()
    judged, _ = pipeline.take(batch(0.42, 40.0, wall=3_000_000_000))
    assert judged.qualities == (Quality.UNCERTAIN_CLOCK, Quality.UNCERTAIN_CLOCK)
    pipeline.time_known(1.0, NOON - 3_000_000_000)
    assert pipeline.live(HERTZ) == Live(40.0, Quality.GOOD, NOON)
    judged, indices = pipeline.take(batch(0.42, 40.0, at=1))
    assert judged.quality is Quality.GOOD
    assert judged.qualities is None
    assert len(indices) == 2


def test_a_batch_that_was_on_its_way_when_the_time_became_known_gets_the_true_stamp() -> None:
    pipeline = Pipeline(600)
    pipeline.time_unknown()
    pipeline.time_known(10.0, NOON)
    judged, _ = pipeline.take(batch(0.42, 40.0, wall=77, at=9))
    assert (judged.time_ns, judged.qualities) == (NOON + 9 * 10**9 + 77, None)
    judged, _ = pipeline.take(batch(0.42, 40.0, wall=NOON, at=10))
    assert judged.time_ns == NOON + 10 * 10**9


def test_a_change_of_quality_is_recorded_without_a_change_of_value() -> None:
    pipeline = Pipeline(600)
    pipeline.take(batch(0.42, 40.0))
    assert taken(pipeline, batch(0.42, 40.0, at=1, quality=Quality.BAD_COMM)) == ("pressure", "hertz")
    assert pipeline.live(HERTZ).quality is Quality.BAD_COMM


def test_a_value_that_became_unknown_is_recorded() -> None:
    pipeline = Pipeline(600)
    pipeline.take(batch(0.42, 40.0))
    assert taken(pipeline, batch(None, 40.0, at=1)) == ("pressure",)
    assert taken(pipeline, batch(0.42, 40.0, at=2)) == ("pressure",)


def test_a_point_that_was_never_read_is_bad() -> None:
    assert Pipeline(600).live(PRESSURE) is NEVER


def test_the_newest_of_several_messages_with_the_same_point_is_live() -> None:
    pipeline = Pipeline(600)
    small = Block("pump-1", (HERTZ,))
    pipeline.take(batch(0.42, 40.0))
    pipeline.take(Batch(small, (41.0,), NOON + 1, 1))
    assert pipeline.live(HERTZ) == Live(41.0, Quality.GOOD, NOON + 1)
    assert pipeline.live(PRESSURE).value == 0.42


def test_marking_points_lost_keeps_their_values() -> None:
    pipeline = Pipeline(600)
    pipeline.take(batch(0.42, 40.0))
    (lost,) = pipeline.marked(BLOCK.points, Quality.BAD_COMM, NOON + 5, 5)
    assert (lost.values, lost.quality) == ((0.42, 40.0), Quality.BAD_COMM)
