"""Frames of SIA DC-09, and what they mean: bytes in, `Frame` and `Event` out, and back.

A frame is LF, CRC (4 hex), `0LLL` (length, 4 hex), `"id"`, sequence (4 digits), `Rrcvr` (optional), `Lpref`,
`#acct`, `[data]`, optional `[xdata]`, optional `_HH:MM:SS,MM-DD-YYYY` (UTC), CR. The CRC is CRC-16/ARC (reflected
0xA001, start 0) over what the length counts: from the opening quote to the byte before CR. Extra data may hold
bytes that are no text, so everything here is bytes. Pure: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from drivers.contact_id import NEW, RESTORE, BadContactId, Event, Qualifier, qualifier_of

MAX_BODY = 1024
"""Bytes; the length field counts to 4095, but no panel has that much to say."""
_HEADER = 9
"""LF, CRC, length."""
_START = re.compile(rb"\n([0-9A-Fa-f]{4})(0[0-9A-Fa-f]{3})(?=\")")
_BEGUN = re.compile(rb"\n[0-9A-Fa-f]{0,8}")
_BODY = re.compile(
    rb'"(?P<star>\*?)(?P<id>[A-Z0-9-]{1,32})"(?P<seq>[0-9]{4})(?:R(?P<receiver>[0-9A-Fa-f]{1,6}))?'
    rb"L(?P<line>[0-9A-Fa-f]{1,6})(?:#(?P<account>[0-9A-Fa-f]{3,16}))?\[(?P<rest>.*)\Z",
    re.DOTALL,
)
_STAMP = re.compile(rb"_(\d\d):(\d\d):(\d\d),(\d\d)-(\d\d)-(\d{4})\Z")


class BadFrame(ValueError):
    """The bytes are no frame: CRC, length or form. No answer is sent."""


class BadData(ValueError):
    """The frame is whole, but its data is not what its id promises."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, from a panel or to it."""

    id: str
    """`ADM-CID`, `SIA-DCS`, `NULL`, `ACK`, `DUH` ..."""
    sequence: int
    """0 to 9999."""
    account: str | None = None
    line: str = "0"
    """The L prefix."""
    receiver: str | None = None
    """The R number."""
    data: bytes = b""
    """What stands in the first brackets. Of an encrypted frame: all the rest."""
    extra: bytes = b""
    """Extra data with its brackets, as it came."""
    time_ns: int | None = None
    """The panel's stamp, whole seconds, as Unix time in ns."""
    encrypted: bool = False


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0xA001 if byte & 1 else 0)  # noqa: PLW2901  # the shift register
        table.append(byte)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/ARC."""
    crc = 0
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def parse_frame(raw: bytes) -> Frame:
    """One frame, with or without its LF and CR. Raises `BadFrame`."""
    raw = raw if raw[:1] == b"\n" else b"\n" + raw
    start = _START.match(raw)
    if start is None:
        raise BadFrame(f"does not begin with CRC and length: {raw[:20]!r}")
    length = int(start[2], 16)
    body, tail = raw[_HEADER : _HEADER + length], raw[_HEADER + length :]
    if len(body) < length or tail not in (b"", b"\r"):
        raise BadFrame(f"length is {length}, but {len(raw) - _HEADER} bytes follow")
    crc = crc16(body)
    if crc != int(start[1], 16):
        raise BadFrame(f"CRC is {start[1].decode()}, should be {crc:04X}")
    return _parse_body(body)


def _parse_body(body: bytes) -> Frame:
    match = _BODY.match(body)
    if match is None:
        raise BadFrame(f"the CRC is right, but the form is not: {body[:60]!r}")
    encrypted, rest = bool(match["star"]), match["rest"]
    data, extra, time_ns = (rest, b"", None) if encrypted else _parse_rest(rest)
    return Frame(
        id=match["id"].decode(),
        sequence=int(match["seq"]),
        account=_optional(match["account"]),
        line=match["line"].decode(),
        receiver=_optional(match["receiver"]),
        data=data,
        extra=extra,
        time_ns=time_ns,
        encrypted=encrypted,
    )


def _parse_rest(rest: bytes) -> tuple[bytes, bytes, int | None]:
    """Data, extra data and time from what follows the opening bracket."""
    data, closed, after = rest.partition(b"]")
    if not closed:
        raise BadFrame(f"the data has no end: {rest[:60]!r}")
    stamp = _STAMP.search(after)
    extra = after[: stamp.start()] if stamp else after
    if extra and not (extra.startswith(b"[") and extra.endswith(b"]")):
        raise BadFrame(f"neither extra data nor a time: {after[:60]!r}")
    return data, extra, _stamp_ns(stamp) if stamp else None


def _stamp_ns(stamp: re.Match[bytes]) -> int | None:
    hour, minute, second, month, day, year = map(int, stamp.groups())
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:  # a panel that does not know the date sends 00-00-0000; the event is none the worse
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000


def _optional(part: bytes | None) -> str | None:
    return part.decode() if part is not None else None


def build_frame(frame: Frame) -> bytes:
    """The frame as bytes, LF and CR included. Raises `BadFrame` where it would not be one."""
    body = b'"%b%b"%04d' % (b"*" if frame.encrypted else b"", frame.id.encode(), frame.sequence)
    body += f"R{frame.receiver}".encode() if frame.receiver is not None else b""
    body += f"L{frame.line}".encode()
    body += f"#{frame.account}".encode() if frame.account is not None else b""
    body += b"[" + frame.data + (b"" if frame.encrypted else b"]" + frame.extra)
    if frame.time_ns is not None:
        moment = datetime.fromtimestamp(frame.time_ns // 1_000_000_000, UTC)
        body += moment.strftime("_%H:%M:%S,%m-%d-%Y").encode()
    if len(body) > MAX_BODY:
        raise BadFrame(f"has {len(body)} bytes; a frame has at most {MAX_BODY}")
    _parse_body(body)
    return b"\n%04X%04X%b\r" % (crc16(body), len(body), body)


def reply_to(frame: Frame, answer: str) -> bytes:
    """ACK or DUH, with the sequence, receiver, line and account of the frame that it answers."""
    return build_frame(Frame(answer, frame.sequence, account=frame.account, line=frame.line, receiver=frame.receiver))


class Framer:
    """Bytes of one TCP connection in, whole frames out; after damage it goes on at the next LF that begins one."""

    def __init__(self) -> None:
        self._rest = b""
        self.broken = 0
        """Frames that came to nothing, and runs of bytes that belong to none."""

    @property
    def pending(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The whole, right frames that `data` completes. Keeps less than one frame for the next call."""
        self._rest += data
        self._go_to_start(0)
        while start := _START.match(self._rest):
            length = int(start[2], 16)
            end = _HEADER + length + 1
            if length > MAX_BODY:
                self._go_to_start(1)
            elif len(self._rest) >= end:
                yield from self._frame(end)
            elif _START.search(self._rest, 1):  # the next frame begins before this one has ended
                self._go_to_start(1)
            else:
                return

    def _frame(self, end: int) -> Iterator[Frame]:
        raw = self._rest[:end]
        try:
            if raw[-1:] != b"\r":
                raise BadFrame("does not end where its length says")
            frame = parse_frame(raw)
        except BadFrame:
            self._go_to_start(1)  # not by the length, which may be what is wrong: the next frame may lie within it
            return
        self._rest = self._rest[end:]
        self._go_to_start(0)
        yield frame

    def give_up(self) -> None:
        """What has begun will not end any more."""
        self._go_to_start(len(self._rest))

    def _go_to_start(self, at_least: int) -> None:
        """Leave out what stands before the next beginning of a frame; it counts as broken unless it is padding."""
        start = _START.search(self._rest, at_least)
        if start is not None:
            at = start.start()
        else:
            at = max(self._rest.rfind(b"\n"), at_least)
            if not _BEGUN.fullmatch(self._rest, at):
                at = len(self._rest)
        if self._rest[:at].strip(b"\r\n\0 "):
            self.broken += 1
        self._rest = self._rest[at:]


# --- what the data of a frame means ---

_ADM_CID = re.compile(rb"#?(?P<account>[0-9A-Fa-f]{3,16})?\|(?P<q>\d)(?P<code>\d{3}) (?P<group>\d\d) (?P<zone>\d{3})")
_SIA = re.compile(
    rb"#?(?P<account>[0-9A-Fa-f]{3,16})?\|[NO]?(?:[a-z]{2}[0-9:]*/?)*(?P<code>[A-Z]{2})(?P<zone>[0-9]{0,4})"
)
_AREA = re.compile(rb"ri([0-9]{1,2})")

SIA_CODES: dict[str, tuple[Qualifier, int]] = {
    "BA": (NEW, 130), "BH": (RESTORE, 130), "BR": (RESTORE, 130),
    "FA": (NEW, 110), "FH": (RESTORE, 110), "FR": (RESTORE, 110),
    "HA": (NEW, 121), "HH": (RESTORE, 121), "HR": (RESTORE, 121),
    "PA": (NEW, 120), "PH": (RESTORE, 120), "PR": (RESTORE, 120),
    "TA": (NEW, 137), "TR": (RESTORE, 137),
    "GA": (NEW, 151), "GH": (RESTORE, 151), "GR": (RESTORE, 151),
    "WA": (NEW, 154), "WH": (RESTORE, 154), "WR": (RESTORE, 154),
    "AT": (NEW, 301), "AR": (RESTORE, 301),
    "YT": (NEW, 302), "YR": (RESTORE, 302),
    "YC": (NEW, 350), "YK": (RESTORE, 350),
    "OP": (NEW, 401), "CL": (RESTORE, 401),
    "BB": (NEW, 570), "BU": (RESTORE, 570),
    "RX": (NEW, 601), "RP": (NEW, 602),
}  # fmt: skip
"""Two-letter codes (SIA DC-03) that mean the same as a Contact ID event."""


def event_of(frame: Frame) -> Event | None:
    """The event in an `ADM-CID` or `SIA-DCS` frame; None for a two-letter code without equivalent.

    Its account is the one in the data, or the frame's. Raises `BadData`.
    """
    match = (_ADM_CID if frame.id == "ADM-CID" else _SIA).match(frame.data)
    account = (match and match["account"]) or (frame.account or "").encode()
    if match is None or not account:
        raise BadData(f"{frame.id} data {frame.data[:60]!r} is not of the form of its id")
    if frame.id != "ADM-CID":
        area = _AREA.search(frame.data)
        known = SIA_CODES.get(match["code"].decode())
        zone = int(match["zone"] or 0)
        return Event(account.decode(), *known, int(area[1]) if area else 1, zone) if known and zone < 1000 else None
    try:
        qualifier = qualifier_of(match["q"].decode())
    except BadContactId as error:
        raise BadData(str(error)) from None
    return Event(account.decode(), qualifier, int(match["code"]), int(match["group"]), int(match["zone"]))


def data_of(event: Event) -> bytes:
    """The data of an `ADM-CID` frame for an event."""
    return f"#{event.account}|{event.qualifier}{event.code:03} {event.group:02} {event.zone:03}".encode()
