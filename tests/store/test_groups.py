"""What is committed together comes back row by row, and lies in the file as every released version reads it."""

from __future__ import annotations

import random
import sqlite3
from itertools import chain

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Value
from edge.store.groups import ROWS, Packer, Row
from edge.store.layouts import LayoutTable

VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(-1e9, 1e9), st.text())
MS = 1_000_000


@pytest.fixture
def packer() -> Packer:
    return new_packer()


def new_packer() -> Packer:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE layouts (id INTEGER PRIMARY KEY, equipment TEXT NOT NULL, points TEXT NOT NULL)")
    return Packer(LayoutTable(db))


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    """Rows one after the other: with odd texts, with none of the values, with marks and stamps here and there."""
    found = []
    for seq in range(7, 7 + draw(st.integers(1, 12))):
        values = tuple(draw(st.lists(VALUES, max_size=5)))
        marks = draw(st.none() | st.tuples(*[st.sampled_from(("good", "bad/comm"))] * len(values)))
        time_ns = draw(st.integers(0, 2**50))
        points = tuple(f"p{n}" for n in range(len(values)))
        equipment = draw(st.sampled_from(("pump", "lift"))) if values else ""  # what was shed has no name
        found.append(Row(seq, time_ns, equipment, points, values, marks or None, draw(st.none() | st.integers(0, 9))))
    return found


def settled(row: Row) -> Row:
    """Marks that are all good are told as none."""
    return row._replace(qualities=None) if set(row.qualities or ()) <= {"good"} else row


@given(rows())
def test_every_row_comes_back_as_it_was(given_rows: list[Row]) -> None:
    packer = new_packer()
    found = [row for group in packer.pack(given_rows) for row in packer.rows(group.first_seq, group.body)]
    assert [settled(row) for row in found] == [settled(row) for row in given_rows]
    assert [list(map(type, row.values)) for row in found] == [list(map(type, row.values)) for row in given_rows]


def test_a_body_is_one_list_of_seven_columns_with_all_values_in_one_of_them(packer: Packer) -> None:
    points = ("level", "state")
    given_rows = [
        Row(3, 5 * MS, "pump", points, (1.5, "[up],[down]"), None, None),
        Row(4, 9 * MS, "lift", points, (True, None), ("good", "bad/sensor"), 8),
        Row(5, 9 * MS, "pump", ("state",), ("上",), None, None),
        Row(6, 9 * MS, "", (), (), None, None),
    ]
    (group,) = packer.pack(given_rows)
    assert orjson.loads(zstandard.decompress(group.body)) == [
        MS, [5, 4, 0, 0], [1, 2, 3, 4], [1.5, "[up],[down]", True, None, "上"], [0, 0, 0, 0],
        {"1": {"1": "bad/sensor"}}, {"1": 8},
    ]  # fmt: skip
    assert group[:4] == (6, 3, 5 * MS, 9 * MS)


def test_rows_without_any_value_are_kept_as_such(packer: Packer) -> None:
    empty = [Row(n, 0, "", (), (), None, None) for n in (1, 2)]
    (group,) = packer.pack(empty)
    assert packer.rows(1, group.body) == empty


def test_equipment_with_the_same_points_are_told_apart(packer: Packer) -> None:
    points = ("level", "on")
    given_rows = [Row(n, n, f"pump-{n % 3}", points, (n, True), None, None) for n in range(1, 30)]
    (group,) = packer.pack(given_rows)
    assert packer.rows(1, group.body) == given_rows


def test_much_that_is_committed_at_once_comes_back_too_and_is_little_longer(packer: Packer) -> None:
    chance = random.Random(1)
    points = tuple(f"p{n}" for n in range(60))
    values: list[tuple[Value, ...]] = [
        tuple([round(chance.gauss(20, 9), 1) for _ in points]) for _ in range(ROWS + 1)
    ]
    given_rows = [Row(n, n * MS, "pump", points, each, None, None) for n, each in enumerate(values, 1)]
    groups = packer.pack(given_rows)
    assert [row for group in groups for row in packer.rows(group.first_seq, group.body)] == given_rows
    assert len(groups) == 2
    plain = zstandard.ZstdCompressor(level=1).compress(orjson.dumps(list(chain.from_iterable(values))))
    assert sum(len(group.body) for group in groups) < 1.05 * len(plain)


def test_a_body_that_is_damaged_anywhere_is_refused(packer: Packer) -> None:
    (group,) = packer.pack([Row(n, n, "pump", ("level",), (n / 7,), None, None) for n in range(1, 60)])
    for place in range(0, len(group.body), 5):
        body = bytearray(group.body)
        body[place] ^= 0x20
        with pytest.raises(ValueError, match="cannot be unpacked"):
            packer.columns(bytes(body))
