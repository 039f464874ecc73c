"""What becomes of values, stamps and names that nobody should send, in memory and on the disk alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.point import Value
from edge.store.readings import LAST_NS, ReadingsStore, Row, open_readings

NOON = 1_772_424_000_000_000_000
YEAR = 365 * 86_400 * 10**9


async def both(path: Path, *rows: tuple[str, Mapping[str, Value], int]) -> list[Row]:
    """The rows as an uplink gets them from memory; they must come back from the file just so."""
    async with open_readings(path / "readings.db", 600) as store:
        for equipment, values, time_ns in rows:
            store.append(equipment, tuple(values), tuple(values.values()), None, time_ns)
        fresh = await store.read_after(0, 10_000)
        await store.flush()
        assert store.trouble is None
    async with open_readings(path / "readings.db", 600) as store:
        kept = await store.read_after(0, 10_000)
    assert list(map(repr, kept)) == list(map(repr, fresh))
    return kept


@pytest.mark.parametrize(
    ("value", "kept", "quality"),
    [
        (math.nan, None, "bad/sensor"),
        (math.inf, None, "bad/sensor"),
        (-math.inf, None, "bad/sensor"),
        (2**63 - 1, 2**63 - 1, "good"),
        (2**64 - 1, 2**64 - 1, "good"),
        (-(2**63), -(2**63), "good"),
        (2**64, float(2**64), "good"),
        (-(10**30), -1e30, "good"),
        (10**400, None, "bad/range"),
        (1.7976931348623157e308, 1.7976931348623157e308, "good"),
        (5e-324, 5e-324, "good"),
        ("12.5 bar", "12.5 bar", "good"),
        ("", "", "good"),
        ("楼道\n\"',;= 🚨\x00", "楼道\n\"',;= 🚨\x00", "good"),
        ("half a pair \ud83d", "half a pair ?", "good"),
    ],
)
async def test_a_value_is_kept_as_it_is_or_goes_with_a_reason(
    tmp_path: Path, value: Value, kept: Value, quality: str
) -> None:
    (row,) = await both(tmp_path, ("pump-1", {"a": 1.5, "b": value, "c": True}, NOON))
    assert row.values == (1.5, kept, True)
    assert type(row.values[1]) is type(kept)
    assert (row.qualities or ("good",) * 3) == ("good", quality, "good")


async def test_huge_numbers_that_cancel_each_other_out_are_seen_all_the_same(tmp_path: Path) -> None:
    (row,) = await both(tmp_path, ("pump-1", {"a": 2**70, "b": -(2**70)}, NOON))
    assert row.values == (float(2**70), -float(2**70))


async def test_a_series_of_numbers_stays_one_where_a_text_comes_in_between(tmp_path: Path) -> None:
    values: tuple[Value, ...] = (1, "n/a", 2.5)
    rows = await both(tmp_path, *[("pump-1", {"a": value}, NOON + n) for n, value in enumerate(values)])
    assert [row.values for row in rows] == [(1,), ("n/a",), (2.5,)]


async def test_stamps_from_1970_and_from_the_future_are_kept_in_the_order_of_arrival(tmp_path: Path) -> None:
    stamps = (NOON, 0, 1, NOON + 80 * YEAR, -YEAR, NOON + 1)
    rows = await both(tmp_path, *[("pump-1", {"a": n}, stamp) for n, stamp in enumerate(stamps)])
    assert [row.time_ns for row in rows] == list(stamps)
    async with open_readings(tmp_path / "readings.db", 600) as store:
        assert await store.query("pump-1.a", 0, 10) == [(0, 1, "good"), (1, 2, "good")]
        assert await store.query("pump-1.a", NOON, NOON + YEAR) == [(NOON, 0, "good"), (NOON + 1, 5, "good")]
        assert await store.query("pump-1.a", NOON + YEAR, LAST_NS) == [(NOON + 80 * YEAR, 3, "good")]


async def test_a_stamp_that_no_column_holds_is_brought_to_the_nearest_that_one_does(tmp_path: Path) -> None:
    rows = await both(
        tmp_path, ("pump-1", {"a": 1}, 10**30), ("pump-1", {"a": 2}, -(10**30)), ("pump-1", {"a": 3}, 5)
    )
    assert [row.time_ns for row in rows] == [LAST_NS, -LAST_NS, 5]


NAMES = ("a b", "a,b", "a=b", 'a"b', "a'b", "a\nb", "a.b", "水泵 🚰", "", "%s; DROP TABLE groups", "\\")


async def test_names_with_anything_in_them_are_kept_and_found_again(tmp_path: Path) -> None:
    rows = await both(tmp_path, *[(f"e{name}", dict.fromkeys(NAMES, n), NOON + n) for n, name in enumerate(NAMES)])
    assert [row.equipment for row in rows] == [f"e{name}" for name in NAMES]
    assert {row.points for row in rows} == {NAMES}
    async with open_readings(tmp_path / "readings.db", 600) as store:
        for n, name in enumerate(NAMES):
            if "." not in name:
                assert await store.query(f"e{name}.水泵 🚰", 0, LAST_NS) == [(NOON + n, n, "good")]


SURROGATES = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
ANYTHING: st.SearchStrategy[Value] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.text(SURROGATES)
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pump-1", "电梯 2"]),
            st.dictionaries(st.sampled_from(NAMES), ANYTHING, min_size=1),
            st.integers(-(2**70), 2**70),
        ),
        max_size=20,
    )
)
async def test_whatever_comes_in_comes_out_of_the_file_as_it_came_out_of_memory(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, dict[str, Value], int]]
) -> None:
    kept = await both(tmp_path_factory.mktemp("log"), *rows)
    assert [(row.equipment, row.points) for row in kept] == [
        (equipment, tuple(values)) for equipment, values, _ in rows
    ]


async def test_what_is_no_value_at_all_is_a_fault_of_the_driver(tmp_path: Path) -> None:
    async with open_readings(tmp_path / "readings.db", 600) as store:
        with pytest.raises(TypeError, match="is no value of a point"):
            put_anything(store, [1, 2])
        with pytest.raises(TypeError, match="is no value of a point"):
            put_anything(store, b"12")


def put_anything(store: ReadingsStore, value: object) -> None:
    store.append("pump-1", ("a",), (value,), None, NOON)  # type: ignore[arg-type]  # that is the point
