"""Values to registers and back, on literal registers of makers' sheets and by property."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.modbus.codec import compile_bits, compile_registers, decode, encode, kind_of, qualities
from drivers.modbus.keys import Limits, RegisterKeys
from drivers.point import Quality

ORDERS = ["ABCD", "CDAB", "BADC", "DCBA"]
INTEGERS = {
    "uint16": (0, 2**16 - 1), "int16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1), "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**64 - 1), "int64": (-(2**63), 2**63 - 1),
    "bcd16": (0, 9999), "bcd32": (0, 99_999_999),
}  # fmt: skip


def keys(**more: Any) -> RegisterKeys:
    return RegisterKeys.model_validate({"register": "holding", "address": 0, **more})


@given(st.data(), st.sampled_from(sorted(INTEGERS)), st.sampled_from(ORDERS))
def test_every_integer_of_every_type_and_order_comes_back(data: st.DataObject, name: str, order: str) -> None:
    value = data.draw(st.integers(*INTEGERS[name]))
    of = keys(type=name, order=order)
    registers = encode(of, value)
    assert isinstance(registers, list)
    assert len(registers) == of.width
    assert decode(of, registers) == value


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from(ORDERS))
def test_every_float_comes_back_from_two_and_from_four_registers(value: float, order: str) -> None:
    for name in ("float32", "float64"):
        of = keys(type=name, order=order)
        registers = encode(of, value)
        assert isinstance(registers, list)
        assert decode(of, registers) == value


@given(
    st.text(max_size=8).filter(lambda text: text == text.strip() and "\0" not in text),
    st.sampled_from(["ABCD", "BADC"]),
)
def test_every_text_that_fits_comes_back(text: str, order: str) -> None:
    of = keys(type="string", length=16, order=order)
    registers = encode(of, text)
    assert isinstance(registers, list)
    assert decode(of, registers) == text


@given(
    st.integers(-32768, 32767),
    st.sampled_from([(0.1, 0), (0.01, -273.15), (10, 5), (0.25, 0.5), (-1, 0), (0.001, -1)]),
)
def test_a_scaled_value_comes_back_to_the_same_register(raw: int, scaling: tuple[float, float]) -> None:
    of = keys(type="int16", scale=scaling[0], offset=scaling[1])
    value = decode(of, [raw & 0xFFFF])
    assert encode(of, value) == [raw & 0xFFFF]


@given(st.integers(0, 65535), st.integers(0, 15), st.booleans(), st.sampled_from(ORDERS))
def test_a_bit_is_written_without_touching_its_neighbours(word: int, bit: int, on: bool, order: str) -> None:
    of = keys(type="bool", bit=bit, order=order)
    after = encode(of, on, over=[word])
    assert isinstance(after, list)
    assert decode(of, after) is on
    assert (after[0] ^ word).bit_count() <= 1


@given(st.integers(0, 65535), st.integers(0, 14), st.data(), st.sampled_from(ORDERS))
def test_some_bits_are_a_number_that_is_written_without_touching_the_others(
    word: int, first: int, data: st.DataObject, order: str
) -> None:
    last = data.draw(st.integers(first + 1, 15))
    number = data.draw(st.integers(0, (2 << last - first) - 1))
    of = keys(bits=[first, last], order=order)
    after = encode(of, number, over=[word])
    assert isinstance(after, list)
    assert decode(of, after) == number
    others = {bit for bit in range(16) if not first <= bit <= last}
    for bit in others:
        one = keys(type="bool", bit=bit, order=order)
        assert decode(one, after) == decode(one, [word])
    with pytest.raises(ValueError, match=f"does not fit bits {first} to {last}; write 0 to"):
        encode(of, 2 << last - first)


def test_bits_lie_where_the_sheet_says_and_may_be_scaled() -> None:
    assert decode(keys(bits=[4, 7]), [0xABCD]) == 0xC
    assert decode(keys(bits=[4, 7], order="BADC"), [0xABCD]) == 0xA
    assert decode(keys(bits=[8, 15], scale=0.5), [0xABCD]) == 85.5
    assert encode(keys(bits=[8, 15], scale=0.5), 85.5, over=[0x12CD]) == [0xABCD]


@pytest.mark.parametrize(
    ("order", "registers"),
    [
        ("ABCD", [0x4366, 0x8000]),
        ("CDAB", [0x8000, 0x4366]),
        ("BADC", [0x6643, 0x0080]),
        ("DCBA", [0x0080, 0x6643]),
    ],
)
def test_the_four_orders_lie_on_the_wire_as_the_sheets_say(order: str, registers: list[int]) -> None:
    assert decode(keys(type="float32", order=order), registers) == 230.5


def test_a_64_bit_value_follows_the_same_four_rules() -> None:
    words = [0x0102, 0x0304, 0x0506, 0x0708]
    assert encode(keys(type="uint64"), 0x0102030405060708) == words
    assert encode(keys(type="uint64", order="CDAB"), 0x0102030405060708) == words[::-1]
    assert encode(keys(type="uint64", order="BADC"), 0x0102030405060708) == [0x0201, 0x0403, 0x0605, 0x0807]
    assert encode(keys(type="uint64", order="DCBA"), 0x0102030405060708) == [0x0807, 0x0605, 0x0403, 0x0201]


def test_tenths_and_hundredths_are_the_decimals_that_people_write() -> None:
    assert decode(keys(scale=0.1), [3]) == 0.3
    assert decode(keys(scale=0.01, offset=-273.15), [29300]) == 19.85
    assert decode(keys(type="uint32", scale=0.01), [1, 0xD742]) == 1206.42


@pytest.mark.parametrize(
    ("of", "registers"),
    [
        (keys(type="float32"), [0x7FC0, 0x0000]),
        (keys(type="float32"), [0xFF80, 0x0000]),
        (keys(type="float32", missing=[-9999.9]), list(struct.unpack(">2H", struct.pack(">f", -9999.9)))),
        (keys(type="int16", missing=[0x8000]), [0x8000]),
        (keys(type="int16", missing=[-32768]), [0x8000]),
        (keys(type="uint16", missing=[0xFFFF, 0x7FFF]), [0x7FFF]),
        (keys(type="uint64", missing=[2**64 - 1]), [0xFFFF] * 4),
        (keys(type="bool", bit=3, missing=[0xFFFF]), [0xFFFF]),
        (keys(type="bcd16"), [0x12A4]),
        (keys(type="bcd32"), [0x1234, 0xFFFF]),
    ],
)
def test_what_the_device_does_not_know_is_none_and_bad_sensor(of: RegisterKeys, registers: list[int]) -> None:
    values = (decode(of, registers), 1)
    assert values == (None, 1)
    assert qualities(values) == (Quality.BAD_SENSOR, Quality.GOOD)


def test_a_simulator_can_say_not_available() -> None:
    assert encode(keys(type="int16", missing=[0x8000]), None) == [0x8000]
    nan = encode(keys(type="float32"), None)
    assert isinstance(nan, list)
    assert decode(keys(type="float32"), nan) is None
    with pytest.raises(ValueError, match="no missing codes"):
        encode(keys(), None)


@pytest.mark.parametrize(
    ("of", "value", "message"),
    [
        (keys(scale=0.1), 6553.6, "write 0 to 6553.5"),
        (keys(type="int16"), -40000, "write -32768 to 32767"),
        (keys(type="bcd16"), 10000, "write 0 to 9999"),
        (keys(type="float32"), 1e300, "too large"),
        (keys(type="uint16"), "high", "no number"),
        (keys(type="uint16"), math.nan, "no number"),
        (keys(type="string", length=2), "12345", "at most 4 bytes"),
        (keys(register="coil"), 7, "neither true nor false"),
    ],
)
def test_a_value_that_no_register_can_hold_is_refused_with_what_is_allowed(
    of: RegisterKeys, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode(of, value)


def test_a_point_gets_the_kind_that_its_profile_says() -> None:
    assert repr(decode(keys(), [5], "float")) == "5.0"
    assert repr(decode(keys(scale=0.1), [57], "int")) == "6"
    assert decode(keys(), [5], "bool") is True
    assert decode(keys(), [5], "text") == "5"
    assert decode(keys(type="string", length=2), [0x3432, 0], "int") == 42
    assert decode(keys(type="string", length=2), [0x6F6E, 0], "int") is None
    assert kind_of(keys(type="float64")) == "float"


def test_a_block_decodes_gaps_overlaps_bits_and_mixed_orders_in_one_step() -> None:
    step = compile_registers(
        [
            (0, keys(type="int16", scale=0.1), "float"),
            (3, keys(type="float32", order="CDAB"), "float"),
            (5, keys(type="bool", bit=0), "bool"),
            (5, keys(type="bool", bit=9), "bool"),
            (5, keys(type="uint16"), "int"),
        ],
        7,
    )
    data = struct.pack(">7H", 0xFFF6, 9, 9, 0x8000, 0x4366, 0x0201, 9)
    assert step(data) == (-1.0, 230.5, True, True, 0x0201)


def test_a_block_of_plain_values_skips_its_gaps() -> None:
    step = compile_registers([(0, keys(), "int"), (2, keys(type="int32"), "int")], 5)
    assert step(struct.pack(">HHiH", 7, 99, -2, 99)) == (7, -2)


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_coils_come_low_bit_first(states: list[bool]) -> None:
    data = bytearray((len(states) + 7) // 8)
    for index, on in enumerate(states):
        data[index // 8] |= on << index % 8
    coil = keys(register="coil")
    step = compile_bits([(index, coil, "bool") for index in range(len(states))])
    assert step(bytes(data)) == tuple(states)
    assert compile_bits([(0, coil, "int")])(bytes(data)) == (int(states[0]),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"register": "coil", "type": "int16"}, "a coil is one bit"),
        ({"register": "discrete", "bit": 2}, "remove bit"),
        ({"register": "input", "type": "uint16", "bit": 2}, "bit belongs to type bool"),
        ({"type": "string"}, "needs length"),
        ({"type": "uint16", "length": 3}, "length belongs to type string"),
        ({"type": "bool", "scale": 2}, "no scale"),
        ({"type": "string", "length": 2, "order": "CDAB"}, "order CDAB"),
        ({"scale": 0}, "scale 0"),
        ({"address": 65535, "type": "uint32"}, "beyond address 65535"),
        ({"missing": [70000]}, "missing code 70000 does not fit"),
        ({"bits": [7, 4]}, "first below last"),
        ({"bits": [8, 16]}, "within 0..15"),
        ({"bits": [0, 3], "type": "int16"}, "bits belongs to type uint16"),
        ({"bits": [0, 3], "missing": [15]}, "remove missing"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        keys(**row)


def test_the_type_follows_from_the_table_and_the_bit() -> None:
    assert keys(register="coil").type == "bool"
    assert keys(bit=0).type == "bool"
    assert keys().type == "uint16"


def test_a_forbidden_range_is_written_from_low_to_high() -> None:
    with pytest.raises(ValidationError, match=r"forbidden range \[9, 3\]"):
        Limits.model_validate({"forbidden": [[9, 3]]})


@pytest.mark.parametrize("kind", ["int", "float"])
def test_a_number_that_scaling_makes_infinite_is_not_known(kind: Any) -> None:
    of = keys(type="float64", scale=1000)
    assert decode(of, struct.unpack(">4H", struct.pack(">d", 1e307)), kind) is None
