"""Servers that are stopped, killed and paused while rows flow: nothing is lost, counted at both ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.uplinks import influxdb, session
from tests.faults.far_ends import Broker, FarEnd, Influx, Moody, Victoria
from tests.faults.outages import outages

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        (Broker, "stop"), (Broker, "kill"), (Broker, "pause"), (Victoria, "stop"), (Victoria, "pause"),
        (Influx, "stop"), (Influx, "kill"), (Influx, "pause"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)  # fmt: skip
async def test_a_server_that_goes_and_comes_costs_no_reading(
    kind: type[FarEnd], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONFIRM_S", 0.2)  # so that a pause is longer than we wait for a confirmation
    monkeypatch.setattr(influxdb, "TIMEOUT_MS", 200)
    counts = await outages(kind(tmp_path), way, 3, tmp_path)
    assert counts.recorded > 100
    assert counts.well, counts
    if kind is Influx:
        assert counts.repeated == 0  # the same line twice is one reading


async def test_a_server_that_answers_each_error_code_costs_no_reading_and_what_it_refuses_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(influxdb, "HOLD_S", 3.0)
    counts = await outages(Moody(tmp_path), "answer", len(Moody.MOODS), tmp_path)
    assert counts.refused > 5
    assert counts.well, counts
    assert counts.repeated == 0
