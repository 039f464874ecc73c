"""`courtyard probe`: a range of a device with every plausible meaning side by side."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from drivers.driver import DriverError, Refused
from edge import loop
from edge.cli.command import (
    UNREACHABLE,
    USAGE,
    WRONG,
    Ended,
    Subparsers,
    command,
    options,
    print_table,
    result,
)
from edge.cli.line import argument, line_of, refuse_if_owned
from edge.cli.scan import numbers, parities
from edge.clock import SystemClock


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "probe", help="reads a register range and shows every plausible meaning of it",
        epilog="A value with ? behind it can hardly be meant so. "
        "exit code: 0 read, 1 the device refuses, 3 it does not answer or the line cannot be opened",
    )  # fmt: skip
    argument(parser)
    parser.add_argument("--unit", type=int, required=True, metavar="N", help="address of the device on its line")
    parser.add_argument("--register", default="holding", metavar="TABLE", help="holding, input, coil or discrete")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="N", help="first address, from 0")
    parser.add_argument("--count", type=int, default=10, metavar="N", help="how many (default: 10)")
    parser.add_argument("--baud", type=numbers, default=(), metavar="N", help="of a serial line (default: 9600)")
    parser.add_argument("--parity", type=parities, default=(), metavar="P", help="of a serial line (default: N)")
    options(parser)
    parser.set_defaults(act=_probe)


@command
def _probe(arguments: argparse.Namespace) -> int:
    over: dict[str, Any] = {}
    if arguments.baud:
        over["baudrate"] = arguments.baud[0]
    if arguments.parity:
        over["parity"] = arguments.parity[0]
    line = line_of(arguments, over)
    if line.driver.probe is None:
        raise Ended(USAGE, f"devices of type {line.settings.type} speak by themselves; there is nothing to probe")
    refuse_if_owned(arguments, line)
    asked = {key: getattr(arguments, key) for key in ("unit", "register", "first", "count")}
    try:
        rows = loop.run(_read(line.driver.probe(line.settings, asked, SystemClock())))
    except ValueError as error:
        raise Ended(USAGE, str(error)) from None
    except Refused as error:
        raise Ended(WRONG, str(error)) from None
    except DriverError as error:
        raise Ended(UNREACHABLE, str(error)) from None
    return result(arguments, rows, lambda found, _: _show(found))


async def _read(probe: Any) -> Sequence[Mapping[str, str]]:
    rows: Sequence[Mapping[str, str]] = await probe
    return rows


def _show(rows: Sequence[Mapping[str, str]]) -> None:
    """Columns that belong together as one table each: those of one word's name, then those of each family.

    `float32 ABCD` and `float32 CDAB` are one family; the first column stands in every table.
    """
    key = next(iter(rows[0]))
    families: dict[str, list[str]] = {"": []}
    for column in rows[0]:
        family = column.partition(" ")[0] if " " in column else ""
        families.setdefault(family, []).append(column)
    for columns in families.values():
        shown = columns if key in columns else [key, *columns]
        lines = [[row.get(column, "") for column in shown] for row in rows if columns[-1] in row]
        if any(any(line[1:]) for line in lines):  # digits that are none in any row are no table
            print_table("", shown, lines)
            print()
