"""`courtyard import`: readings of a file that `export` wrote, or another program in its form, into the log.

The whole file is read and judged before the first reading is taken: what is wrong is told as FILE:LINE, and nothing
is imported unless `--skip-bad` says so. The readings come after the newest in the log and have their own times, so
history and pages show them where they belong, and the uplinks send them on as late ones.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Collection, Iterator
from itertools import groupby
from pathlib import Path

from drivers.document import nearest
from edge.cli.backup import store_errors
from edge.cli.command import OK, USAGE, WRONG, Ended, Subparsers, as_json, command, options, print_json
from edge.cli.formats import READERS, Line, Told, stamp
from edge.cli.progress import progress
from edge.timekeeping import EARLIEST_NS

SHOWN = 20
"""Mistakes that are told one by one."""
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".lp": "lp", ".parquet": "parquet"}
COMMIT = 5_000
"""Readings of one commit."""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "import", help="readings of a file into the log",
        description="Reads what courtyard export writes. Stop the daemon first. With --config only points that the "
        "site file has are taken. exit code: 0 all taken, 1 something is wrong in the file",
    )  # fmt: skip
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="state directory")
    parser.add_argument(
        "--format", choices=(*READERS, "parquet"), default=None, help="(by the file's name: .csv .jsonl .lp .parquet)"
    )
    parser.add_argument("--config", type=Path, default=None, metavar="SITE.yaml", help="site file, to check points")
    parser.add_argument("--skip-bad", action="store_true", help="take the good lines although others are wrong")
    options(parser, remote=False)
    parser.set_defaults(act=_import)


@command
def _import(arguments: argparse.Namespace) -> int:
    path: Path = arguments.file
    form = arguments.format or ENDINGS.get(path.suffix)
    if form is None:
        raise Ended(USAGE, f"{path.name} does not say what it is; add --format csv, jsonl, lp or parquet")
    if not path.is_file():
        raise Ended(USAGE, f"there is no file {path}")
    judge = Judge(path, form, _known(arguments.config), time.time_ns())
    good, bad = judge.all()
    if bad and not arguments.skip_bad:
        raise Ended(WRONG, f"{bad} lines of {path} are wrong, nothing was imported; mend them, or add --skip-bad")
    with store_errors(), progress("import") as told:
        asyncio.run(_take(arguments.state, judge.readings(), good, told))
    if as_json(arguments):
        print_json({"imported": good, "skipped": bad})
    else:
        print(f"{good} readings imported" + (f", {bad} lines left out" if bad else ""))
    return WRONG if bad else OK


def _known(config: Path | None) -> Collection[str] | None:
    if config is None:
        return None
    from edge.site_file import load_site

    return {point.id for point in load_site(config).points}


def _lines(path: Path, form: str) -> Iterator[Line]:
    if form == "parquet":
        from edge.cli.parquet import parquet_reader

        yield from parquet_reader(path)
        return
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as source:
        yield from READERS[form](source)


class Judge:
    """Says which lines of a file are readings of this site and of a time that can be; the same each time."""

    def __init__(self, path: Path, form: str, known: Collection[str] | None, now_ns: int) -> None:
        """`known`: the points that there are; None: any. Raises Ended where the box does not know the time."""
        from edge.store.packer import AHEAD_NS

        if now_ns < EARLIEST_NS:
            raise Ended(
                WRONG, f"this box's clock says {stamp(now_ns)}, readings cannot be judged by it; set it first"
            )
        self._path, self._form, self._known = path, form, known
        self._latest_ns = now_ns + AHEAD_NS

    def all(self) -> tuple[int, int]:
        """How many lines are good, how many bad; the first bad ones are told."""
        good = bad = 0
        for number, found in self._checked():
            if isinstance(found, Told):
                good += 1
                continue
            bad += 1
            if bad <= SHOWN:
                print(f"{self._path}:{number}: {found}", file=sys.stderr)
        if bad > SHOWN:
            print(f"{self._path}: and {bad - SHOWN} more", file=sys.stderr)
        return good, bad

    def readings(self) -> Iterator[Told]:
        """The good ones."""
        return (found for _, found in self._checked() if isinstance(found, Told))

    def _checked(self) -> Iterator[Line]:
        for number, found in _lines(self._path, self._form):
            wrong = self._wrong(found) if isinstance(found, Told) else None
            yield number, wrong or found

    def _wrong(self, told: Told) -> str | None:
        if self._known is not None and told.point not in self._known:
            return f"no point {told.point!r} in the site file{nearest(told.point, self._known)}"
        if told.time_ns > self._latest_ns:
            return f"time is {stamp(told.time_ns)}, in the future; mend it, or this box's clock, or leave it out"
        if told.time_ns < EARLIEST_NS:
            return (
                f"time is {stamp(told.time_ns)}, before {stamp(EARLIEST_NS)[:10]}: its clock was not set, or the "
                "time is not in ns; mend it, or leave it out"
            )
        return None


def _batches(readings: Iterator[Told]) -> Iterator[list[Told]]:
    """What one equipment says at one time is one batch, as it was when it was recorded."""
    for _, group in groupby(readings, lambda each: (each.time_ns, each.point.rpartition(".")[0])):
        batch: dict[str, Told] = {}
        for each in group:
            if each.point in batch:  # twice at one time: both are kept
                yield list(batch.values())
                batch.clear()
            batch[each.point] = each
        yield list(batch.values())


async def _take(state: Path, readings: Iterator[Told], total: int, told: Callable[[float, float], None]) -> None:
    from edge.eras import end_eras
    from edge.store.lock import state_lock
    from edge.store.readings import open_readings
    from edge.store.state import LEDGER, READINGS, refuse_newer_state

    count = uncommitted = 0
    with state_lock(state):
        refuse_newer_state(state)
        async with open_readings(state / READINGS, 3600) as store:
            end_eras(state / LEDGER, store)
            for batch in _batches(readings):
                names = tuple(each.point.rpartition(".")[2] for each in batch)
                values, marks = [each.value for each in batch], [each.quality for each in batch]
                store.append(batch[0].point.rpartition(".")[0], names, values, marks, batch[0].time_ns)
                count += len(batch)
                if count - uncommitted >= COMMIT:
                    uncommitted = count
                    await store.flush()
                    if store.trouble:
                        break
                    told(count, total)
            await store.flush()
            if store.trouble:
                raise Ended(WRONG, store.trouble)
