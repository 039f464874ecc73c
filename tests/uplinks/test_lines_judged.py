"""Our lines before a foreign judge: InfluxDB takes every line that we can make and gives it back as it was meant."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from drivers.point import Quality, Value
from edge.store.packing import clean
from edge.store.readings import Row
from edge.uplinks.lines import Lines, plain
from edge.uplinks.shape import EquipmentView, SiteView

pytestmark = [pytest.mark.service, pytest.mark.timeout(240)]

NASTY = [
    "\\",
    '"',
    "'",
    " ",
    ",",
    "=",
    "#",
    "a b",
    "a,b",
    "a=b",
    'a"b',
    "a\\b",
    "a\\,b",
    "a\nb",
    "time",
    "_field",
    "💧 泵",
]
TEXTS = st.one_of(st.text(st.characters(codec="utf-8"), max_size=12), st.sampled_from(NASTY))
NAMES = TEXTS.filter(bool)
KINDS: Mapping[str, st.SearchStrategy[Value]] = {
    "bool": st.booleans(),
    "number": st.one_of(
        st.integers(), st.floats(), st.sampled_from([2**63, -(2**63), 2**64, 10**400, 5e-324, 1.7e308, -0.0])
    ),
    "text": st.one_of(TEXTS, st.just("\ud800 half a pair"), st.just("x" * 10_000)),
}
POINTS = st.dictionaries(NAMES, st.sampled_from(sorted(KINDS)), min_size=1, max_size=6)
NUMBER = count(1)
START_NS = 1_700_000_000_000_000_000

Told = dict[tuple[str, tuple[tuple[str, str], ...], int], dict[str, Value]]
"""(measurement, tags, time) -> fields."""


def ask(base: str, path: str, parameters: dict[str, str], body: bytes = b"") -> Any:
    url = f"{base}{path}?{urllib.parse.urlencode(parameters)}"
    request = urllib.request.Request(url, body, method="POST")  # noqa: S310  # our own server
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # our own server
        return json.loads(answer.read() or b"null")


def judged(base: str, lines: Sequence[bytes]) -> Told:
    """What the server has after these lines alone; HTTPError where it refuses one."""
    database = f"d{next(NUMBER)}"
    ask(base, "/query", {"q": f"CREATE DATABASE {database}"})
    ask(base, "/write", {"db": database, "precision": "ns"}, b"\n".join(lines))
    query = {"db": database, "epoch": "ns", "q": "SELECT *::field FROM /.*/ GROUP BY *"}
    (result,) = ask(base, "/query", query)["results"]
    ask(base, "/query", {"q": f"DROP DATABASE {database}"})
    found: Told = {}
    for series in result.get("series", []):
        tags = tuple(sorted((key, value) for key, value in series.get("tags", {}).items() if value))
        for time_ns, *values in series["values"]:
            named = zip(series["columns"][1:], values, strict=True)
            found[series["name"], tags, time_ns] = {name: number(value) for name, value in named if value is not None}
    return found


def number(value: Value) -> Value:
    """A value as it stands there: the server writes whole floats without a point."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def named(text: str) -> str:
    """A name or tag as it is meant to arrive."""
    return plain(text).replace("\\", "/").replace('"', "'")


def field(name: str) -> str:
    """A field's name as it is meant to arrive."""
    return f"{name}_" if name in ("time", "_field", "_measurement") else name


def meant(rows: Sequence[Row], site: SiteView) -> Told:
    told: Told = {}
    for row in rows:
        view = site.equipment[row.equipment]
        tags = {"equipment": row.equipment, "site": site.id, "profile": view.profile, "location": view.location}
        fields: dict[str, Value] = {}
        for place, (point, value) in enumerate(zip(row.points, row.values, strict=True)):
            name = field(named(point))
            if isinstance(value, str):
                fields[name] = plain(value)
            elif value is not None:
                fields[name] = value if isinstance(value, bool) else float(value)
            if row.qualities is not None and row.qualities[place] != "good":
                fields[f"{name}_quality"] = row.qualities[place]
        if fields:
            arrived = tuple(sorted((key, named(value)) for key, value in tags.items() if value))
            told[view.equipment_class, arrived, row.time_ns] = fields
    return told


@st.composite
def worlds(draw: st.DrawFn) -> tuple[SiteView, list[Row]]:
    """A site with the worst of names, and rows of its equipment with the worst of values."""
    places = st.builds(EquipmentView, st.sampled_from(["pump", "bin", "meter"]), TEXTS, TEXTS, TEXTS)
    site = SiteView(draw(NAMES), draw(st.dictionaries(NAMES, places, min_size=1, max_size=3)))
    points = draw(POINTS)
    kinds = {field(named(point)): (point, kind) for point, kind in points.items()}
    kinds = {name: pair for name, pair in kinds.items() if f"{name}_quality" not in kinds}
    rows = []
    for seq in range(draw(st.integers(1, 6))):
        values = [draw(st.one_of(st.none(), KINDS[kind])) for _, kind in kinds.values()]
        marks = draw(st.one_of(st.none(), st.tuples(*[st.sampled_from([q.value for q in Quality])] * len(values))))
        kept, qualities = clean(values, marks)
        names = tuple(point for point, _ in kinds.values())
        equipment = draw(st.sampled_from(sorted(site.equipment)))
        rows.append(Row(seq, START_NS + seq, equipment, names, kept, qualities, None))
    return site, rows


def test_every_line_is_taken_and_reads_back_equal(influxdb1: str) -> None:
    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(world=worlds())
    @example(world=(SiteView("s", {"e": EquipmentView("pump", "p", "\\", "n")}), [worst("\\"), worst("a\\ ", 2)]))
    def check(world: tuple[SiteView, list[Row]]) -> None:
        site, rows = world
        written = Lines(site)
        lines = [line for row in rows if (line := written.line(row)) is not None]
        assert judged(influxdb1, lines or [b"# nothing"]) == meant(rows, site)

    check()


def worst(text: str, seq: int = 1) -> Row:
    return Row(seq, START_NS + seq, "e", (text, "value"), (text, 1), None, None)


@pytest.mark.parametrize("time_ns", [0, 1, -1, -(10**18), 4_102_444_800 * 10**9, 2**63 - 2, -(2**63) + 2], ids=str)
def test_readings_of_1970_and_of_the_far_future_are_taken_with_their_time(influxdb1: str, time_ns: int) -> None:
    site = SiteView("s", {"e": EquipmentView("pump", "p", "", "n")})
    line = Lines(site).line(Row(1, time_ns, "e", ("pressure",), (1.5,), None, None))
    assert line is not None
    [((_, _, stamp), fields)] = judged(influxdb1, [line]).items()
    assert (stamp, fields) == (time_ns, {"pressure": 1.5})


def test_the_same_line_twice_is_one_reading(influxdb1: str) -> None:
    site = SiteView("s", {"e": EquipmentView("pump", "p", "here", "n")})
    rows = [Row(n, START_NS + n, "e", ("pressure", "on"), (n + 0.5, True), None, None) for n in range(100)]
    lines = [line for row in rows if (line := Lines(site).line(row)) is not None]
    assert judged(influxdb1, [*lines, *lines[20:80], *lines]) == meant(rows, site)
