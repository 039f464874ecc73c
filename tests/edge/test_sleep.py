"""Who sleeps for long wakes together with others, and never too late."""

from __future__ import annotations

import asyncio
from math import isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import SystemClock, end_of

WAKES_S = 0.002
"""How long after its moment somebody looks at the clock."""


@given(st.floats(0, 1e7), st.floats(0.25, 3600))
def test_a_sleep_is_never_longer_than_asked_nor_none_at_all(now_s: float, seconds: float) -> None:
    end_s = end_of(now_s, seconds)
    assert 0.04 <= end_s - now_s <= seconds + 0.001


@given(st.floats(0, 1e7), st.sampled_from([1.0, 2.0, 5.0, 30.0]))
def test_who_sleeps_whole_seconds_again_and_again_soon_wakes_at_whole_seconds(now_s: float, seconds: float) -> None:
    for _ in range(2):
        now_s = end_of(now_s, seconds) + WAKES_S
    end_s = end_of(now_s, seconds)
    assert isclose(end_s, round(end_s), abs_tol=1e-6)
    assert isclose(end_s - now_s, seconds - WAKES_S, abs_tol=1e-6), "and as often as it was meant to"


@given(st.floats(0, 1e7))
def test_who_sleeps_half_seconds_wakes_at_half_seconds(now_s: float) -> None:
    end_s = end_of(end_of(now_s, 0.5) + WAKES_S, 0.5)
    assert isclose(2 * end_s, round(2 * end_s), abs_tol=1e-5)


async def test_a_timer_that_is_early_wakes_nobody_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real, early = loop.call_later, [0.5, 0.9]

    def call_later(delay_s: float, *what: Any, **more: Any) -> asyncio.TimerHandle:
        return real(delay_s * early.pop(0) if early else delay_s, *what, **more)

    monkeypatch.setattr(loop, "call_later", call_later)
    clock, woken = SystemClock(), loop.create_future()
    due_s = clock.mono_s() + 0.1
    clock.wake(woken, due_s)
    await woken
    assert not early
    assert clock.mono_s() >= due_s - 0.0005
