"""An alarm host on a serial line, played through a pty."""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.contact_id import Event, Qualifier, format  # noqa: A004  # by the name of its module
from drivers.driver import ConnectionDown, Link, ListeningLink, Refused
from drivers.panels import LinePanelKeys, PanelOptions, PanelPoint
from drivers.point import Device, Quality
from drivers.serial_lines import MAX_LINE, SERIAL_LINES, Lines, SerialLinesSettings
from edge.clock import ManualClock
from tests.drivers.devices import Heard, device, listening
from tests.support import eventually

NONE = PanelOptions()
INTRUSION = PanelPoint(codes=[130, 131])
ONLINE = PanelPoint(heartbeat=True)


def zone(number: int, account: str = "1234", stale_after_s: float = 0) -> Device:
    points = {"intrusion": INTRUSION, "tamper": PanelPoint(codes=[137]), "online": ONLINE}
    keys = LinePanelKeys(account=account, zone=number)
    return device(f"zone-{number}", keys, NONE, {n: ("bool", k) for n, k in points.items()}, stale_after_s)


def panel() -> Device:
    points = {"armed": PanelPoint(codes=[401], on_new=False), "mains_lost": PanelPoint(codes=[301])}
    return device("host", LinePanelKeys(account="1234"), NONE, {n: ("bool", k) for n, k in points.items()})


class Host:
    """The other end of the line."""

    def __init__(self, fd: int) -> None:
        self.fd: int | None = fd

    def send(self, data: bytes) -> None:
        assert self.fd is not None
        os.write(self.fd, data)

    def unplug(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
        self.fd = None

    def print(self, text: str, encoding: str = "gbk") -> None:
        self.send(text.encode(encoding))

    def tell(self, code: int, zone: int, qualifier: Qualifier = 1, account: str = "1234") -> None:
        digits = format(Event(account, qualifier, code, 1, zone))
        self.print(f"2026-03-02 18:31:05 周界报警 {digits}\r\n")


@contextmanager
def line() -> Iterator[tuple[Host, str]]:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    host = Host(ours)
    try:
        yield host, os.ttyname(theirs)
    finally:
        host.unplug()
        os.close(theirs)


@asynccontextmanager
async def hearing(
    port: str, devices: list[Device], clock: ManualClock | None = None
) -> AsyncIterator[tuple[Heard, Link]]:
    settings = SerialLinesSettings(type="serial-lines", port=port)
    async with SERIAL_LINES.open("fence", settings, devices, clock or ManualClock()) as link:
        assert isinstance(link, ListeningLink)
        async with listening(link) as heard:
            yield heard, link


async def test_an_alarm_and_its_restore_reach_the_point_of_their_zone_only() -> None:
    with line() as (host, port):
        async with hearing(port, [zone(15), zone(16)]) as (heard, link):
            host.tell(131, 15)
            host.tell(131, 15, qualifier=3)
            await eventually(lambda: link.tally.messages == 2 and heard.of("zone-15.intrusion") == [True, False])
            assert heard.readings("zone-15")["online"] == (True, Quality.GOOD)
            assert heard.readings("zone-16")["online"] == (True, Quality.GOOD)
            assert heard.readings("zone-16")["intrusion"] == (False, Quality.UNCERTAIN_STALE)  # never mentioned
            assert link.tally.bad_frames == link.tally.unknown == 0


async def test_what_a_zone_has_no_point_for_goes_to_the_panel_and_a_user_is_no_zone() -> None:
    with line() as (host, port):
        async with hearing(port, [zone(5), panel()]) as (heard, link):
            host.tell(301, 0)
            host.tell(401, 5, qualifier=3)
            await eventually(lambda: heard.of("host.armed"))
            assert heard.readings("host") == {
                "mains_lost": (True, Quality.GOOD),
                "armed": (True, Quality.GOOD),
            }
            assert link.tally.unknown == 0


async def test_a_damaged_line_is_counted_said_once_and_leaves_its_account_in_doubt_until_the_next_good_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with line() as (host, port):
        async with hearing(port, [zone(15)]) as (heard, link):
            host.tell(131, 15)
            host.print("2026-03-02 18:31:06 1234183131010157\n")
            host.print("2026-03-02 18:31:06 12341831310101\n")
            await eventually(lambda: link.tally.bad_frames == 2)
            await eventually(lambda: heard.readings("zone-15")["intrusion"] == (True, Quality.UNCERTAIN_STALE))
            assert len([r for r in caplog.records if "damaged line" in r.getMessage()]) == 1
            count = len(heard.batches)
            host.tell(137, 15)
            await eventually(lambda: len(heard.batches) > count)
            assert heard.readings("zone-15")["intrusion"] == (True, Quality.GOOD)
            assert link.tally.messages == 2


async def test_unknown_accounts_and_codes_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with line() as (host, port):
        async with hearing(port, [zone(15)]) as (heard, link):
            for _ in range(3):
                host.tell(131, 15, account="5678")
                host.tell(627, 0)
            await eventually(lambda: link.tally.unknown == 6)
            assert len([r for r in caplog.records if "5678" in r.getMessage()]) == 1
            assert len([r for r in caplog.records if "event 627" in r.getMessage()]) == 1
            assert heard.readings("zone-15")["online"] == (True, Quality.GOOD)  # a test is a sign of life


async def test_text_for_people_and_bytes_of_another_encoding_do_no_harm() -> None:
    with line() as (host, port):
        async with hearing(port, [zone(15)]) as (heard, link):
            host.print("系统自检 正常\r\n")
            host.send(b"\xff\xff 1234181131010158\n")
            await eventually(lambda: heard.of("zone-15.intrusion") == [True])
            assert link.tally.detail == {"text_lines": 1, "undecodable": 1}
            assert link.tally.bad_frames == 0


async def test_a_line_without_end_is_dropped_and_the_next_one_is_read() -> None:
    with line() as (host, port):
        async with hearing(port, [zone(15)]) as (heard, link):
            for _ in range(10):
                host.print("x" * 300)
                await asyncio.sleep(0)
            host.print("\n")
            host.tell(131, 15)
            await eventually(lambda: heard.of("zone-15.intrusion") == [True])
            assert link.tally.bad_frames == 1


async def test_a_silent_host_makes_its_zones_stale_once_and_is_confirmed_when_it_speaks_again() -> None:
    clock = ManualClock()
    with line() as (host, port):
        async with hearing(port, [zone(15, stale_after_s=60)], clock) as (heard, link):
            host.tell(131, 15)
            await eventually(lambda: heard.of("zone-15.intrusion") == [True])
            await eventually(clock.sleeping)
            clock.advance(61)
            await eventually(lambda: heard.readings("zone-15")["intrusion"] == (True, Quality.BAD_STALE))
            assert heard.batches[-1].quality is Quality.BAD_STALE
            assert len(heard.batches[-1].values) == 3
            count = len(heard.batches)
            for _ in range(3):
                await eventually(clock.sleeping)
                clock.advance(61)
            host.tell(627, 0)
            await eventually(lambda: link.tally.messages == 2)
            await eventually(lambda: heard.readings("zone-15")["intrusion"] == (True, Quality.GOOD))
            assert len(heard.batches) == count + 1


async def test_a_line_that_is_unplugged_takes_the_connection_down() -> None:
    with line() as (host, port):
        async with hearing(port, [zone(15)]) as (heard, _):
            host.tell(131, 15)
            await eventually(lambda: heard.of("zone-15.intrusion"))
            host.unplug()
            error = await eventually(lambda: heard.error)
            assert isinstance(error, ConnectionDown)
            assert "still plugged in" in str(error)


async def test_a_port_that_is_not_there_says_so() -> None:
    with pytest.raises(ConnectionDown, match=r"fence: /dev/ttyNOWHERE cannot be opened: there is no such device"):
        async with hearing("/dev/ttyNOWHERE", []):
            pass


async def test_a_port_that_another_program_has_open_says_so() -> None:
    with line() as (_, port):
        async with hearing(port, []):
            with pytest.raises(ConnectionDown, match="another program has it open"):
                async with hearing(port, []):
                    pass


async def test_an_alarm_host_is_not_written_to() -> None:
    with line() as (_, port):
        one = zone(15)
        async with hearing(port, [one]) as (_, link):
            with pytest.raises(Refused, match=r"zone-15\.intrusion cannot be written"):
                await link.write(one, one.points[0], True)


@given(st.lists(st.binary(max_size=60)))
def test_lines_are_the_same_however_the_bytes_arrive(parts: list[bytes]) -> None:
    whole = b"\n".join(parts) + b"\n"
    expected = Lines().feed(whole)
    byte_by_byte = Lines()
    assert [line for byte in whole for line in byte_by_byte.feed(bytes([byte]))] == expected


@given(st.lists(st.binary(max_size=2 * MAX_LINE), max_size=20))
def test_what_is_kept_of_a_line_is_bounded(parts: list[bytes]) -> None:
    lines = Lines()
    for part in parts:
        for each in lines.feed(part):
            assert len(each) <= MAX_LINE
        assert len(lines._rest) <= MAX_LINE


def test_an_account_that_looks_like_a_number_keeps_its_zeros() -> None:
    assert LinePanelKeys.model_validate({"account": 12}).account == "0012"
    with pytest.raises(ValidationError, match="in quotes"):
        LinePanelKeys.model_validate({"account": 12e4})


def test_an_encoding_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="no text encoding"):
        SerialLinesSettings(type="serial-lines", port="/dev/ttyUSB0", encoding="gkb")
