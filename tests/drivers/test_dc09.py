"""SIA DC-09: published frames, everything that is none, and panels dialling in over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.contact_id import Event
from drivers.dc09 import DC09, Frame, build_frame, data_of, event_of, parse_frame, receiver, reply_to
from drivers.dc09.frame import BadData, BadFrame, Framer, crc16
from drivers.dc09.receiver import Dc09Settings, Receiver
from drivers.driver import ConnectionDown, Refused
from drivers.panels import PanelKeys, PanelOptions, PanelPoint
from drivers.point import Device, Quality
from edge.clock import ManualClock
from tests.drivers.devices import Heard, device, listening
from tests.support import eventually, free_port

HEARTBEAT = b'93B30031"NULL"0000R1234L6789#000000[]_17:24:14,12-09-2015'
HEARTBEAT_ACK = b'F0550030"ACK"0000R1234L6789#000000[]_17:27:09,12-09-2015'
ALARM = b'F4E4003B"ADM-CID"0007L0#1234[#1234|1131 01 005]_08:15:30,11-23-2026'
ALARM_ACK = b'04210012"ACK"0007L0#1234[]'
NONE = PanelOptions()


def at(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000_000  # type: ignore[arg-type, misc]  # six numbers


# --- the codec ---


def test_the_published_frames_are_read() -> None:
    assert parse_frame(HEARTBEAT) == Frame(
        "NULL", 0, account="000000", line="6789", receiver="1234", time_ns=at(2015, 12, 9, 17, 24, 14)
    )
    assert parse_frame(HEARTBEAT_ACK).id == "ACK"
    alarm = parse_frame(b"\n" + ALARM + b"\r")
    assert alarm == Frame(
        "ADM-CID", 7, account="1234", data=b"#1234|1131 01 005", time_ns=at(2026, 11, 23, 8, 15, 30)
    )
    assert event_of(alarm) == Event("1234", 1, 131, 1, 5)


def test_frames_are_built_as_published() -> None:
    assert build_frame(parse_frame(HEARTBEAT)) == b"\n" + HEARTBEAT + b"\r"
    assert reply_to(parse_frame(ALARM), "ACK") == b"\n" + ALARM_ACK + b"\r"


def test_the_crc_is_arc_and_not_ccitt() -> None:
    assert crc16(b"123456789") == 0xBB3D


HEX = "0123456789ABCDEF"
FRAMES = st.builds(
    Frame,
    id=st.sampled_from(["NULL", "ADM-CID", "SIA-DCS", "ACK", "HENG-BO"]),
    sequence=st.integers(0, 9999),
    account=st.none() | st.text(HEX, min_size=3, max_size=16),
    line=st.text(HEX, min_size=1, max_size=6),
    receiver=st.none() | st.text(HEX, min_size=1, max_size=6),
    data=st.binary(max_size=40).map(lambda data: data.replace(b"]", b"|")),
    extra=st.just(b"") | st.binary(max_size=40).map(lambda data: b"[" + data + b"]"),
    time_ns=st.none() | st.integers(0, 4_000_000_000).map(lambda seconds: seconds * 1_000_000_000),
)


@given(FRAMES)
def test_every_frame_comes_back_from_its_bytes(frame: Frame) -> None:
    assert parse_frame(build_frame(frame)) == frame
    assert list(Framer().feed(build_frame(frame))) == [frame]


@given(FRAMES, st.data())
def test_a_changed_byte_is_never_taken(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(build_frame(frame))
    place = data.draw(st.integers(9, len(raw) - 2))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadFrame):
        parse_frame(bytes(raw))
    assert frame not in list(Framer().feed(bytes(raw)))


@given(st.lists(st.binary(max_size=200) | FRAMES.map(build_frame), max_size=8), st.integers(1, 64))
def test_no_bytes_raise_and_what_is_kept_is_bounded(parts: list[bytes], chunk: int) -> None:
    framer = Framer()
    whole = b"".join(parts)
    for start in range(0, len(whole), chunk):
        for frame in framer.feed(whole[start : start + chunk]):
            assert parse_frame(build_frame(frame)) == frame
        assert len(framer._rest) < 1100


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_bad_frame(raw: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_frame(raw)


@given(st.binary(max_size=60), st.sampled_from(["ADM-CID", "SIA-DCS"]))
def test_no_data_raises_anything_but_bad_data(data: bytes, identity: str) -> None:
    try:
        event = event_of(Frame(identity, 1, account="1234", data=data))
    except BadData:
        return
    assert event is None or 0 <= event.zone <= 999


@given(st.lists(FRAMES, min_size=1, max_size=5), st.integers(1, 30))
def test_frames_are_the_same_however_the_bytes_arrive(frames: list[Frame], chunk: int) -> None:
    framer = Framer()
    whole = b"".join(map(build_frame, frames))
    found = [f for start in range(0, len(whole), chunk) for f in framer.feed(whole[start : start + chunk])]
    assert found == frames
    assert framer.broken == 0


def framed(data: bytes) -> tuple[list[str], int]:
    framer = Framer()
    frames = list(framer.feed(data))
    framer.give_up()
    return [frame.id for frame in frames], framer.broken


def test_after_damage_the_next_frame_is_read() -> None:
    good, other = b"\n" + ALARM + b"\r", b"\n" + HEARTBEAT + b"\r"
    assert framed(good[:30] + other) == (["NULL"], 1)  # cut off
    assert framed(good.replace(b"1131", b"1130") + other) == (["NULL"], 1)  # CRC
    assert framed(good.replace(b"003B", b"03FF") + other) == (["NULL"], 1)  # length too long
    assert framed(good.replace(b"003B", b"0001") + other) == (["NULL"], 1)  # length too short
    assert framed(good.replace(b"003B", b"0FFF") + other) == (["NULL"], 1)  # length impossible
    assert framed(b"GET / HTTP/1.1\r\n\r\n" + other) == (["NULL"], 1)
    assert framed(b"\r\n\n\0" + good + b"\r\n" + other) == (["ADM-CID", "NULL"], 0)  # padding is no damage
    assert framed(good[:40]) == ([], 1)


def test_extra_data_may_hold_any_bytes() -> None:
    frame = Frame("ADM-CID", 1, account="1234", data=b"#1234|1130 01 001", extra=b"[V\n\r\x00]\xff\n]")
    assert parse_frame(build_frame(frame)) == frame
    assert list(Framer().feed(build_frame(frame))) == [frame]


def test_a_panel_that_does_not_know_the_date_still_tells_its_event() -> None:
    body = b'"ADM-CID"0001L0#1234[#1234|1131 01 005]_00:00:00,00-00-0000'
    assert parse_frame(b"%04X%04X" % (crc16(body), len(body)) + body).time_ns is None


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b"#1234|Nri1/BA005", Event("1234", 1, 130, 1, 5)),
        (b"#1234|Nri02/BH005", Event("1234", 3, 130, 2, 5)),
        (b"#1234|Nti08:15/ri1/FA012", Event("1234", 1, 110, 1, 12)),
        (b"|NOP7", Event("77AA", 1, 401, 1, 7)),
        (b"#1234|Nri1/CL007", Event("1234", 3, 401, 1, 7)),
        (b"#1234|Nri1/ZZ001", None),
    ],
)
def test_two_letter_codes_become_the_contact_id_event_that_means_the_same(data: bytes, event: Event | None) -> None:
    assert event_of(Frame("SIA-DCS", 1, account="77AA", data=data)) == event


def test_data_of_another_form_is_refused() -> None:
    for data in (b"", b"#1234|", b"#1234|2131 01 005", b"#1234|1131 01 5", b"hello"):
        with pytest.raises(BadData):
            event_of(Frame("ADM-CID", 1, account="1234", data=data))


# --- the receiver ---


def zone(number: int, account: str = "1234", stale_after_s: float = 0) -> Device:
    points = {"intrusion": PanelPoint(codes=[130, 131]), "online": PanelPoint(heartbeat=True)}
    keys = PanelKeys(account=account, zone=number)
    return device(f"{account}-{number}", keys, NONE, {n: ("bool", k) for n, k in points.items()}, stale_after_s)


class Panel:
    """One panel, dialled in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, account: str) -> None:
        self._reader, self._writer = reader, writer
        self.account = account
        self.sequence = 0

    def send(self, raw: bytes) -> None:
        self._writer.write(raw)

    async def reply(self) -> Frame:
        async with asyncio.timeout(5):
            return parse_frame(await self._reader.readuntil(b"\r"))

    async def ask(self, frame: Frame) -> str:
        """Send a frame; the answer's id. The answer must echo the frame."""
        self.send(build_frame(frame))
        reply = await self.reply()
        assert (reply.sequence, reply.account, reply.line, reply.receiver) == (
            frame.sequence, frame.account, frame.line, frame.receiver
        )  # fmt: skip
        assert reply.data == b""
        return reply.id

    async def tell(self, code: int, zone: int, qualifier: int = 1) -> str:
        self.sequence += 1
        data = data_of(Event(self.account, qualifier, code, 1, zone))  # type: ignore[arg-type]  # 1, 3 or 6
        return await self.ask(Frame("ADM-CID", self.sequence, account=self.account, data=data))

    async def beat(self) -> str:
        return await self.ask(Frame("NULL", 0, account=self.account, line="1", receiver="2"))


@asynccontextmanager
async def receiving(devices: list[Device], clock: ManualClock | None = None) -> AsyncIterator[tuple[Heard, Receiver]]:
    settings = Dc09Settings(type="dc09", listen="127.0.0.1:0")
    async with DC09.open("fence", settings, devices, clock or ManualClock()) as link:
        assert isinstance(link, Receiver)
        async with listening(link) as heard:
            yield heard, link


@asynccontextmanager
async def dialled_in(link: Receiver, account: str = "1234") -> AsyncIterator[Panel]:
    reader, writer = await asyncio.open_connection(*link.address)
    try:
        yield Panel(reader, writer, account)
    finally:
        writer.close()


async def test_an_alarm_is_acknowledged_and_told_with_the_panels_own_time() -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel:
        panel.send(b"\n" + ALARM + b"\r")
        assert await panel.reply() == parse_frame(ALARM_ACK)
        await eventually(lambda: heard.of("1234-5.intrusion") == [True])
        assert heard.batches[-1].source_time_ns == at(2026, 11, 23, 8, 15, 30)
        assert await panel.tell(131, 5, qualifier=3) == "ACK"
        await eventually(lambda: heard.of("1234-5.intrusion") == [True, False])
        assert link.tally.messages == 2


async def test_several_panels_speak_at_once_and_do_not_mix() -> None:
    accounts = [f"10{n:02}" for n in range(1, 9)]
    async with receiving([zone(1, account) for account in accounts]) as (heard, link):

        async def work(account: str, rounds: int) -> None:
            async with dialled_in(link, account) as panel:
                for number in range(rounds):
                    assert await panel.beat() == "ACK"
                    assert await panel.tell(130, 1, qualifier=3 if number % 2 else 1) == "ACK"

        await asyncio.gather(*(work(account, n + 2) for n, account in enumerate(accounts)))
        for n, account in enumerate(accounts):
            events = list(heard.of(f"{account}-1.intrusion"))[1:]  # before the first: taken at rest
            assert events == [number % 2 == 0 for number in range(n + 2)]
        assert link.tally.bad_frames == link.tally.unknown == 0


async def test_a_frame_that_comes_again_is_acknowledged_again_and_told_once() -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel:
        for _ in range(3):
            panel.send(b"\n" + ALARM + b"\r")
            assert (await panel.reply()).id == "ACK"
        assert await panel.tell(131, 5) == "ACK"  # another sequence: another event
        await eventually(lambda: heard.of("1234-5.intrusion") == [True, True])
        assert link.tally.detail == {"repeats": 2}


async def test_a_panel_without_sequences_may_tell_alarm_restore_and_alarm() -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel:
        for qualifier in (1, 1, 3, 1):
            panel.sequence = -1
            assert await panel.tell(131, 5, qualifier) == "ACK"
        await eventually(lambda: heard.of("1234-5.intrusion") == [True, False, True])
        assert link.tally.detail == {"repeats": 1}


async def test_the_same_words_much_later_are_a_new_event() -> None:
    clock = ManualClock()
    async with receiving([zone(5)], clock) as (heard, link), dialled_in(link) as panel:
        for _ in range(2):
            panel.send(b"\n" + ALARM + b"\r")
            await panel.reply()
            clock.advance(3600)
        await eventually(lambda: heard.of("1234-5.intrusion") == [True, True])


async def test_what_is_understood_and_cannot_be_used_gets_duh(caplog: pytest.LogCaptureFixture) -> None:
    event = b"#1234|1131 01 005"
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel:
        for _ in range(2):
            assert await panel.ask(Frame("ADM-CID", 1, account="9999", data=b"#9999|1131 01 005")) == "DUH"
            assert await panel.ask(Frame("NULL", 0, account="9999")) == "DUH"
            assert await panel.ask(Frame("NULL", 0)) == "DUH"
            assert await panel.ask(Frame("HENG-BO", 2, account="1234", data=event)) == "DUH"
            assert await panel.ask(Frame("ADM-CID", 3, account="1234", data=b"#1234|what")) == "DUH"
            assert await panel.ask(Frame("ADM-CID", 4, account="1234", data=b"9F" * 24, encrypted=True)) == "DUH"
        assert link.tally.unknown == 12
        assert link.tally.bad_frames == 0
        assert heard.batches == []
        told = [record.getMessage() for record in caplog.records]
        assert len([m for m in told if "encrypted; key support not configured" in m]) == 1
        assert len([m for m in told if "account 9999 is not in the site file" in m]) == 1


async def test_a_code_without_a_point_is_acknowledged_and_counted() -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel:
        assert await panel.tell(627, 0) == "ACK"
        assert await panel.ask(Frame("SIA-DCS", 9, account="1234", data=b"#1234|Nri1/ZZ005")) == "ACK"
        await eventually(lambda: heard.readings("1234-5").get("online") == (True, Quality.GOOD))
        assert link.tally.unknown == 2


async def test_two_letter_codes_reach_the_same_points() -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel:
        assert await panel.ask(Frame("SIA-DCS", 9, account="1234", data=b"#1234|Nri1/BA005")) == "ACK"
        await eventually(lambda: heard.of("1234-5.intrusion") == [True])


async def test_leading_zeros_of_an_account_do_not_matter() -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link, "001234") as panel:
        assert await panel.tell(131, 5) == "ACK"
        await eventually(lambda: heard.of("1234-5.intrusion") == [True])


async def test_a_damaged_frame_gets_no_answer_and_leaves_doubt_until_the_panel_sends_it_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel:
        assert await panel.tell(131, 5) == "ACK"
        good = build_frame(Frame("ADM-CID", 8, account="1234", data=b"#1234|3131 01 005"))
        for _ in range(2):
            panel.send(good.replace(b"3131", b"1131"))
        await eventually(lambda: link.tally.bad_frames == 2)
        await eventually(lambda: heard.readings("1234-5")["intrusion"] == (True, Quality.UNCERTAIN_STALE))
        panel.send(good)
        assert (await panel.reply()).sequence == 8  # the first and only answer
        await eventually(lambda: heard.readings("1234-5")["intrusion"] == (False, Quality.GOOD))
        assert heard.of("1234-5.intrusion") == [True, True, False]
        assert len([r for r in caplog.records if "is damaged and not answered" in r.getMessage()]) == 1


async def test_a_frame_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "PARTIAL_S", 0.05)
    async with receiving([zone(5)]) as (_, link), dialled_in(link) as panel:
        panel.send(b"\n" + ALARM[:40])
        await eventually(lambda: link.tally.bad_frames == 1)
        assert await panel.tell(131, 5) == "ACK"


async def test_who_sends_only_rubbish_is_hung_up_on_and_disturbs_nobody() -> None:
    async with receiving([zone(5)]) as (heard, link), dialled_in(link) as panel, dialled_in(link) as other:
        other.send(b'\nF4E4003B"' * 3000)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await other.reply()
        assert link.tally.bad_frames >= receiver.MAX_BROKEN
        assert await panel.tell(131, 5) == "ACK"
        await eventually(lambda: heard.of("1234-5.intrusion") == [True])


async def test_panels_beyond_the_limit_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "MAX_PANELS", 1)
    async with receiving([zone(5)]) as (_, link), dialled_in(link) as panel:
        assert await panel.beat() == "ACK"
        async with dialled_in(link) as late:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await late.reply()
        assert link.tally.detail == {"turned_away": 1}
        assert await panel.beat() == "ACK"


async def test_a_panel_that_stops_its_heartbeats_goes_stale_and_its_neighbour_does_not() -> None:
    clock = ManualClock()
    devices = [zone(1, "1001", stale_after_s=60), zone(1, "1002", stale_after_s=60)]
    async with receiving(devices, clock) as (heard, link):
        async with dialled_in(link, "1001") as one, dialled_in(link, "1002") as two:
            await one.beat()
            for _ in range(3):
                await eventually(clock.sleeping)
                clock.advance(25)
                await two.beat()
        await eventually(lambda: heard.readings("1001-1")["online"] == (True, Quality.BAD_STALE))
        assert heard.readings("1002-1")["online"] == (True, Quality.GOOD)
        assert link.tally.detail == {"stale": 1}


async def test_a_busy_port_says_so() -> None:
    async with receiving([]) as (_, link):
        port = link.address[1]
        settings = Dc09Settings(type="dc09", listen=f"127.0.0.1:{port}")
        with pytest.raises(ConnectionDown, match=f"fence: cannot listen on 127.0.0.1:{port}: another program"):
            async with DC09.open("fence", settings, [], ManualClock()):
                pass


async def test_the_port_is_free_again_after_closing() -> None:
    settings = Dc09Settings(type="dc09", listen=f"127.0.0.1:{free_port()}")
    for _ in range(2):
        async with DC09.open("fence", settings, [zone(5)], ManualClock()) as link:
            assert isinstance(link, Receiver)
            async with dialled_in(link) as panel:
                assert await panel.beat() == "ACK"


async def test_a_panel_is_not_written_to() -> None:
    one = zone(5)
    async with receiving([one]) as (_, link):
        with pytest.raises(Refused, match="cannot be written"):
            await link.write(one, one.points[0], True)


@pytest.mark.parametrize("listen", ["12300", "host:", ":12300", "host:x", "host:70000"])
def test_an_address_that_cannot_be_meant_is_a_mistake(listen: str) -> None:
    with pytest.raises(ValidationError, match="HOST:PORT"):
        Dc09Settings(type="dc09", listen=listen)
