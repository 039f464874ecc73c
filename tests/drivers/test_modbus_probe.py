"""Registers of which the manual says nothing useful: every plausible meaning, and no crash on any bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.driver import DeviceSilent, Refused
from drivers.modbus.fingerprint import FingerprintKeys
from drivers.modbus.probe import meanings, probe
from edge.clock import SystemClock
from tests.drivers.test_modbus_scan import served


def words(layout: str, *values: float) -> list[int]:
    """Registers of packed values."""
    data = struct.pack(layout, *values)
    return list(struct.unpack(f">{len(data) // 2}H", data))


def test_the_right_order_of_a_float_is_the_one_without_a_mark() -> None:
    high, low = words(">f", 230.5)
    row = meanings(100, [low, high])[0]
    assert row["float32 CDAB"] == "230.5"
    assert [order for order in ("ABCD", "BADC", "DCBA") if not row[f"float32 {order}"].endswith("?")] == []
    assert row["address"] == "100"
    assert row["hex"] == f"{low:04X}"


def test_a_register_shows_as_bits_numbers_bcd_and_text() -> None:
    first, second = meanings(0, [0x4142, 0xFFFE])
    assert (first["uint16"], first["bcd16"], first["text"]) == ("16706", "4142", "AB")
    assert (second["int16"], second["bcd16"], second["text"]) == ("-2", "", "")
    assert second["bits"] == "1111111111111110"
    assert first["uint32 ABCD"] == str(0x4142FFFE)
    assert first["int32 CDAB"] == str(0xFFFE4142 - (1 << 32))
    assert "float32 ABCD" not in second


def test_four_registers_show_as_energy_meters_count_in_64_bits() -> None:
    row = meanings(0, words(">q", 123_456_789_012))[0]
    assert row["int64 ABCD"] == "123456789012"
    assert all(row[f"int64 {order}"].endswith("?") for order in ("CDAB", "DCBA"))
    assert meanings(0, words(">d", 230.5)[::-1])[0]["float64 CDAB"] == "230.5"
    assert meanings(0, [0x1234, 0x5678])[0]["bcd32 ABCD"] == "12345678"
    assert meanings(0, [0x1234, 0xABCD])[0]["bcd32 ABCD"] == ""
    assert "int64 ABCD" not in meanings(0, [0, 0, 0])[0]


def test_what_is_no_number_is_marked() -> None:
    assert meanings(0, [0x7FC0, 0])[0]["float32 ABCD"] == "nan ?"
    assert meanings(0, [0x7F80, 0])[0]["float32 ABCD"] == "inf ?"
    assert meanings(0, [0, 0])[0]["float32 ABCD"] == "0"


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=8), st.integers(0, 60_000))
def test_any_registers_have_a_row_each(registers: list[int], first: int) -> None:
    rows = meanings(first, registers)
    assert [row["address"] for row in rows] == [str(first + at) for at in range(len(registers))]
    assert [int(row["hex"], 16) for row in rows] == registers
    assert all(text.isprintable() for row in rows for text in row.values())


async def test_a_range_of_a_device_is_read_and_shown() -> None:
    async with served("pump-room") as settings:
        asked = {"unit": 21, "register": "input", "first": 70, "count": 2}
        (frequency, _) = await probe(settings, asked, SystemClock())
        assert 45 <= float(frequency["float32 ABCD"]) <= 65
        with pytest.raises(Refused, match="exception 0x02"):
            await probe(settings, asked | {"first": 9000}, SystemClock())
        quick = settings.model_copy(update={"timeout": 0.05})
        with pytest.raises(DeviceSilent, match="does not answer"):
            await probe(quick, asked | {"unit": 99}, SystemClock())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"register": "holdings"}, "is none of"), ({"count": 126}, "1 to 125"), ({"count": 0}, "1 to 125"),
        ({"first": 65535}, "from 0 to 65535"), ({"unit": 256}, "no unit id"),
    ],
)  # fmt: skip
async def test_a_range_that_there_is_not_is_refused_before_anything_is_opened(
    wrong: dict[str, object], why: str
) -> None:
    asked: dict[str, object] = {"unit": 1, "register": "holding", "first": 0, "count": 2}
    with pytest.raises(ValueError, match=why):
        await probe(None, asked | wrong, SystemClock())  # type: ignore[arg-type]  # nothing is opened


def row(**keys: object) -> FingerprintKeys:
    """One row of a fingerprint of holding register 5."""
    return FingerprintKeys.model_validate({"register": "holding", "address": 5, **keys})


@pytest.mark.parametrize(
    ("keys", "raw", "fits"),
    [
        ({"equals": 112}, [112], True), ({"equals": 112}, [113], False), ({"in": [1, 2]}, [2], True),
        ({"in": [1, 2]}, [3], False), ({"between": [1, 2]}, [2], True), ({"between": [1, 2]}, [3], False),
        ({"type": "float32", "between": [0, 500]}, [0x7FC0, 0], False),
        ({"type": "string", "length": 2, "equals": "SDM"}, [0x5344, 0x4D00], True),
        ({"bit": 3, "equals": True}, [8], True),
    ],
)  # fmt: skip
def test_a_fingerprint_fits_or_does_not(keys: dict[str, object], raw: list[int], fits: bool) -> None:
    assert row(**keys).fits(raw) is fits


@pytest.mark.parametrize("keys", [{}, {"equals": 1, "in": [1]}, {"between": [2, 1]}])
def test_a_fingerprint_that_says_nothing_or_too_much_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"write one of|is empty"):
        row(**keys)
