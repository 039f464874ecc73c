"""Times as people and programs write them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.console.timespan import parse_time_ns

NOON = 1_772_447_465 * 10**9  # 2026-03-02 18:31:05 in Shanghai


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T18:31:05+08:00", "2026-03-02T18:31:05 08:00", "2026-03-02T10:31:05Z", "2026-03-02 18:31:05",
        "20260302T183105", "1772447465", "1772447465.0", "1772447465000", "1772447465000000", "1772447465000000000",
        " 1772447465 ", "2026-03-02T10:31:05.000000000Z",
    ],
)  # fmt: skip
def test_one_moment_in_all_its_spellings(text: str) -> None:
    assert parse_time_ns(text, "Asia/Shanghai") == NOON


def test_nanoseconds_are_kept() -> None:
    assert parse_time_ns("2026-03-02T10:31:05.123456789Z", "UTC") == NOON + 123_456_789
    assert parse_time_ns("1772447465123456789", "UTC") == NOON + 123_456_789


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-02-30",
        "12:00",
        "-5",
        "1e9",
        "99999-01-01",
        "2026-5",
        "١٢٣",
        "0001-01-01",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_what_is_no_time_is_told_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match="2026-03-02"):
        parse_time_ns(text, "Asia/Shanghai")


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_clear_refusal(text: str) -> None:
    with contextlib.suppress(ValueError):  # any other exception fails the test
        assert isinstance(parse_time_ns(text, "UTC"), int)
