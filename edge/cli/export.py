"""`courtyard export readings`: what was recorded, as CSV, JSON lines or InfluxDB line protocol.

One request gives at most the daemon's bound of readings, oldest first; the next begins behind the last of them.
Line protocol has the shape of the InfluxDB uplink: measurement = class, tags site, equipment, profile, location.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

from edge.cli.client import Client, connect, in_path
from edge.cli.command import OK, USAGE, WRONG, Ended, Subparsers, command, options

Row = dict[str, Any]


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("export", help="data out")
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    readings = what.add_parser("readings", help="recorded readings of points")
    readings.add_argument("--point", required=True, action="append", metavar="P", help="may stand several times")
    readings.add_argument(
        "--from", dest="start", default=None, metavar="T", help="ISO 8601 or Unix time (an hour ago)"
    )
    readings.add_argument("--to", dest="end", default=None, metavar="T", help="ISO 8601 or Unix time (now)")
    readings.add_argument(
        "--format", choices=("csv", "jsonl", "lp"), default="csv", help="lp: InfluxDB line protocol"
    )
    readings.add_argument("--output", type=Path, default=None, metavar="FILE", help="(standard output)")
    options(readings)
    readings.set_defaults(act=_export)


@command
def _export(arguments: argparse.Namespace) -> int:
    with connect(arguments) as daemon:
        site = daemon.get("/api/v1/site")
        points = [daemon.get(f"/api/v1/points/{in_path(name)}") for name in arguments.point]
        try:
            with _target(arguments.output) as out:
                write = _WRITERS[arguments.format](out)
                for point in points:
                    equipment = daemon.get(f"/api/v1/equipment/{in_path(point['equipment'])}")
                    for reading in pages(daemon, point["id"], arguments.start, arguments.end):
                        write({"site": site, "equipment": equipment, "point": point, **reading})
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Ended(WRONG, f"{arguments.output or 'output'} cannot be written: {error.strerror}") from error
    return OK


def _target(path: Path | None) -> Any:
    if path is None:
        return nullcontext(sys.stdout)
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise Ended(USAGE, f"{path} cannot be written: {error.strerror}; choose another file") from error


def pages(daemon: Client, point: str, start: str | None, end: str | None) -> Iterator[Row]:
    """All readings of a span, request after request until one has none."""
    while rows := daemon.get("/api/v1/readings", point=point, from_=start, to=end):
        yield from rows
        start = str(rows[-1]["time_ns"] + 1)


Write = Callable[[Row], None]


def _csv(out: TextIO) -> Write:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("time", "point", "value", "unit", "quality", "reason"))

    def write(row: Row) -> None:
        point = row["point"]
        writer.writerow(
            (row["time"], point["id"], _plain(row["value"]), point["unit"], row["quality"], row.get("reason") or "")
        )

    return write


def _plain(value: object) -> object:
    """`true` and `false` as in JSON, nothing for nothing; text that a spreadsheet would run is kept from it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@"):
        return f"'{value}"
    return "" if value is None else value


def _jsonl(out: TextIO) -> Write:
    def write(row: Row) -> None:
        fields = {
            "time": row["time"],
            "point": row["point"]["id"],
            "value": row["value"],
            "unit": row["point"]["unit"],
        }
        print(
            json.dumps({**fields, "quality": row["quality"], "reason": row.get("reason")}, ensure_ascii=False),
            file=out,
        )

    return write


def _lp(out: TextIO) -> Write:
    def write(row: Row) -> None:
        line = line_protocol(row)
        if line is not None:
            print(line, file=out)

    return write


def line_protocol(row: Row) -> str | None:
    """One reading as a line; None where there is nothing to say."""
    equipment, name = row["equipment"], _escape(row["point"]["name"])
    tags = {
        "site": row["site"]["id"], "equipment": equipment["id"], "profile": equipment["profile"],
        "location": equipment["location"],
    }  # fmt: skip
    quality = row["quality"] + (f"/{row['reason']}" if row.get("reason") else "")
    fields = [] if row["value"] is None else [f"{name}={_field(row['value'])}"]
    if quality != "good":
        fields.append(f"{name}_quality={_field(quality)}")
    if not fields:
        return None
    head = ",".join(
        [_escape(equipment["class"]), *(f"{key}={_escape(tags[key])}" for key in sorted(tags) if tags[key])]
    )
    return f"{head} {','.join(fields)} {row['time_ns']}"


def _escape(text: object) -> str:
    return re.sub(r"([,= ])", r"\\\1", str(text).replace("\n", " ").rstrip("\\"))


def _field(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


_WRITERS: dict[str, Callable[[TextIO], Write]] = {"csv": _csv, "jsonl": _jsonl, "lp": _lp}
