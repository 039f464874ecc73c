"""Written before told; and told all the same where the disk will not write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import pytest

from drivers.point import Text
from edge.alarms.alarm import Alarm, Priority, Transition
from edge.alarms.machine import State
from edge.clerk import TOGETHER, Clerk
from edge.clock import ManualClock
from edge.engine import Happening
from edge.store.ledger import Entry, Ledger, StoreError


class Disk:
    """A ledger that may refuse, and that notes when it was asked to write."""

    def __init__(self, story: list[str]) -> None:
        self.story = story
        self.full = False
        self.entries: list[Entry] = []
        self.state: dict[tuple[str, str], Any] = {}

    async def commit(self, entries: Sequence[Entry], state: Mapping[tuple[str, str], Any]) -> list[int]:
        await asyncio.sleep(0)
        if self.full:
            raise StoreError("disk full")
        self.story.append("written")
        self.entries += entries
        self.state |= state
        return []


def raised(name: str) -> Transition:
    alarm = Alarm(
        id=name, equipment="pump-1", rule=name, code="X", priority=Priority.HIGH, state=State.UNACKNOWLEDGED,
        name=Text("名", "name"), advice=Text("做", "do"), cause=None, consequence=None, respond_s=60, shelvable=True,
    )  # fmt: skip
    return Transition(alarm, "raised", 1)


class Desk:
    """A clerk at work, and the story of what was written and told."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.disk = Disk(self.story)
        self.clerk = Clerk(cast(Ledger, self.disk), ManualClock())
        self.clerk.listeners.append(self.told)

    def told(self, happening: Happening) -> None:
        assert isinstance(happening, Transition)
        self.story.append(f"told {happening.alarm.id}")


async def test_nobody_is_told_before_it_is_written() -> None:
    desk = Desk()
    desk.clerk.take([raised("a"), raised("b")])
    await desk.clerk.drain()
    assert desk.story == ["written", "told a", "told b"]
    assert ("alarm", "a") in desk.disk.state


async def test_whoever_asked_waits_until_it_is_written_and_told() -> None:
    desk = Desk()
    running = asyncio.create_task(desk.clerk.run())
    desk.clerk.take([raised("a")])
    await desk.clerk.settled()
    assert desk.story == ["written", "told a"]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_full_disk_keeps_nobody_from_being_told_and_is_caught_up_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    desk = Desk()
    desk.disk.full = True
    for name in ("a", "b"):
        desk.clerk.take([raised(name)])
        await desk.clerk.drain()
    assert desk.story == ["told a", "told b"]
    assert desk.clerk.unwritten == 2
    desk.disk.full = False
    await desk.clerk.note("command", "x", {})
    assert [entry.subject for entry in desk.disk.entries] == ["a", "b", "x"]
    assert desk.clerk.unwritten == 0
    assert len(caplog.records) == 2  # once lost, once back


async def test_what_comes_while_something_is_written_is_not_called_unwritten() -> None:
    desk, seen = Desk(), list[int]()
    desk.clerk.listeners.append(lambda happening: seen.append(desk.clerk.unwritten))
    desk.clerk.take([raised("a")])
    notes = [desk.clerk.note("push", "a", {"number": number}) for number in range(3)]
    await asyncio.gather(desk.clerk.drain(), *notes)
    assert seen == [0]
    assert len(desk.disk.entries) == 4


async def test_in_a_storm_what_waits_is_written_in_parts_and_in_order() -> None:
    desk = Desk()
    names = [f"a{n}" for n in range(3 * TOGETHER + 1)]
    for name in names:
        desk.clerk.take([raised(name)])
    desk.clerk.take([])
    await desk.clerk.drain()
    assert [each for each in desk.story if each != "written"] == [f"told {name}" for name in names]
    assert desk.story.count("written") == 4
    parts = "".join("w" if each == "written" else "." for each in desk.story).split("w")[1:]
    assert [len(part) for part in parts] == [TOGETHER, TOGETHER, TOGETHER, 1]


async def test_while_the_disk_refuses_the_oldest_entries_go_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.clerk.WAITING", 3)
    desk = Desk()
    desk.disk.full = True
    for name in ("a", "b", "c"):
        await desk.clerk.note("command", name, {})
    await asyncio.gather(*(desk.clerk.note("command", name, {}) for name in ("d", "e")))
    assert (desk.clerk.unwritten, desk.clerk.lost) == (3, 2)
    desk.disk.full = False
    await desk.clerk.keep({})
    assert [entry.subject for entry in desk.disk.entries] == ["c", "d", "e"]


async def test_a_state_that_could_not_be_written_never_replaces_a_newer_one_that_was() -> None:
    desk = Desk()
    refusal, written = asyncio.Event(), desk.disk.commit

    async def refused(entries: Sequence[Entry], state: Mapping[tuple[str, str], Any]) -> list[int]:
        desk.disk.commit = written  # type: ignore[method-assign]  # there is room for all that comes after
        await refusal.wait()
        raise StoreError("disk full")

    desk.disk.commit = refused  # type: ignore[method-assign]
    older = asyncio.create_task(desk.clerk.keep({("ladder", "a"): {"step": 1}}))
    newer = asyncio.create_task(desk.clerk.keep({("ladder", "a"): None}))
    await asyncio.sleep(0.01)
    refusal.set()
    await asyncio.gather(older, newer)
    await desk.clerk.note("command", "x", {})
    assert desk.disk.state == {("ladder", "a"): None}
