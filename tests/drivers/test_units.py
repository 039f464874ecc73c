"""Durations and sizes as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.units import parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("10s", 10), ("5m", 300), ("1h 30m", 5400), ("36500d", 36500 * 86400), (2, 2)],
)
def test_a_duration_is_a_number_with_its_unit(text: Any, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5", "-5s", "1e5s", True, None, [1], -1])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["36501d", "9" * 400 + "d", float("nan"), float("inf"), 10**400, "200000d"])
def test_a_duration_that_no_clock_can_count_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="a duration is at most 36500d"):
        parse_seconds(text)


def test_a_size_is_a_number_with_its_unit() -> None:
    assert [parse_bytes(text) for text in ("500MB", "1GiB", 7)] == [500_000_000, 2**30, 7]
    with pytest.raises(ValueError, match="write it like 500MB"):
        parse_bytes("much")
    with pytest.raises(ValueError, match="too much"):
        parse_bytes("9" * 400 + "GB")
