"""`courtyard read` and `courtyard write`: one value in, one value out, through the running daemon."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping
from typing import Any

from drivers.units import parse_seconds
from edge.cli.client import connect, in_path
from edge.cli.command import (
    OK,
    UNREACHABLE,
    WRONG,
    Subparsers,
    as_json,
    command,
    language,
    options,
    print_json,
    print_table,
    say,
    signature,
    who,
)
from edge.cli.words import local, quality, value, words

_SWITCH = {"true": True, "on": True, "false": False, "off": False}


def register(subparsers: Subparsers) -> None:
    """Add the commands."""
    read = subparsers.add_parser(
        "read", help="the newest value of points",
        epilog="exit code: 0 good or uncertain, 1 a value is bad, 3 a device is not answering",
    )  # fmt: skip
    read.add_argument("point", nargs="+", metavar="POINT", help="EQUIPMENT.POINT, e.g. pump-1.outlet_pressure")
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
    options(write)
    write.set_defaults(act=_write)


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
    with connect(arguments) as daemon:
        rows = [daemon.get(f"/api/v1/points/{in_path(point)}") for point in arguments.point]
    if as_json(arguments):
        print_json(rows)
    else:
        lines = ((row["id"], value(row, lang), quality(row, lang), local(row.get("time"))) for row in rows)
        print_table("", words("point value quality time", lang), lines)
    return verdict(rows)


def verdict(rows: Iterable[Mapping[str, Any]]) -> int:
    """The exit code of values: whether a script may go on with them."""
    bad = {row.get("reason") for row in rows if row.get("quality") == "bad"}
    if not bad:
        return OK
    return UNREACHABLE if bad & {"comm", "stale"} else WRONG


@command
def _write(arguments: argparse.Namespace) -> int:
    body = {
        "value": arguments.value, "who": who(arguments), "reason": arguments.reason, "for_s": arguments.for_s
    }  # fmt: skip
    with connect(arguments) as daemon:
        done = daemon.post(f"/api/v1/points/{in_path(arguments.point)}/write", body)
    if as_json(arguments):
        print_json(done)
    else:
        after = say(done.get("result", "done"), "en")
        print(f"{arguments.point}: {done.get('before')} -> {done.get('after')} ({after}){_returns(done)}")
    return OK if done.get("result", "done") == "done" else WRONG
