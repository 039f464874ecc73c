"""Sparkplug B payloads: literal bytes, every value there and back, nothing from the network raises but ValueError."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Value
from edge.uplinks.sparkplug_payload import QUALITY, DataType, Metric, _classes, decode, encode, fits

VALUES = {
    DataType.INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    DataType.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    DataType.BOOLEAN: st.booleans(),
    DataType.STRING: st.text(st.characters(exclude_categories=["Cs"])),
}


def test_a_metric_lies_in_the_fields_that_the_specification_numbers() -> None:
    metric = Metric(-5, 1000, "x", 3, DataType.INT64, historical=True, properties={QUALITY: (DataType.INT32, 500)})
    expected = (
        "08 d00f"  # 1 timestamp 2000
        "12 29"  # 2 metric
        "0a 01 78"  # 1 name
        "10 03"  # 2 alias
        "18 e807"  # 3 timestamp 1000
        "20 04"  # 4 datatype
        "28 01"  # 5 is_historical
        "4a 10 0a 07 5175616c697479 12 05 08 03 18 f403"  # 9 properties: keys, values {type, int_value}
        "58 fbffffffffffffffff01"  # 11 long_value
        "18 07"  # 3 seq
    )
    assert encode([(metric, DataType.INT64)], 2000, 7).hex() == expected.replace(" ", "")


@pytest.mark.parametrize(
    ("value", "datatype", "expected"),
    [
        (True, DataType.BOOLEAN, "12 02 70 01"),
        (1.5, DataType.DOUBLE, "12 09 69 000000000000f83f"),
        ("ab", DataType.STRING, "12 04 7a 02 6162"),
        (None, DataType.DOUBLE, "12 02 38 01"),
    ],
)
def test_each_type_has_its_field_and_null_has_none(value: Value, datatype: DataType, expected: str) -> None:
    assert encode([(Metric(value, None), datatype)], 0, None).hex() == "0800" + expected.replace(" ", "")


@given(st.data())
def test_every_value_comes_back_as_it_was(data: st.DataObject) -> None:
    datatype = data.draw(st.sampled_from(list(VALUES)))
    value = data.draw(st.none() | VALUES[datatype])
    metric = Metric(value, 5, "名", 9, datatype, properties={"engUnit": (DataType.STRING, "m³/h")})  # type: ignore[arg-type]
    assert value is None or fits(value, datatype)  # type: ignore[arg-type]
    assert decode(encode([(metric, datatype)], 1, 255)).metrics == [metric]


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (1 << 63, DataType.INT64),
        (2.5, DataType.INT64),
        (float("nan"), DataType.INT64),
        (float("inf"), DataType.DOUBLE),
        (10**400, DataType.DOUBLE),
        (10**400, DataType.INT64),
        (True, DataType.DOUBLE),
        (1, DataType.BOOLEAN),
        ("\ud800", DataType.STRING),
        (3, DataType.STRING),
    ],
)
def test_what_a_type_cannot_hold_does_not_fit(value: Value, datatype: DataType) -> None:
    assert not fits(value, datatype)


@pytest.mark.parametrize(
    ("field", "number", "datatype", "value"),
    [
        ("int_value", 0xFFFF_FFFB, DataType.INT32, -5),
        ("int_value", 0xFFFF_FFFB, DataType.INT64, -5),
        ("long_value", (1 << 64) - 5, DataType.INT16, -5),
        ("long_value", 0xFFFF_FFFB, DataType.INT64, 0xFFFF_FFFB),
        ("long_value", (1 << 64) - 5, DataType.UINT64, (1 << 64) - 5),
        ("int_value", 1, DataType.BOOLEAN, 1),
    ],
)
def test_hosts_are_free_with_the_width_of_whole_numbers(
    field: str, number: int, datatype: DataType, value: int
) -> None:
    payload = _classes()["Payload"]()
    metric = payload.metrics.add(alias=4)
    setattr(metric, field, number)
    [found] = decode(payload.SerializeToString(), {4: datatype}).metrics
    assert found.value == value


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        decode(data)


def test_what_is_no_payload_says_so() -> None:
    with pytest.raises(ValueError, match="is no Sparkplug B payload"):
        decode(b"\xff\xff")
    with pytest.raises(ValueError, match="70000 bytes; at most 65536"):
        decode(bytes(70_000))
    with pytest.raises(ValueError, match="data type 99"):
        decode(bytes.fromhex("1202 2063".replace(" ", "")))
