"""A connection that fails is tried again; a fault of the house is not."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from drivers.driver import ConnectionDown
from edge.clock import ManualClock
from edge.supervise import LONGEST_PAUSE_S, Fatal, supervise


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Failing:
    """Runs that fail in the given order, then run for ever."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        await asyncio.Event().wait()


async def supervised(run: Failing, clock: ManualClock, seconds: int) -> list[str]:
    reasons: list[str] = []
    task = asyncio.create_task(supervise("connection[pump-room]", run, clock, reasons.append))
    await settle()
    for _ in range(seconds):
        clock.advance(1)
        await settle()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return reasons


async def test_the_pauses_double_and_are_capped() -> None:
    clock, run = ManualClock(), Failing(*[ConnectionDown("no route")] * 200)
    await supervised(run, clock, 63)
    early = run.runs
    assert 5 <= early <= 8  # 1 + 2 + 4 + 8 + 16 + 30 s
    run = Failing(*[ConnectionDown("no route")] * 200)
    await supervised(run, ManualClock(), 3600)
    assert 3600 / (LONGEST_PAUSE_S * 1.2) <= run.runs <= 3600 / (LONGEST_PAUSE_S * 0.8) + 8


async def test_the_same_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    reasons = await supervised(Failing(*[ConnectionDown("no route")] * 5), ManualClock(), 60)
    assert reasons == ["no route"] * 5
    assert len(caplog.records) == 1


async def test_an_unexpected_failure_is_survived_and_shown_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    run = Failing(ZeroDivisionError("oops"))
    assert await supervised(run, ManualClock(), 10) == ["ZeroDivisionError: oops"]
    assert run.runs == 2
    assert any(record.exc_info for record in caplog.records)


async def test_the_same_unexpected_failure_is_shown_with_its_trace_once(caplog: pytest.LogCaptureFixture) -> None:
    await supervised(Failing(*[ZeroDivisionError("oops")] * 5, KeyError("x")), ManualClock(), 120)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError, KeyError]


async def test_a_fault_of_what_every_reading_passes_through_is_not_retried() -> None:
    with pytest.raises(Fatal):
        await supervise("connection[pump-room]", Failing(Fatal("engine")), ManualClock())
