"""Rows as line protocol: whatever the names and values are, every line reads back as it was meant."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Quality, Value
from edge.store.readings import Row
from edge.uplinks.lines import Lines
from edge.uplinks.shape import EquipmentView, SiteView

Field = bool | float | str
SITE = SiteView("maple", {"pump-1": EquipmentView("pump", "pump/vfd-booster", "地下 泵房", "1号泵")})
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
READINGS = st.lists(st.tuples(NAMES, VALUES, st.sampled_from([quality.value for quality in Quality])), min_size=1)


def row(points: dict[str, Value], qualities: tuple[str, ...] | None = None, equipment: str = "pump-1") -> Row:
    return Row(1, 1_700_000_000_000_000_001, equipment, tuple(points), tuple(points.values()), qualities, None)


def read(line: str) -> tuple[str, dict[str, str], dict[str, Field], int]:
    """A line by the rules of the protocol: measurement, tags, fields, time."""
    head, body, stamp = split(line, " ", quotes=True)
    measurement, *tags = split(head, ",")
    fields: dict[str, Field] = {}
    for part in split(body, ",", quotes=True):
        name, *rest = split(part, "=", quotes=True)
        assert len(rest) == 1, part
        assert unescaped(name) not in fields
        fields[unescaped(name)] = field(rest[0])
    pairs = [split(tag, "=") for tag in tags]
    assert all(len(pair) == 2 for pair in pairs)
    assert [pair[0] for pair in pairs] == sorted(pair[0] for pair in pairs)
    return unescaped(measurement), {unescaped(k): unescaped(v) for k, v in pairs}, fields, int(stamp)


def split(text: str, at: str, quotes: bool = False) -> list[str]:
    """`text` at each `at` that is neither escaped nor, with `quotes`, inside a quoted text."""
    parts, place, inside = [""], 0, False
    while place < len(text):
        taken = text[place : place + 2] if text[place] == "\\" else text[place]
        if taken == '"' and quotes:
            inside = not inside
        if taken == at and not inside:
            parts.append("")
        else:
            parts[-1] += taken
        place += len(taken)
    assert not inside, text
    return parts


def unescaped(name: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", name)


def field(text: str) -> Field:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        assert text.endswith('"')
        return re.sub(r"\\([\"\\])", r"\1", text[1:-1])
    assert re.fullmatch(r"-?[0-9.]+(e[-+]?[0-9]+)?", text), text
    return float(text)


def one_line(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text)


def as_name(text: str) -> str:
    return one_line(text).replace("\\", "/").replace('"', "'")


@given(READINGS, NAMES, TEXTS)
def test_every_line_reads_back(readings: list[tuple[str, Value, str]], equipment: str, location: str) -> None:
    points = {name: (value, quality) for name, value, quality in readings}
    names = [as_name(name) for name in points]
    if len(set(names) | {f"{name}_quality" for name in names}) < 2 * len(names):
        return  # two names that become one are the site's own doing
    site = SiteView("maple", {equipment: EquipmentView("pump", "pump/x", location, "")})
    values = tuple(value for value, _ in points.values())
    marks = tuple(quality for _, quality in points.values())
    line = Lines(site).line(Row(1, 1_700_000_000_000_000_001, equipment, tuple(points), values, marks, None))
    expected: dict[str, Field] = {}
    for name, (value, quality) in points.items():
        if isinstance(value, str):
            expected[as_name(name)] = one_line(value)
        elif value is not None:
            expected[as_name(name)] = value if isinstance(value, bool) else float(value)
        if quality != "good":
            expected[f"{as_name(name)}_quality"] = quality
    if not expected:
        assert line is None
        return
    assert line is not None
    assert b"\n" not in line
    tags = {"equipment": as_name(equipment), "location": as_name(location), "profile": "pump/x", "site": "maple"}
    assert read(line.decode()) == (
        "pump", {key: value for key, value in tags.items() if value}, expected, 1_700_000_000_000_000_001
    )  # fmt: skip


def test_a_row_is_one_line_with_its_class_its_tags_and_its_points() -> None:
    line = Lines(SITE).line(row({"pressure": 3.5, "starts": 7, "running": True, "mode": 'auto "1"'}))
    assert line is not None
    assert line.decode() == (
        r"pump,equipment=pump-1,location=地下\ 泵房,profile=pump/vfd-booster,site=maple "
        r'pressure=3.5,starts=7.0,running=true,mode="auto \"1\"" 1700000000000000001'
    )


def test_a_point_that_is_not_good_says_so_beside_its_value_or_instead_of_it() -> None:
    line = Lines(SITE).line(
        row({"a": 1.0, "b": None, "c": 2}, ("good", "bad/comm", "uncertain/stale"))
    )  # fmt: skip
    assert line is not None
    assert line.decode().split(" ", 2)[1].endswith("泵房,profile=pump/vfd-booster,site=maple")
    assert ' a=1.0,b_quality="bad/comm",c=2.0,c_quality="uncertain/stale" ' in line.decode()


def test_an_equipment_that_left_the_site_file_still_gets_its_backlog_out() -> None:
    line = Lines(SITE).line(row({"a": 1.0}, equipment="pump-9"))
    assert line == b"unknown,equipment=pump-9,site=maple a=1.0 1700000000000000001"


def test_a_row_that_tells_nothing_is_no_line() -> None:
    assert Lines(SITE).line(row({"a": None})) is None
