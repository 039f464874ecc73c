"""`courtyard export readings`: what was recorded, as CSV, JSON lines, InfluxDB line protocol or Parquet, at any size.

On the daemon's own box, or with `--state`, the files are read directly, in order of time over all points; of a
daemon on another box page by page over its API, one point after the other. Neither takes more memory for a year than
for an hour. Line protocol has the shape of the InfluxDB uplink: measurement = class, tags site, equipment, profile,
location.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from drivers.document import Faulty, nearest
from edge.cli.backup import print_note, store_errors
from edge.cli.client import Client, NoDaemon, connect, in_path
from edge.cli.command import OK, USAGE, WRONG, Ended, Subparsers, command, options, span, times
from edge.cli.formats import LATEST_NS, WRITERS, Names, Told, Write
from edge.cli.progress import progress

HOUR_NS = 3600 * 10**9
TOLD = 2_000
"""How many readings it takes for the progress to be told again."""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("export", help="data out")
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    readings = what.add_parser("readings", help="recorded readings of points")
    readings.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="P",
        help="may stand several times; * is any text",
    )
    readings.add_argument("--all", action="store_true", help="every point")
    span(readings, "an hour ago; with --all: any")
    readings.add_argument(
        "--format", choices=(*WRITERS, "parquet"), default="csv", help="lp: InfluxDB line protocol (csv)"
    )
    readings.add_argument("--output", type=Path, default=None, metavar="FILE", help="(standard output)")
    readings.add_argument("--state", type=Path, default=None, metavar="DIR", help="state directory (the daemon's)")
    readings.add_argument(
        "--config", type=Path, default=None, metavar="SITE.yaml", help="site file, for units and tags (the daemon's)"
    )
    options(readings)
    readings.set_defaults(act=_export)


@dataclass
class Source:
    """Where readings come from."""

    names: Names
    points: Sequence[str]
    """All that there are."""
    zone: str
    client: Client | None = None
    path: Path | None = None
    """The log, where it is read directly."""


@command
def _export(arguments: argparse.Namespace) -> int:
    if bool(arguments.point) == arguments.all:
        raise Ended(USAGE, "say which points: --point P, with * and ? for any text, or --all")
    if arguments.format == "parquet" and arguments.output is None:
        raise Ended(USAGE, "Parquet is no text for a terminal: say --output FILE")
    times(arguments, "UTC")  # a mistake in it is told before a daemon is looked for
    with store_errors(), _source(arguments) as source:
        points = None if arguments.all else _chosen(arguments.point, source.points)
        start, end = _span(arguments, source.zone)
        with _writer(arguments, source.names) as write, progress("export") as told:
            first = None
            for count, reading in enumerate(_readings(source, points, start, end)):
                write(reading)
                first = reading.time_ns if first is None else first
                if count % TOLD == 0:
                    told(reading.time_ns - first, end - first)
    return OK


# --- from where


@contextmanager
def _source(arguments: argparse.Namespace) -> Iterator[Source]:
    if arguments.state is not None:
        yield _local(arguments.state, arguments.config)
        return
    try:
        with connect(arguments) as daemon:
            place = daemon.get("/api/v1/place")
            state = Path(place["state"])
            if (state / "readings.db").is_file():
                yield _local(state, arguments.config or (Path(place["config"]) if place.get("config") else None))
            else:
                yield _remote(daemon)
    except NoDaemon as none:
        raise Ended(none.code, f"{none}; or say which state directory with --state") from None


def _local(state: Path, config: Path | None) -> Source:
    from edge.store.reader import open_reader
    from edge.store.state import READINGS

    names, zone = Names(), "UTC"
    if config is not None:
        from edge.site_file import load_site

        try:
            site = load_site(config)
        except Faulty as faulty:
            print_note(f"{config} has {len(faulty.faults)} mistakes: units and places are left out")
        else:
            zone = site.info.timezone
            kinds = {
                each.id: {"class": each.equipment_class, "profile": each.profile.id, "location": each.location}
                for each in site.equipment.values()
            }
            names = Names(site.info.id, {point.id: point.unit for point in site.points}, kinds)
    with open_reader(state / READINGS) as reader:
        return Source(names, sorted(reader.points()), zone, path=state / READINGS)


def _remote(daemon: Client) -> Source:
    site = daemon.get("/api/v1/site")
    points = daemon.get("/api/v1/points")
    kinds = {
        row["id"]: {"class": row["class"], "profile": row["profile"], "location": row["location"]}
        for row in daemon.get("/api/v1/equipment")
    }
    names = Names(site["id"], {row["id"]: row["unit"] for row in points}, kinds)
    return Source(names, [row["id"] for row in points], str(site.get("timezone", "UTC")), client=daemon)


def _readings(source: Source, points: Sequence[str] | None, start: int, end: int) -> Iterator[Told]:
    if source.path is not None:
        from edge.store.reader import open_reader

        with open_reader(source.path) as reader:
            for page in reader.pages(points, start, end):
                yield from (Told(*sample) for sample in page)
        return
    if source.client is None:
        raise RuntimeError("a source is a file or a daemon")
    for point in points if points is not None else source.points:
        for row in pages(source.client, point, str(start), str(end)):
            quality = row["quality"] + (f"/{row['reason']}" if row.get("reason") else "")
            yield Told(row["time_ns"], point, row["value"], quality)


def pages(daemon: Client, point: str, start: str | None, end: str | None) -> Iterator[dict[str, Any]]:
    """All readings of a span, request after request until one has none."""
    while rows := daemon.get("/api/v1/readings", point=point, from_=start, to=end):
        yield from rows
        start = str(rows[-1]["time_ns"] + 1)


def _chosen(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """The points that are asked for; one that there is not is told."""
    chosen: dict[str, None] = {}
    for name in asked:
        found = [point for point in known if fnmatchcase(point, name)] if set("*?[") & set(name) else [name]
        if not found or not set(found) <= set(known):
            raise Ended(USAGE, f"no point {in_path(name) if not name.isprintable() else name}{nearest(name, known)}")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _span(arguments: argparse.Namespace, zone: str) -> tuple[int, int]:
    start, end = times(arguments, zone)
    if end is None:
        end = time.time_ns()
    if start is None:
        start = -LATEST_NS if arguments.all else end - HOUR_NS
    if start > end:
        raise Ended(USAGE, "--from is after --to; swap them")
    return start, end


# --- whereto


@contextmanager
def _writer(arguments: argparse.Namespace, names: Names) -> Iterator[Write]:
    """A file that is there at once when it is whole, or standard output."""
    path: Path | None = arguments.output
    part = path.with_name(f"{path.name}.part") if path else None
    try:
        if arguments.format == "parquet":
            from edge.cli.parquet import parquet_writer

            with parquet_writer(part or Path("-"), names) as write:
                yield write
        else:
            with part.open("w", encoding="utf-8", newline="") if part else nullcontext(sys.stdout) as out:
                yield WRITERS[arguments.format](out, names)
        if part and path:
            part.replace(path)
    except BrokenPipeError:
        raise
    except OSError as error:
        code = USAGE if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) else WRONG
        raise Ended(code, f"{path or 'output'} cannot be written: {error.strerror or error}") from error
    finally:
        if part:
            part.unlink(missing_ok=True)
