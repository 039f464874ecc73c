"""`courtyard read` and `courtyard write`: one value in, one value out.

Through the running daemon; where there is none and the site file is given, straight from the device.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from drivers.units import parse_seconds
from edge import loop
from edge.cli.client import Client, NoDaemon, connect, in_path
from edge.cli.command import (
    OK,
    UNREACHABLE,
    USAGE,
    WRONG,
    Ended,
    Subparsers,
    as_json,
    clean,
    command,
    language,
    options,
    print_json,
    print_table,
    say,
    signature,
    who,
)
from edge.cli.direct import Direct, Row
from edge.cli.line import console_of
from edge.cli.words import local, quality, value, words
from edge.site_file import load_site

T = TypeVar("T")
_SWITCH = {"true": True, "on": True, "false": False, "off": False}


def register(subparsers: Subparsers) -> None:
    """Add the commands."""
    read = subparsers.add_parser(
        "read", help="the newest value of points",
        epilog="exit code: 0 good or uncertain, 1 a value is bad, 3 a device is not answering",
    )  # fmt: skip
    read.add_argument("point", nargs="+", metavar="POINT", help="EQUIPMENT.POINT, e.g. pump-1.outlet_pressure")
    _direct_options(read)
    options(read)
    read.set_defaults(act=_read)
    write = subparsers.add_parser("write", help="give a command to a device; read back and journalled")
    write.add_argument("point", metavar="POINT")
    write.add_argument("value", metavar="VALUE", type=parse_value, help="on, off, true, false, a number, or text")
    write.add_argument("--reason", required=True, metavar="TEXT", help="why, for the journal")
    write.add_argument(
        "--for", type=_duration, default=None, dest="for_s", metavar="DURATION",
        help="for so long (1s to 24h), then it returns by itself to what it was before",
    )  # fmt: skip
    signature(write)
    _direct_options(write)
    options(write)
    write.set_defaults(act=_write)


def _direct_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, default=None, metavar="SITE.yaml",
        help="the site file: where no daemon of this site runs, straight from the device",
    )  # fmt: skip
    parser.add_argument(
        "--wait", type=_duration, default=10.0, metavar="DURATION",
        help="without a daemon: how long devices that speak by themselves are listened to (default: 10s)",
    )  # fmt: skip


def _duration(text: str) -> float:
    try:
        return parse_seconds(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _returns(done: Mapping[str, Any]) -> str:
    """When a command for a time returns, and to what; empty for one that stays."""
    override = done.get("override") or {}
    if override.get("event") != "set":
        return ""
    return f", returns to {override.get('returns_to')} at {local(override.get('until'))}"


def parse_value(text: str) -> bool | int | float | str:
    """A value as typed: a switch position, a number, else text."""
    if text.lower() in _SWITCH:
        return _SWITCH[text.lower()]
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


@command
def _read(arguments: argparse.Namespace) -> int:
    lang = language(arguments)

    def ask(daemon: Client) -> list[Row]:
        return [daemon.get(f"/api/v1/points/{in_path(point)}") for point in arguments.point]

    rows = _somehow(arguments, ask, lambda direct: direct.read(arguments.point))
    if as_json(arguments):
        print_json(rows)
    else:
        lines = ((row["id"], value(row, lang), quality(row, lang), local(row.get("time"))) for row in rows)
        print_table("", words("point value quality time", lang), lines)
    return verdict(rows)


def _somehow(
    arguments: argparse.Namespace, ask: Callable[[Client], T], go: Callable[[Direct], Coroutine[None, None, T]]
) -> T:
    """By the daemon where there is one, else straight from the device where a site file says how."""
    site = load_site(arguments.config) if arguments.config else None
    try:
        with connect(arguments) if site is None else console_of(arguments, site) as daemon:
            if site is not None and (other := daemon.get("/api/v1/site").get("id")) != site.info.id:
                raise NoDaemon(UNREACHABLE, f"the daemon at {daemon.url} is that of {other}")
            return ask(daemon)
    except NoDaemon as none:
        if site is None:
            raise Ended(none.code, f"{none}, or go straight to the device with --config SITE.yaml") from None
        reason = str(none).partition(";")[0]
    _tell(f"{reason}: straight from the device")
    return loop.run(go(Direct(site, arguments.wait, _tell)))


def _tell(text: str) -> None:
    print(f"courtyard: {clean(text)}", file=sys.stderr)


def verdict(rows: Iterable[Mapping[str, Any]]) -> int:
    """The exit code of values: whether a script may go on with them."""
    bad = {row.get("reason") for row in rows if row.get("quality") == "bad"}
    if not bad:
        return OK
    return UNREACHABLE if bad & {"comm", "stale"} else WRONG


@command
def _write(arguments: argparse.Namespace) -> int:
    who_asks = who(arguments)
    body = {"value": arguments.value, "who": who_asks, "reason": arguments.reason, "for_s": arguments.for_s}

    def ask(daemon: Client) -> Row:
        done: Row = daemon.post(f"/api/v1/points/{in_path(arguments.point)}/write", body)
        return done

    async def go(direct: Direct) -> Row:
        if arguments.for_s is not None:
            raise Ended(USAGE, "a command for a time needs the daemon, which returns it; leave out --for")
        return await direct.write(arguments.point, arguments.value, who_asks, arguments.reason)

    done = _somehow(arguments, ask, go)
    if as_json(arguments):
        print_json(done)
    else:
        after = say(done.get("result", "done"), "en")
        print(f"{arguments.point}: {done.get('before')} -> {done.get('after')} ({after}){_returns(done)}")
    if done.get("journalled") is False:
        _tell("not in the journal, which is the daemon's; note it there by hand where it matters")
    return OK if done.get("result", "done") == "done" else WRONG
