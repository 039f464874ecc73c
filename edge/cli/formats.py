"""Readings as text and back: CSV, JSON lines, InfluxDB line protocol. Pure, but for the file that is given.

What comes in or goes out: `Told` readings. Each format keeps time (to the ns), point, value with its type, and
quality. In CSV a text that would be taken for something else, or that a spreadsheet would run, has an apostrophe
before it. In line protocol control characters are blanks, and integers beyond 64 bits with a sign are floats.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TextIO

from drivers.point import Quality, Value
from edge.console.timespan import parse_time_ns

COLUMNS = ("time", "point", "value", "unit", "quality", "reason")
EARLIEST_NS, LATEST_NS = -(2**63), 2**63 - 1
LONGEST_CELL = 1 << 24
"""Of CSV; a quotation mark that is never closed takes no more memory than that."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUOTED = re.compile(r'[",\r\n]')
_INTEGER = re.compile(r"[+-]?\d{1,40}\Z", re.ASCII)
_QUALITIES = frozenset(quality.value for quality in Quality)
_INT64 = range(-(2**63), 2**63)
Line = tuple[int, "Told | str"]
"""Number of the line, and what stands there: a reading, or why there is none."""


class Told(NamedTuple):
    """One reading."""

    time_ns: int
    point: str
    value: Value
    quality: str = Quality.GOOD.value


@dataclass
class Names:
    """What a site file adds to the bare readings."""

    site: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    """By point."""
    equipment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By id: class, profile, location."""


Write = Callable[[Told], None]


class Wrong(ValueError):
    """Why a line is no reading."""


def stamp(time_ns: int) -> str:
    """ISO 8601 in UTC: to the ms, or as fine as it is."""
    seconds, rest = divmod(time_ns, 10**9)
    digits = f"{rest:09}"
    kept = digits[:3] if digits.endswith("000000") else digits.rstrip("0")
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%4Y-%m-%dT%H:%M:%S')}.{kept}Z"


# --- CSV


def csv_writer(out: TextIO, names: Names) -> Write:
    """A header line, then one line a reading."""
    out.write(",".join(COLUMNS) + "\n")

    def write(told: Told) -> None:
        level, _, reason = told.quality.partition("/")
        unit = names.units.get(told.point, "")
        cells = (stamp(told.time_ns), told.point, _cell(told.value), unit, level, reason)
        out.write(",".join(map(_quoted, cells)) + "\n")

    return write


def _quoted(cell: str) -> str:
    """A cell as RFC 4180 has it; Python's own writer leaves a bare carriage return unquoted."""
    return '"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    return value if _is_plain_text(value) else f"'{value}"


def _is_plain_text(text: str) -> bool:
    return text[:1] not in ("", "'", "=", "+", "-", "@", "\t", "\r") and isinstance(_typed(text), str)


def _typed(text: str) -> Value:
    """A cell as it looks."""
    if text == "":
        return None
    if text[0] == "'":
        return text[1:]
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.match(text):
        return int(text)
    try:
        return float(text) if text[-1].isdigit() or text[-1] == "." else text
    except ValueError:
        return text


def csv_reader(source: TextIO) -> Iterator[Line]:
    """Readings of a CSV file with our header; the columns may stand in any order, unit may be missing."""
    rows = _rows(source)
    number, head = next(rows, (1, []))
    lacking = [column for column in ("time", "point", "value") if column not in head]
    if isinstance(head, str) or lacking:
        why = head if isinstance(head, str) else f"the first line has no column {', '.join(lacking)}"
        yield number, f"{why}; it should be {','.join(COLUMNS)}"
        return
    for number, row in rows:
        if isinstance(row, str):
            yield number, row
        elif len(row) != len(head):
            yield number, f"has {len(row)} columns, the first line has {len(head)}"
        else:
            yield number, _of_cells(dict(zip(head, row, strict=True)))


def _rows(source: TextIO) -> Iterator[tuple[int, list[str] | str]]:
    """The rows that are not empty, and where one is no CSV, why: those after it are looked at all the same."""
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(source, strict=True)
    while True:
        try:
            if row := next(reader):
                yield reader.line_num, row
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, f"is no CSV: {error}"


def _of_cells(cells: Mapping[str, str]) -> Told | str:
    try:
        quality = checked_quality(cells.get("quality") or "good", cells.get("reason"))
    except Wrong as wrong:
        return str(wrong)
    return checked(cells["time"], cells["point"], _typed(cells["value"]), quality)


# --- JSON lines


def jsonl_writer(out: TextIO, names: Names) -> Write:
    """One object a line."""

    def write(told: Told) -> None:
        level, _, reason = told.quality.partition("/")
        unit = names.units.get(told.point, "")
        body = {"time": stamp(told.time_ns), "point": told.point, "value": told.value, "unit": unit}
        body |= {"quality": level, "reason": reason or None}
        print(json.dumps(body, ensure_ascii=False), file=out)

    return write


def jsonl_reader(source: TextIO) -> Iterator[Line]:
    """Readings of a file with one object a line."""
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)
            value = body["value"]
            if not isinstance(value, bool | int | float | str | None):
                raise Wrong(f"value is {str(value)[:40]!r}; a value is a number, a text, true, false or null")
            quality = checked_quality(body.get("quality", "good"), body.get("reason"))
            yield number, checked(str(body["time"]), body["point"], value, quality)
        except Wrong as wrong:
            yield number, str(wrong)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            yield number, f"is no reading as JSON: {type(error).__name__} {error}"


# --- line protocol


def lp_writer(out: TextIO, names: Names) -> Write:
    """One line a reading: measurement is the equipment's class, tags equipment, location, profile, site."""
    heads: dict[str, str] = {}

    def write(told: Told) -> None:
        equipment, _, name = told.point.rpartition(".")
        if equipment not in heads:
            heads[equipment] = _head(equipment, names)
        fields = _fields(_escape(name), told)
        if fields:
            print(f"{heads[equipment]} {fields} {told.time_ns}", file=out)

    return write


def _head(equipment: str, names: Names) -> str:
    known = names.equipment.get(equipment, {})
    tags = {"equipment": equipment, "site": names.site} | {key: known.get(key, "") for key in ("profile", "location")}
    parts = [f"{key}={_escape(text)}" for key, text in sorted(tags.items()) if text]
    return ",".join([_escape(known.get("class") or "unknown"), *parts])


def _fields(name: str, told: Told) -> str:
    fields = [] if told.value is None else [f"{name}={_field(told.value)}"]
    if told.quality != Quality.GOOD.value or told.value is None:
        fields.append(f"{name}_quality={_field(told.quality)}")
    return ",".join(fields)


def _escape(text: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", _CONTROL.sub(" ", text).replace("\\", "/").replace('"', "'"))


def _field(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i" if value in _INT64 else repr(float(value))
    if isinstance(value, float):
        return repr(value)
    text = _CONTROL.sub(" ", str(value)).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


_LP = re.compile(
    r"(?P<head>(?:\\.|[^\s\\])+)[ ]"
    r'(?P<fields>(?:"(?:\\.|[^"\\])*"|\\.|[^\s"\\])+)(?:[ ](?P<time>-?\d{1,40}))?\Z',
    re.DOTALL,
)
_LP_FIELD = re.compile(r'(?P<name>(?:\\.|[^,=\\])+)=(?P<value>"(?:\\.|[^"\\])*"|[^,"]+)(?:,|\Z)', re.DOTALL)
_LP_TAG = re.compile(r",(?P<key>(?:\\.|[^,=\\])+)=(?P<value>(?:\\.|[^,\\])+)")


def lp_reader(source: TextIO) -> Iterator[Line]:
    """Readings of line protocol in the shape of our uplink: one for each field and its `_quality`."""
    for number, line in enumerate(source, 1):
        text = line.rstrip("\r\n")
        if not text.strip() or text.startswith("#"):
            continue
        try:
            for told in _of_line(text):
                yield number, told
        except Wrong as wrong:
            yield number, str(wrong)


def _of_line(text: str) -> Iterator[Told | str]:
    match = _LP.match(text)
    if match is None:
        raise Wrong("is no line protocol: measurement,tags fields time")
    tags = {_unescape(each["key"]): _unescape(each["value"]) for each in _LP_TAG.finditer(match["head"])}
    if "equipment" not in tags:
        raise Wrong("has no tag equipment, so that nobody knows whose it is")
    if match["time"] is None:
        raise Wrong("has no time")
    fields = {}
    place = 0
    while place < len(match["fields"]):
        each = _LP_FIELD.match(match["fields"], place)
        if each is None:
            raise Wrong(f"has a field that cannot be read: {match['fields'][place : place + 40]}")
        fields[_unescape(each["name"])] = _lp_value(each["value"])
        place = each.end()
    # A quality is a text: a number with such a name is a point of its own, like a signal's link_quality.
    told = {name: mark for name, mark in fields.items() if name.endswith("_quality") and isinstance(mark, str)}
    marks = {name.removesuffix("_quality"): mark for name, mark in told.items()}
    for name in dict.fromkeys([name for name in fields if name not in told] + list(marks)):
        quality = checked_quality(*marks.get(name, "good").partition("/")[::2])
        yield checked(int(match["time"]), f"{tags['equipment']}.{name}", fields.get(name), quality)


def _lp_value(text: str) -> Value:
    if text[0] == '"':
        return re.sub(r"\\([\"\\])", r"\1", text[1:-1])
    if text in ("t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"):
        return text[0] in "tT"
    try:
        return int(text[:-1]) if text[-1] in "iu" else float(text)
    except ValueError:
        raise Wrong(f"has the value {text[:40]}, which is none of line protocol") from None


def _unescape(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


# --- what all check


def checked_quality(level: Any, reason: Any) -> str:
    """A quality that there is. Raises Wrong."""
    quality = f"{level}/{reason}" if reason else str(level)
    if quality not in _QUALITIES:
        raise Wrong(f"quality is {quality[:40]!r}; there are {', '.join(sorted(_QUALITIES))}")
    return quality


def checked(time: str | int, point: Any, value: Value, quality: str) -> Told | str:
    """A reading of what stands in a file, or why it is none."""
    equipment, _, name = str(point).rpartition(".")
    if not isinstance(point, str) or not equipment or not name:
        return f"point is {str(point)[:60]!r}; write EQUIPMENT.POINT"
    if not f"{point}{value}".isprintable() and not _is_utf8(f"{point}{value}"):
        return "is not UTF-8"
    try:
        time_ns = time if isinstance(time, int) else parse_time_ns(time, "UTC")
    except ValueError as error:
        return str(error)
    if not EARLIEST_NS <= time_ns <= LATEST_NS:
        return f"time is {str(time)[:40]}; the years 1678 to 2262 can be kept"
    return Told(time_ns, point, value, quality)


def _is_utf8(text: str) -> bool:
    """Whether the file was: what was not, was read as half characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


WRITERS: dict[str, Callable[[TextIO, Names], Write]] = {"csv": csv_writer, "jsonl": jsonl_writer, "lp": lp_writer}
READERS: dict[str, Callable[[TextIO], Iterator[Line]]] = {"csv": csv_reader, "jsonl": jsonl_reader, "lp": lp_reader}
