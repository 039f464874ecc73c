"""What is exported is imported as it was: every format, every kind of value, every time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.point import Quality, Value
from edge.cli.formats import READERS, WRITERS, Line, Names, Told, stamp
from edge.cli.parquet import parquet_reader, parquet_writer

T = 1_772_445_600_000_000_000
NAMES = Names(
    "maple", {"pump-1.p": "MPa"}, {"pump-1": {"class": "pump", "profile": "pump/x", "location": "B1, 北 楼"}}
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ids = st.from_regex(r"[a-z][a-z0-9_-]{0,8}\.[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not name.endswith("_quality")
)
values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
    texts, st.sampled_from(["1", "-7", "1e5", "true", "", "'", "=1+1", "@x", "nan", "1_000", " 1", "٣", "a\nb"]),
)  # fmt: skip
readings = st.lists(
    st.builds(
        Told, st.integers(-(10**18), 9 * 10**18), ids, values, st.sampled_from([quality.value for quality in Quality])
    ),
    max_size=20,
)


def same(left: Value, right: Value) -> bool:
    return type(left) is type(right) and left == right


def written(form: str, told: list[Told]) -> str:
    out = io.StringIO(newline="")
    write = WRITERS[form](out, NAMES)
    for each in told:
        write(each)
    return out.getvalue()


def read(form: str, text: str) -> list[Line]:
    return list(READERS[form](io.StringIO(text, newline="")))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@given(told=readings)
@settings(max_examples=150)
def test_text_comes_back_as_it_went(form: str, told: list[Told]) -> None:
    found = [each for _, each in read(form, written(form, told))]
    assert found == told
    assert all(same(each.value, want.value) for each, want in zip(found, told, strict=True) if isinstance(each, Told))


@given(told=readings)
@settings(max_examples=150)
def test_line_protocol_comes_back_but_for_control_characters_and_integers_beyond_64_bits(told: list[Told]) -> None:
    found = [each for _, each in read("lp", written("lp", told))]

    def kept(value: Value) -> Value:
        if isinstance(value, str):
            return "".join(" " if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" else c for c in value)
        return float(value) if type(value) is int and value >= 2**63 else value

    assert found == [each._replace(value=kept(each.value)) for each in told]
    assert all(
        same(each.value, kept(want.value)) for each, want in zip(found, told, strict=True) if isinstance(each, Told)
    )


@given(told=readings)
@settings(max_examples=40)
def test_parquet_comes_back_as_it_went(tmp_path_factory: pytest.TempPathFactory, told: list[Told]) -> None:
    path = tmp_path_factory.mktemp("parquet") / "x.parquet"
    with parquet_writer(path, NAMES) as write:
        for each in told:
            write(each)
    found = [each for _, each in parquet_reader(path)]
    assert found == told
    assert all(same(each.value, want.value) for each, want in zip(found, told, strict=True) if isinstance(each, Told))


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"), (1_772_445_600_123_000_000, "2026-03-02T10:00:00.123Z"),
        (1_772_445_600_123_456_789, "2026-03-02T10:00:00.123456789Z"), (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_772_445_600_000_000_100, "2026-03-02T10:00:00.0000001Z"),
    ],
)  # fmt: skip
def test_a_time_is_as_fine_as_it_is(time_ns: int, text: str) -> None:
    assert stamp(time_ns) == text


@pytest.mark.parametrize(
    ("form", "text", "line", "words"),
    [
        ("csv", "when,what\n", 1, "no column time, point, value"),
        ("csv", "time,point,value\n2026-03-02,a.b,1\nyesterday,a.b,1\n", 3, "'yesterday' is no time"),
        ("csv", "time,point,value\n2026-03-02,a.b\n", 2, "has 2 columns, the first line has 3"),
        ("csv", "time,point,value,quality\n2026-03-02,a.b,1,fine\n", 2, "quality is 'fine'; there are bad"),
        ("csv", 'time,point,value\n"2026', 2, "is no CSV"),
        ("csv", "time,point,value\n2026-03-02,ab,1\n", 2, "point is 'ab'; write EQUIPMENT.POINT"),
        ("csv", "time,point,value\n9999-01-01,a.b,1\n", 2, "the years 1678 to 2262"),
        ("jsonl", '{"time": 1}\n', 1, "is no reading as JSON: KeyError"),
        ("jsonl", '{"time": "2026-03-02", "point": "a.b", "value": [1]}\n', 1, "value is '[1]'"),
        ("jsonl", '{"time": "2026-03-02", "point": 7, "value": 1}\n', 1, "point is '7'"),
        ("jsonl", "nonsense\n", 1, "is no reading as JSON"),
        ("lp", "pump\n", 1, "is no line protocol"),
        ("lp", "pump,site=x p=1 1772445600000000000\n", 1, "has no tag equipment"),
        ("lp", "pump,equipment=a p=1\n", 1, "has no time"),
        ("lp", "pump,equipment=a p=x1 1772445600000000000\n", 1, "has the value x1"),
        ("lp", f"pump,equipment=a p=1 {'9' * 5000}\n", 1, "is no line protocol"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(form: str, text: str, line: int, words: str) -> None:
    ((number, found),) = [each for each in read(form, text) if not isinstance(each[1], Told)]
    assert number == line
    assert words in str(found)


@pytest.mark.parametrize("form", ["csv", "jsonl", "lp"])
def test_a_point_may_be_called_something_quality(form: str) -> None:
    told = [
        Told(T, "zone-1.water_quality", 7.5), Told(T, "zone-1.link_quality", 200),
        Told(T, "zone-1.water_quality", None, "bad/comm"), Told(T, "zone-1.link_quality", 3, "uncertain/stale"),
    ]  # fmt: skip
    assert [each for _, each in read(form, written(form, told))] == told


@pytest.mark.parametrize("form", ["csv", "jsonl", "lp"])
def test_lines_may_end_as_those_of_windows_do(form: str) -> None:
    told = [Told(T, "pump-1.flow", 1.5), Told(T + 1, "pump-1.flow", None, "bad/comm")]
    assert [each for _, each in read(form, written(form, told).replace("\n", "\r\n"))] == told


def test_a_line_that_is_no_csv_costs_no_other_and_a_long_text_is_none() -> None:
    head, good = "time,point,value\n", "2026-03-02,a.b,1\n"
    text = f'{head}{good}2026-03-02,a.b,"x"y\n{good}2026-03-02,a.b,{"a" * 200_000}\n{good}'
    found = read("csv", text)
    assert [number for number, each in found if isinstance(each, Told)] == [2, 4, 5, 6]
    assert [number for number, each in found if isinstance(each, str) and "is no CSV" in each] == [3]


def test_a_row_of_a_parquet_without_equipment_is_told(tmp_path: Path) -> None:
    with parquet_writer(tmp_path / "x.parquet", NAMES) as write:
        write(Told(T, "flow", 1))
    assert list(parquet_reader(tmp_path / "x.parquet")) == [(1, "point is 'flow'; write EQUIPMENT.POINT")]


def test_a_parquet_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    ((number, found),) = list(parquet_reader(tmp_path / "x.parquet"))
    assert number == 1
    assert "is no Parquet of readings" in str(found)
