"""Bytes from panels, alarm hosts and brokers, mutated: the framers of DC-09 and Contact ID, and MQTT payloads.

What comes in: a seed and a number of messages. What goes out: counts, or an AssertionError. What is asserted: nothing
but the errors that are named is raised; what is taken was sent so; what is kept of a stream is bounded; a framer
finds its way back to the next whole frame.
"""

from __future__ import annotations

import base64
import itertools
import math
import random
from collections import Counter
from contextlib import suppress
from typing import Any

import orjson

from drivers import contact_id
from drivers.contact_id import BadContactId, Event
from drivers.dc09.frame import MAX_BODY, BadData, BadFrame, Frame, Framer, build_frame, event_of, parse_frame
from drivers.payload import BadPayload, Decoder, Slot
from drivers.payload_keys import MessageKeys, PayloadPoint
from drivers.serial_lines import MAX_LINE, Lines


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One burst of up to 16 bits, bytes left out, put in, doubled or cut off."""
    way = rng.randrange(5)
    at = rng.randrange(len(data))
    if way == 0:
        pattern = rng.randint(1, 0xFFFF) << rng.randrange(max(1, 8 * len(data) - 15))
        return (int.from_bytes(data, "little") ^ pattern).to_bytes(len(data) + 2, "little")[: len(data)]
    if way == 1:
        return data[:at] + data[at + rng.randint(1, 4) :]
    if way == 2:
        return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
    if way == 3:
        return data[:at] + data[: rng.randint(1, len(data))]
    return data[:at]


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """The stream as a socket may hand it on."""
    places = sorted({0, len(data), *(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 4)))})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def _panel_frame(rng: random.Random, number: int) -> Frame:
    account = f"{rng.randrange(0x10000):04X}"
    if rng.random() < 0.2:
        return Frame("NULL", number % 10000, account=account, line="0")
    event = Event(account, rng.choice((1, 3, 6)), rng.randrange(1000), rng.randrange(100), rng.randrange(1000))
    data = f"#{account}|{event.qualifier}{event.code:03} {event.group:02} {event.zone:03}".encode()
    extra = b"[" + bytes(rng.choice(b"ABC\xc3\xa9 \x01") for _ in range(rng.randrange(9))) + b"]"
    return Frame("ADM-CID", number % 10000, account=account, line="0", data=data, extra=extra if number % 3 else b"")


def fuzz_dc09(messages: int, seed: int) -> Counter[str]:
    """So many frames of panels, one in two damaged, as one stream."""
    rng = random.Random(seed)
    framer, counts = Framer(), Counter[str]()
    for number in range(messages):
        frame = _panel_frame(rng, number)
        raw = build_frame(frame)
        hurt = rng.random() < 0.5
        sent = damaged(raw, rng) if hurt else raw
        found: list[Frame] = []
        for piece in pieces(sent, rng):
            found += framer.feed(piece)
            assert len(framer._rest) <= MAX_BODY + 4096
        counts["damaged" if hurt else "whole"] += 1
        for each in found:
            counts["taken"] += 1
            assert each == frame or hurt, f"{each} was never sent; {frame} was"
            with suppress(BadData):
                event_of(each)
        assert found or hurt or framer.pending, f"a whole frame was lost: {raw!r}"
        if framer.pending and rng.random() < 0.5:
            framer.give_up()
        with suppress(BadFrame):
            parse_frame(sent)
    return counts


def fuzz_contact_id(messages: int, seed: int) -> Counter[str]:
    """So many lines of a printer port, one in two damaged."""
    rng = random.Random(seed)
    lines, counts = Lines(), Counter[str]()
    for _ in range(messages):
        account = "".join(rng.choice("0123456789BCDEF") for _ in range(4))
        event = Event(account, rng.choice((1, 3, 6)), rng.randrange(1000), rng.randrange(100), rng.randrange(1000))
        raw = f"2026-03-02 18:31:05 布防 {contact_id.format(event)}\r\n".encode("gbk")
        hurt = rng.random() < 0.5
        sent = damaged(raw, rng) + (b"\n" if rng.random() < 0.9 else rng.randbytes(900)) if hurt else raw
        found = [line for piece in pieces(sent, rng) for line in lines.feed(piece)]
        assert len(lines._rest) <= MAX_LINE
        counts["damaged" if hurt else "whole"] += 1
        for line in found:
            try:
                contact_id.parse(line.decode("gbk", "replace"))
                counts["taken"] += 1
            except BadContactId:
                counts["refused"] += 1
    return counts


_POINTS: tuple[dict[str, Any], ...] = (
    {"path": "battery", "scale": 0.1, "missing": [255]},
    {"path": "rx.0.rssi", "clamp": [-150, 0]},
    {"path": "state", "map": {"ON": True, "OFF": False}},
    {"path": "name"},
    {"tlv": "0367", "type": "int16", "scale": 0.1},
    {"tlv": "0482", "type": "uint16", "missing": [65535]},
    {"bytes": 3, "type": "float32", "endian": "big"},
)
_KINDS: tuple[Any, ...] = ("float", "int", "bool", "text", "float", "int", "float")
_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 1 << 63, "", "NaN", "inf", "-Infinity", "1e400", "\u4e2d" * 50, [], {}, [[[[]]]],
    "9" * 39, {"0": {}}, 1.5, "ON", "0x10", "2026-99-99T00:00:00Z", "0001-01-01T00:00:00+14:00", 1e19,
)  # fmt: skip


def fuzz_payloads(messages: int, seed: int) -> Counter[str]:
    """So many MQTT messages: odd values in right places, damaged JSON, damaged binary payloads."""
    rng = random.Random(seed)
    counts = Counter[str]()
    slots = [Slot(at, f"p{at}", _KINDS[at], PayloadPoint.model_validate(keys)) for at, keys in enumerate(_POINTS)]
    message = MessageKeys.model_validate(
        {"topic": "t/{device}", "format": "json", "payload": "data", "time": "time", "id": "id"}
    )
    decoders = [Decoder(message, some) for some in (slots, slots[:4], slots[4:6], slots[6:])]
    for _ in range(messages):
        binary = b"\x03\x67" + rng.randbytes(2) + b"\x04\x82" + rng.randbytes(2)
        tree: dict[str, Any] = {
            "battery": 90, "rx": [{"rssi": -40}], "state": "ON", "name": "x", "id": "a",
            "time": "2026-03-02T00:00:00Z",
            "data": base64.b64encode(damaged(binary, rng) if rng.random() < 0.5 else binary).decode(),
        }  # fmt: skip
        for _ in range(rng.randrange(3)):
            tree[rng.choice(list(tree))] = rng.choice(_ODD)
        body = orjson.dumps(tree, option=orjson.OPT_NON_STR_KEYS)
        body = damaged(body, rng) if rng.random() < 0.3 else body
        for decoder in decoders:
            counts["messages"] += 1
            try:
                decoded = decoder.decode(body)
            except BadPayload:
                counts["refused"] += 1
                continue
            for at, value, _ in decoded.readings:
                _fits(value, _KINDS[at])
    return counts


def _fits(value: object, kind: str) -> None:
    """Whether a value is of its point's kind, and a number where it is one."""
    if value is None:
        return
    types = {"float": float, "int": int, "bool": bool, "text": str}
    assert type(value) is types[kind], f"{value!r} is no {kind}"
    assert not isinstance(value, float) or math.isfinite(value), f"{value!r} is no number"
