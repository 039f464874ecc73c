"""`courtyard check`: every mistake of a site file, then how full each line will be and who fills it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from drivers.document import Fault, Faulty
from edge.cli.command import OK, USAGE, WRONG, Ended, Subparsers, as_json, command, options, print_json, print_table

_GRADES = {"high": "above 70 %: no room for retries", "over": "does not fit", "ok": ""}


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check", help="validates a site file and shows the load of each connection",
        description="Validates a site file, its profiles and rules; shows what each line will carry, and who costs "
        "how much of it. exit code: 0 all well, 1 something is to mend",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="SITE.yaml", help="the site file")
    parser.add_argument(
        "-v", "--loads", action="store_true", help="every request: what it reads, how often, and what it costs"
    )
    parser.add_argument(
        "--points", action="store_true", help="every point: how often it is read, and how old it can become"
    )
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of the site file, for editors, and end"
    )
    options(parser, remote=False)
    parser.set_defaults(act=_check)


@command
def _check(arguments: argparse.Namespace) -> int:
    from edge.load import alarm_points
    from edge.site_file import load_site

    if arguments.schema:
        from edge.site_schema import site_schema

        print_json(site_schema())
        return OK
    if arguments.config is None:
        raise Ended(USAGE, "say which site file: --config SITE.yaml")
    try:
        site = load_site(arguments.config)
    except Faulty as faulty:
        _complain(faulty.faults, json=as_json(arguments))
        return WRONG
    urgent = alarm_points(site.rules)
    rows = [_row(each, urgent) for each in site.connections.values()]
    if as_json(arguments):
        print_json({"ok": True, "connections": rows})
        return OK
    print(f"{site.info.name} ({site.info.id}): {len(site.equipment)} equipment, {len(site.rules)} alarm rules, "
          f"{len(site.plans)} upkeep plans: all well")  # fmt: skip
    _summary(rows)
    for row in rows:
        _who(row)
        if arguments.loads:
            _requests(row)
        if arguments.points:
            _points(row)
    return OK


def _complain(faults: Sequence[Fault], *, json: bool) -> None:
    if json:
        keys = ("file", "line", "column", "path", "message")
        print_json({"ok": False, "faults": [{key: getattr(fault, key) for key in keys} for fault in faults]})
        return
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(faults)} to mend", file=sys.stderr)


def _row(connection: Any, urgent: Collection[str]) -> dict[str, Any]:
    """One connection: what it carries, and its bus calculus."""
    from edge.load import load_of
    from edge.relief import advice
    from edge.site import load_grade

    load = load_of(connection.driver, connection.requests, urgent, connection.settings.at_once)
    grade = load_grade(load.total)
    tight = any(each.tight for each in load.requests)
    way = (connection.driver, connection.settings, connection.devices, connection.requests)
    return {
        "connection": connection.name,
        "type": connection.settings.type,
        "equipment": len(connection.devices),
        "points": sum(len(device.points) for device in connection.devices),
        "requests": len(connection.requests),
        "polled": connection.driver.plan is not None,
        "grade": grade,
        "advice": advice(*way) if grade != "ok" else None,
        "tight": tight,
        **load.row(),
        "ages": load.ages(),
    }


def _summary(rows: Sequence[dict[str, Any]]) -> None:
    lines = (
        (
            row["connection"], row["type"], row["equipment"], row["points"], row["requests"] or "-",
            f"{row['load']:.1%}" if row["requests"] else "nothing is read" if row["polled"] else "listens",
            f"{row['worst_age_s']:.2f} s" if row["requests"] else "",
            _GRADES[row["grade"]] or ("turns may be skipped at times" if row["tight"] else ""),
        )
        for row in rows
    )  # fmt: skip
    head = ("connection", "type", "equipment", "points", "requests", "load of the wire", "oldest value", "note")
    print_table("", head, lines)


def _who(row: dict[str, Any]) -> None:
    """Who costs how much, and what would help where it is too much."""
    shares = row["devices"]
    if not shares or (len(shares) == 1 and not row["advice"]):
        return
    first = ", ".join(f"{each['equipment']} takes {each['share']:.1%}" for each in shares[:3])
    more = f", {len(shares) - 3} more {sum(each['share'] for each in shares[3:]):.1%}" if len(shares) > 3 else ""
    print(f"{row['connection']}: {first}{more} of this bus")
    if row["advice"]:
        print(f"{row['connection']}: for a load of 70 % {row['advice']}")


def _requests(row: dict[str, Any]) -> None:
    """Every request with its share of the wire."""
    if not row["loads"]:
        return
    said = [key for key in row["loads"][0] if key not in _COSTS and key != "equipment"]
    lines = (
        (
            each["equipment"], *(each[key] for key in said), each["points"], f"{each['period_s']:g} s",
            f"{each['wire_ms']:.1f}", f"{each['share']:.2%}", f"{each['blocking_ms']:.1f}",
            f"{each['worst_age_s']:.2f} s", "may skip turns" if each["tight"] else "",
        )
        for each in row["loads"]
    )  # fmt: skip
    head = ("equipment", *said, "points", "period", "wire ms", "share", "waits ms", "oldest value", "note")
    print_table(f"{row['connection']} ({row['load']:.1%})", head, lines)


def _points(row: dict[str, Any]) -> None:
    """Every point that is polled, with the oldest that it can become."""
    if not row["ages"]:
        return
    lines = (
        (each["point"], f"{each['period_s']:g} s", f"{each['read_every_s']:g} s", f"{each['worst_age_s']:.2f} s")
        for each in row["ages"]
    )
    print_table(row["connection"], ("point", "period", "read every", "oldest value"), lines)


_COSTS = frozenset({"points", "period_s", "wire_ms", "share", "blocking_ms", "worst_age_s", "tight"})
