"""What could hold a connection up for ever, or leave something behind that nobody needs any more."""

from __future__ import annotations

import asyncio

import pytest

from drivers.driver import BriskLink
from drivers.modbus.deadlines import deadlines
from tests.drivers.raw_device import MEDIA, PRESSURE, tcp

ALL = MEDIA | {"several": lambda **more: tcp(max_in_flight=4, **more)}


def fail(*_: object) -> bytes:
    raise RuntimeError("a fault of ours")


@pytest.mark.parametrize("medium", ALL)
@pytest.mark.parametrize("what", ["packet", "ask"])
async def test_a_request_that_cannot_be_sent_leaves_the_way_free(
    medium: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ALL[medium]() as stand:
        request = stand.request(PRESSURE)
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(type(stand.link._gate), what, fail)
                with pytest.raises(RuntimeError, match="a fault of ours"):
                    await asyncio.wait_for(stand.link.read(request), 1)
        assert deadlines(asyncio.get_running_loop())._timer is None, "and nothing is waited for"
        stand.device.registers[10] = 7
        assert (await asyncio.wait_for(stand.link.read(request), 1)).values == (7,)


async def test_a_request_that_cannot_be_sent_at_once_leaves_the_way_free_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tcp() as stand:
        link, request = stand.link, stand.request(PRESSURE)
        assert isinstance(link, BriskLink)
        told: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        with monkeypatch.context() as patch:
            patch.setattr(type(link._wire), "send", fail)
            with pytest.raises(RuntimeError, match="a fault of ours"):
                link.ask(request, None, told.set_result)
        assert link.ask(request, None, told.set_result)
        await asyncio.wait_for(told, 1)


@pytest.mark.parametrize("medium", ALL)
async def test_a_connection_that_is_closed_is_looked_after_by_nobody(medium: str) -> None:
    async with ALL[medium]() as stand:
        await stand.link.read(stand.request(PRESSURE))
        stand.device.mischief += ["silent"]
        left = asyncio.create_task(stand.link.read(stand.request(PRESSURE)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
    kept = deadlines(asyncio.get_running_loop())
    assert not kept.waiting
    assert kept._timer is None
