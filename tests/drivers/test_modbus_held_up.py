"""What could hold a connection up for ever, or leave something behind that nobody needs any more."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from drivers.driver import BriskLink, ConnectionDown, DeviceSilent
from drivers.modbus.deadlines import deadlines
from drivers.modbus.line import LineLink
from drivers.point import Quality
from tests.drivers.raw_device import MEDIA, PRESSURE, SPEED, Stand, equipment, point, pty, tcp
from tests.support import eventually

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


SERIAL = {name: MEDIA[name] for name in ("rtu over tcp", "pty")}


@pytest.mark.parametrize("medium", SERIAL)
async def test_the_click_of_a_transmitter_that_lets_go_of_the_line_is_no_answer_of_a_dead_device(medium: str) -> None:
    async with SERIAL[medium]() as stand:
        request = stand.request(PRESSURE)
        stand.device.mischief += ["click"] * 2
        for _ in range(2):
            with pytest.raises(DeviceSilent):
                await stand.link.read(request)
        assert (await stand.link.read(request)).quality is Quality.GOOD


async def test_an_adapter_that_gives_each_request_back_does_not_make_a_dead_device_dearer() -> None:
    async with pty(timeout=1.0, baudrate=1200) as stand:
        request = stand.request(point("name", 10, type="string", length=30, kind="text"))
        stand.device.mischief += ["echo first", "echo"]
        await stand.link.read(request)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with pytest.raises(DeviceSilent):
            await stand.link.read(request, 0.1)
        assert loop.time() - began_s < 0.5 < request.wire_s, "its answer has never begun"
        assert stand.link._wire.begun_s is None


@pytest.mark.parametrize("medium", SERIAL)
async def test_the_line_is_left_quiet_after_an_answer_that_was_owed_too(medium: str) -> None:
    async with SERIAL[medium](pause=0.1) as stand:
        request = stand.request(PRESSURE)
        stand.device.mischief.append("late")
        with pytest.raises(DeviceSilent):
            await stand.link.read(request)
        await asyncio.sleep(0.12)
        reading = asyncio.create_task(stand.link.read(request))
        await asyncio.sleep(0.02)
        loop = asyncio.get_running_loop()
        said_s = loop.time()
        stand.send(stand.device.release())
        await reading
        assert loop.time() - said_s >= 0.1


NETWORKS = {name: each for name, each in ALL.items() if name != "pty"}


async def dropped(stand: Stand, after_s: float) -> None:
    """The peer hangs up, so long after anything was asked."""
    wire = stand.link._wire
    wire.quiet_since_s = wire.sent_s = wire.now_s() - after_s
    stand.hang_up()
    await eventually(lambda: wire.transport is None)


@pytest.mark.parametrize("medium", NETWORKS)
async def test_a_peer_that_has_hung_up_while_nothing_was_asked_is_connected_to_anew(medium: str) -> None:
    """Many close a connection on which nothing has come for a minute; a meter may be read once in two."""
    async with NETWORKS[medium]() as stand:
        request = stand.request(PRESSURE)
        stand.device.registers[10] = 7
        await stand.link.read(request)
        await dropped(stand, 60)
        assert (await stand.link.read(request)).values == (7,)
        await dropped(stand, 60)
        assert await stand.link.write(equipment(), SPEED, 9) == 9
        assert [pdu[1] for pdu in stand.device.asked].count(6) == 1


async def test_a_brisk_request_to_a_peer_that_has_hung_up_is_to_be_waited_for() -> None:
    async with tcp() as stand:
        link, request = stand.link, stand.request(PRESSURE)
        assert isinstance(link, BriskLink)
        await dropped(stand, 60)
        told: list[object] = []
        assert not link.ask(request, None, told.append)
        await link.read(request)
        assert not told


@pytest.mark.parametrize("medium", NETWORKS)
async def test_a_peer_that_has_gone_while_nothing_was_asked_is_a_connection_down(medium: str) -> None:
    async with NETWORKS[medium]() as stand:
        stand.server.close()
        await dropped(stand, 60)
        with pytest.raises(ConnectionDown, match="refuses the connection"):
            await stand.link.read(stand.request(PRESSURE))


@pytest.mark.parametrize("medium", NETWORKS)
async def test_a_peer_that_hangs_up_soon_after_it_was_asked_is_a_connection_down(medium: str) -> None:
    """It may serve one client only, and now another one: two that take it from each other must be told of."""
    async with NETWORKS[medium]() as stand:
        await stand.link.read(stand.request(PRESSURE))
        await dropped(stand, 1)
        with pytest.raises(ConnectionDown, match="how many clients it serves"):
            await stand.link.read(stand.request(PRESSURE))


@pytest.mark.parametrize("medium", SERIAL)
async def test_of_an_answer_whose_beginning_is_not_known_nothing_is_learned(
    medium: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another unit's late frame came while a second answer was listened for."""
    async with SERIAL[medium]() as stand:
        link, request = cast(LineLink, stand.link), stand.request(PRESSURE)
        await link.read(request)
        learned_s, asked = link._kept[request].begin_s, link._asked

        async def disturbed(*what: Any) -> bytes:
            answer = await asked(*what)
            link._wire.begun_s = None
            return answer

        monkeypatch.setattr(LineLink, "_asked", lambda self, *what: disturbed(*what))
        await link.read(request)
        assert link._kept[request].begin_s == learned_s
