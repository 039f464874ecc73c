"""Payloads: published vectors, round trips, and everything that is not one."""

from __future__ import annotations

import base64
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.payload import (
    BadPayload,
    Decoder,
    Kind,
    Slot,
    conform,
    encode_fixed,
    encode_message,
    encode_tlv,
    parse_time,
    written,
)
from drivers.payload_keys import MessageKeys, Messages, PayloadPoint
from drivers.point import Quality, Value
from drivers.profile import load_profile

UPLINK = MessageKeys(
    topic="application/+/device/{device}/event/up",
    payload="data",
    time="time",
    id="deduplicationId",
    tlv_lengths={"8482": 3},
)
EM400 = {
    "battery": PayloadPoint(tlv="0175", type="uint8"),
    "temperature": PayloadPoint(tlv="0367", type="int16", scale=0.1),
    "distance": PayloadPoint(tlv="0482", type="uint16"),
    "fill": PayloadPoint(tlv="0482", type="uint16", scale=-100 / 1700, offset=100 * 2000 / 1700, clamp=(0, 100)),
    "tilted": PayloadPoint(tlv="0500", type="uint8"),
    "rssi": PayloadPoint(path="rxInfo.0.rssi"),
}
KINDS: dict[str, Kind] = {"battery": "int", "tilted": "bool", "distance": "int", "rssi": "int"}


def decoder(message: MessageKeys, points: dict[str, PayloadPoint]) -> Decoder:
    return Decoder(message, [Slot(i, n, KINDS.get(n, "float"), keys) for i, (n, keys) in enumerate(points.items())])


def read(message: MessageKeys, points: dict[str, PayloadPoint], body: bytes) -> dict[str, tuple[Value, Quality]]:
    names = list(points)
    return {names[p]: (v, q) for p, v, q in decoder(message, points).decode(body).readings}


def uplink(payload: str, **more: Any) -> bytes:
    return orjson.dumps({"data": base64.b64encode(bytes.fromhex(payload)).decode(), **more})


def test_the_published_vector_of_an_ultrasonic_bin_sensor_is_read() -> None:
    body = uplink("01755C 03670101 04824408 050001", rxInfo=[{"rssi": -97}])
    values = {name: value for name, (value, _) in read(UPLINK, EM400, body).items()}
    assert values == {
        "battery": 92, "temperature": 25.7, "distance": 2116, "fill": 0, "tilted": True, "rssi": -97
    }  # fmt: skip


def test_the_published_vector_of_a_level_sensor_is_read() -> None:
    points = {
        "battery": PayloadPoint(tlv="0175", type="uint8"),
        "distance": PayloadPoint(tlv="0382", type="uint16"),
    }
    values = read(UPLINK, points, uplink("017564 03821E00"))
    assert values == {"battery": (100, Quality.GOOD), "distance": (30, Quality.GOOD)}


def test_a_point_that_the_message_lacks_is_not_among_its_readings() -> None:
    assert read(UPLINK, EM400, uplink("01755C")) == {"battery": (92, Quality.GOOD)}


def test_the_lengths_of_other_channel_types_let_them_be_passed_over() -> None:
    assert read(UPLINK, EM400, uplink("84824408FF 01755C")) == {"battery": (92, Quality.GOOD)}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b'{"data": "AXVc"', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is not JSON"),
        (b"[" * 5000, "is not JSON"),
        (b"{}", "has no base64 text at data"),
        (b'{"data": 5}', "has no base64 text at data"),
        (b'{"data": "A*Vc"}', "is not base64"),
        (b'{"data": "AXV"}', "is not base64"),
        (uplink("0175"), "ends within 0175"),
        (uplink("03670A"), "ends within 0367"),
        (uplink("FF0B01"), "unknown channel-type 'FF0B' at byte 0"),
        (uplink("01755C FF"), "unknown channel-type 'FF' at byte 3"),
        (b" " * (1 << 21), "a message may have"),
    ],
)
def test_a_message_that_cannot_be_used_says_why(body: bytes, complaint: str) -> None:
    with pytest.raises(BadPayload, match=complaint):
        decoder(UPLINK, EM400).decode(body)


def test_a_payload_with_fixed_places_is_read_in_both_byte_orders() -> None:
    points = {
        "level": PayloadPoint(bytes=0, type="uint16", endian="big", scale=0.01),
        "flow": PayloadPoint(bytes=2, type="int32"),
    }
    assert read(UPLINK, points, uplink("04D2 FEFFFFFF")) == {
        "level": (12.34, Quality.GOOD),
        "flow": (-2.0, Quality.GOOD),
    }
    with pytest.raises(BadPayload, match="has 5 bytes; flow needs 6"):
        read(UPLINK, points, uplink("04D2 FEFFFF"))


def test_words_are_mapped_and_an_unknown_word_leaves_only_its_own_point_in_doubt() -> None:
    message = MessageKeys(topic="zigbee2mqtt/{device}")
    points = {
        "tilted": PayloadPoint(path="state", map={"ON": True, "OFF": False}),
        "level": PayloadPoint(path="brightness", scale=100 / 254),
    }
    assert read(message, points, b'{"state": "ON", "brightness": 254}') == {
        "tilted": (True, Quality.GOOD),
        "level": (100.0, Quality.GOOD),
    }
    decoded = decoder(message, points).decode(b'{"state": "TOGGLE", "brightness": 127}')
    assert decoded.readings == [(0, None, Quality.UNCERTAIN_STALE), (1, 50.0, Quality.GOOD)]
    assert decoded.problems == ["tilted: is 'TOGGLE', none of ON, OFF"]


def test_null_and_the_codes_for_missing_say_that_the_sensor_does_not_know() -> None:
    message = MessageKeys(topic="{device}/state", payload="data")
    points = {
        "temperature": PayloadPoint(tlv="0367", type="int16", scale=0.1, missing=[0x7FFF]),
        "humidity": PayloadPoint(path="humidity"),
        "power": PayloadPoint(path="power"),
    }
    body = uplink("0367FF7F", humidity=None, power="nan")
    assert read(message, points, body) == dict.fromkeys(points, (None, Quality.BAD_SENSOR))


def test_a_text_message_is_one_value() -> None:
    message = MessageKeys(topic="tele/{device}/LWT", format="text")
    assert read(message, {"tilted": PayloadPoint(map={"Online": True, "Offline": False})}, b"Online\n") == {
        "tilted": (True, Quality.GOOD)
    }
    assert read(message, {"level": PayloadPoint(scale=10)}, b"1.5") == {"level": (15.0, Quality.GOOD)}
    with pytest.raises(BadPayload, match="not UTF-8"):
        read(message, {"level": PayloadPoint()}, b"\xff")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("2026-03-02T10:31:05Z", 1_772_447_465_000_000_000),
        ("2026-03-02T18:31:05.25+08:00", 1_772_447_465_250_000_000),
        ("2026-03-02T10:31:05.123456789+00:00", 1_772_447_465_123_456_000),
        (1_772_447_465, 1_772_447_465_000_000_000),
        (1_772_447_465_250, 1_772_447_465_250_000_000),
        ("1772447465", 1_772_447_465_000_000_000),
        (1_772_447_465.5, 1_772_447_465_500_000_000),
        ("2026-03-02T18:31:05", None),
        ("yesterday", None),
        (True, None),
        (-5, None),
        (float("inf"), None),
        ({"a": 1}, None),
    ],
)
def test_the_time_of_a_message_is_taken_where_it_says_which_zone(raw: Any, expected: int | None) -> None:
    assert parse_time(raw) == expected


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_no_time_ever_raises(raw: Any) -> None:
    result = parse_time(raw)
    assert result is None or isinstance(result, int)


@given(
    battery=st.integers(0, 100),
    temperature=st.integers(-400, 850),
    distance=st.integers(0, 65535),
    tilted=st.booleans(),
)
def test_a_binary_payload_comes_back_as_it_was_made(
    battery: int, temperature: int, distance: int, tilted: bool
) -> None:
    values: dict[str, Value] = {
        "battery": battery, "temperature": temperature / 10, "distance": distance, "tilted": tilted
    }  # fmt: skip
    body = encode_message(UPLINK, [(EM400[n], v) for n, v in values.items()], time=5, message_id="x")
    decoded = decoder(UPLINK, EM400).decode(body)
    names = list(EM400)
    back = {names[p]: v for p, v, q in decoded.readings if q is Quality.GOOD}
    assert {name: back[name] for name in values} == values
    assert (decoded.time_ns, decoded.id) == (5_000_000_000, "x")


@given(st.binary(max_size=40))
def test_no_binary_payload_raises_anything_but_bad_payload(payload: bytes) -> None:
    with suppress(BadPayload):
        decoder(UPLINK, EM400).decode(orjson.dumps({"data": base64.b64encode(payload).decode()}))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_no_json_value_raises_anything_at_a_point(raw: Any) -> None:
    message = MessageKeys(topic="{device}")
    for kind in ("bool", "int", "float", "text"):
        for keys in (
            PayloadPoint(path="a"),
            PayloadPoint(path="a", scale=0.1, clamp=(0, 9)),
            PayloadPoint(path="a.0"),
        ):
            try:
                body = orjson.dumps({"a": raw})
            except orjson.JSONEncodeError:  # no such JSON: integers above 64 bits, lone surrogates
                return
            for _, value, _ in Decoder(message, [Slot(0, "a", kind, keys)]).decode(body).readings:
                assert value is None or not isinstance(value, float) or math.isfinite(value)


def test_of_two_points_in_one_channel_type_the_unclamped_one_makes_the_payload() -> None:
    values: list[tuple[PayloadPoint, Value]] = [(EM400["fill"], 50.0), (EM400["distance"], 2116)]
    assert encode_tlv(values) == bytes.fromhex("04824408")


def test_a_value_that_does_not_fit_is_refused_by_the_encoder() -> None:
    with pytest.raises(ValueError, match="does not fit uint8"):
        encode_tlv([(EM400["battery"], 300)])
    with pytest.raises(ValueError, match="no `missing` code"):
        encode_fixed([(PayloadPoint(bytes=0, type="uint8"), None)])


def test_paths_make_the_document_that_they_read() -> None:
    message = MessageKeys(topic="{device}")
    points = {"a": PayloadPoint(path="rx.1.rssi"), "b": PayloadPoint(path="rx.1.snr"), "c": PayloadPoint(path="top")}
    body = encode_message(message, list(zip(points.values(), (1.0, 2.0, 3.0), strict=True)))
    assert orjson.loads(body) == {"rx": [None, {"rssi": 1.0, "snr": 2.0}], "top": 3.0}
    assert [value for value, _ in read(message, points, body).values()] == [1.0, 2.0, 3.0]


def test_a_command_carries_the_devices_own_word_and_cannot_break_out_of_its_json() -> None:
    light = PayloadPoint(
        path="state",
        map={"ON": True, "OFF": False},
        write={"topic": "zigbee2mqtt/{device}/set", "body": '{"state": "{value}"}'},
    )
    assert written(light, True) == '{"state": "ON"}'
    label = PayloadPoint(path="text", write={"topic": "{device}/set", "body": '{"text": "{value}"}'})
    assert orjson.loads(written(label, 'a "b" \n c')) == {"text": 'a "b" \n c'}
    with pytest.raises(ValueError, match="has no `write`"):
        written(PayloadPoint(path="state"), True)


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, "bool", True),
        (0.0, "bool", False),
        ("12", "int", 12),
        (3, "text", "3"),
        (7, "float", 7.0),
        (2.0, "int", 2),
    ],
)
def test_values_become_what_the_points_kind_says(value: Any, kind: Kind, expected: Value) -> None:
    result = conform(value, kind)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(2, "bool"), (1.5, "int"), (True, "float"), ("x", "float"), ([1], "text"), (1e30, "int"), ("-1e19", "int")],
)
def test_values_of_another_kind_are_not_bent_into_shape(value: Any, kind: Kind) -> None:
    with pytest.raises(ValueError, match="is "):
        conform(value, kind)


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"path": "a", "tlv": "0367", "type": "int16"}, "keep one"),
        ({"tlv": "0367"}, "no type"),
        ({"tlv": 367, "type": "int16"}, "write it in quotes"),
        ({"path": "a", "scale": 0}, "scale is 0"),
        ({"path": "a", "clamp": [9, 1]}, "swap them"),
    ],
)
def test_a_row_that_cannot_be_meant_is_a_mistake(keys: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        PayloadPoint.model_validate(keys)


PROFILE = """
profile: bin/test
name: {zh: 桶, en: bin}
protocol: mqtt
source: synthetic profile for a test
messages:
  up: {topic: 'a/{device}/up', payload: data}
  lwt: {topic: 'a/{device}/lwt', format: text}
  wrong: {topic: 'a/{device}', foramt: text}
points:
  a: {name: {zh: a, en: a}, tlv: "0367", type: int16, message: up}
  b: {name: {zh: b, en: b}, tlv: "0367", type: int32, message: up}
  c: {name: {zh: c, en: c}, path: x}
  d: {name: {zh: d, en: d}, path: x, message: up2}
  e: {name: {zh: e, en: e}, message: up}
  f: {name: {zh: f, en: f}, path: x, message: lwt}
  g: {name: {zh: g, en: g}, path: x, message: up, writable: true}
"""


def faults_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "bin" / "test.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    profile, document = load_profile(path)
    assert profile is None
    return [f"{fault.line}: {fault.path}: {fault.message}" for fault in document.faults]


def test_an_unknown_key_of_a_message_is_placed_with_the_nearest_right_name(tmp_path: Path) -> None:
    assert faults_of(tmp_path, PROFILE) == ["9: messages.wrong.foramt: unknown key; did you mean format?"]


def test_mistakes_that_no_single_row_shows_are_all_placed(tmp_path: Path) -> None:
    text = PROFILE.replace("  wrong: {topic: 'a/{device}', foramt: text}\n", "")
    assert faults_of(tmp_path, text) == [
        "11: points.b: 0367 has 4 bytes here and 2 in a; make them agree",
        "12: points.c: lacks message; write one of up, lwt",
        "13: points.d.message: is no message of this profile; did you mean up?",
        "14: points.e: lies nowhere; add path, tlv or bytes",
        "15: points.f: a text message is one value; remove path, tlv and bytes",
        "16: points.g: writable: true and write: {topic, body} go together; add the other or remove it",
    ]


def test_a_topic_without_the_device_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="all devices would be the same one"):
        Messages.model_validate({"up": {"topic": "sensors/up"}})
