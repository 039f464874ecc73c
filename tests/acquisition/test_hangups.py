"""A gateway that hangs up when it is asked for a dead device does not take the neighbours' readings with it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from drivers.driver import ConnectionDown, DriverError, Request
from edge.acquisition.scheduler import Poller
from edge.clock import ManualClock
from tests.acquisition.line import device, requests, standing

pytestmark = pytest.mark.usefixtures("either_way")

PAUSE_S = 1.0
"""Until the connection is made anew."""


class Gateway:
    """Three devices behind one connection, which is made anew each time that it ends."""

    def __init__(self, *dead: str) -> None:
        self.dead = set(dead)
        self.clock = ManualClock()
        self.began_s = self.clock.mono_s()
        self.poller: Poller | None = None
        self.wanted = [each for name in ("d0", "d1", "d2") for each in requests(device(name, f"p{name[1]}"))]
        self.reads: dict[str, list[float]] = {}
        """By device, the seconds since the start at which it answered."""
        self.ended: list[float] = []
        """The seconds at which the connection ended."""

    @property
    def at(self) -> float:
        return self.clock.mono_s() - self.began_s

    def answer(self, request: Request) -> DriverError | None:
        if request.device.id in self.dead:
            return ConnectionDown("the gateway has hung up")
        self.reads.setdefault(request.device.id, []).append(self.at)
        return None

    async def run(self, until_s: float) -> None:
        """On a connection of its own."""
        while self.at < until_s:
            async with standing(self.wanted, before=self.poller, clock=self.clock) as stand:
                stand.line.fault = self.answer
                self.poller = stand.poller
                while not stand.task.done() and self.at < until_s:
                    await stand.run(1.0)
                if stand.task.done():
                    self.ended.append(self.at)
                    with suppress(ConnectionDown):
                        stand.task.result()
            self.clock.advance(PAUSE_S)

    def seconds(self, name: str, first_s: float, last_s: float) -> int:
        """In how many of these seconds it answered."""
        return len({int(at) for at in self.reads.get(name, ()) if first_s <= at < last_s})


@pytest.mark.parametrize("dead", ["d0", "d1", "d2"])
async def test_the_neighbours_of_a_device_that_makes_its_gateway_hang_up_are_read(dead: str) -> None:
    here = Gateway(dead)
    await here.run(900)
    for name in {"d0", "d1", "d2"} - {dead}:
        assert here.seconds(name, 20, 900) > 0.97 * 880
    assert len(here.ended) <= 8
    assert here.poller is not None
    assert "left alone for" in here.poller.figures.devices[dead].reason


async def test_the_device_is_read_again_when_it_is_back_and_is_suspected_no_more() -> None:
    here = Gateway("d1")
    await here.run(30)
    here.dead.clear()
    await here.run(200)
    assert here.seconds("d1", 30 + 80, 200) > 80
    assert here.poller is not None
    assert here.poller.figures.devices["d1"].reason == ""
    ends = len(here.ended)
    here.dead = {"d1"}
    await here.run(204)
    here.dead.clear()
    await here.run(230)
    assert len(here.ended) > ends
    assert here.seconds("d1", 206, 230) > 20, (
        "a device that was asked when the connection ended once is asked at once"
    )


async def test_a_gateway_that_hangs_up_whoever_is_asked_accuses_nobody() -> None:
    here = Gateway("d0", "d1", "d2")
    await here.run(60)
    here.dead.clear()
    await here.run(70)
    for name in ("d0", "d1", "d2"):
        assert here.seconds(name, 64, 70) >= 5
