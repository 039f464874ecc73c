"""`courtyard alarms`: the alarm desk from a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from drivers.point import Language
from edge.cli.backtest import register as register_backtest
from edge.cli.client import connect, in_path
from edge.cli.command import (
    OK,
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
from edge.cli.incidents import PREFIX, acknowledge, print_incidents, print_timeline
from edge.cli.incidents import register as register_incidents
from edge.cli.status import print_alarms
from edge.cli.words import local, word, words


def register(subparsers: Subparsers) -> None:
    """Add the command with its steps."""
    parser = subparsers.add_parser("alarms", help="the alarm desk: list, ack, shelve, unshelve, reset, journal")
    options(parser)
    parser.set_defaults(act=_list, state=None)
    steps = parser.add_subparsers(dest="step", metavar="STEP")
    listing = steps.add_parser("list", help="alarms that are not normal")
    listing.add_argument(
        "--state", default=None, metavar="STATE", help="only those in one state, e.g. unacknowledged"
    )
    options(listing)
    listing.set_defaults(act=_list)
    for name, text in (
        ("ack", "say that you know"), ("shelve", "quieten for a time"),
        ("unshelve", "end the quiet"), ("reset", "let go of a latched alarm"),
    ):  # fmt: skip
        _add_step(steps, name, text)
    register_incidents(steps)
    register_backtest(steps)
    journal = steps.add_parser("journal", help="what happened, oldest first")
    journal.add_argument(
        "--kind", default="alarm", help="alarm, incident, order, command, push, uplink ... or all (default: alarm)"
    )
    journal.add_argument(
        "--as",
        dest="form",
        choices=("table", "timeline"),
        default="table",
        help="timeline: as a story",
    )
    journal.add_argument("--after", type=int, default=0, metavar="N", help="only entries with a higher number")
    journal.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many, up to 1000")
    options(journal)
    journal.set_defaults(act=_journal)


def _add_step(steps: Subparsers, name: str, text: str) -> None:
    parser = steps.add_parser(name, help=text)
    parser.add_argument("alarm", nargs="+", metavar="ALARM", help="its id, e.g. pump-1.low_pressure, or INC-000012")
    parser.add_argument(
        "--reason", required=name == "shelve", default=None, metavar="TEXT", help="why, for the journal"
    )
    if name == "shelve":
        parser.add_argument("--minutes", required=True, type=float, metavar="N", help="for how long, up to 1440")
    signature(parser)
    options(parser)
    parser.set_defaults(act=_step, minutes=None)


@command
def _list(arguments: argparse.Namespace) -> int:
    with connect(arguments) as daemon:
        rows = daemon.get("/api/v1/alarms", state=arguments.state)
        grouped = daemon.get("/api/v1/incidents") if arguments.state is None else []
    if as_json(arguments):
        print_json(rows)
    else:
        if grouped:
            print_incidents(grouped, language(arguments))
            print()
        print_alarms(rows, language(arguments))
    return OK


@command
def _step(arguments: argparse.Namespace) -> int:
    lang = language(arguments)
    body = {"who": who(arguments), "reason": arguments.reason, "minutes": arguments.minutes}
    rows = []
    with connect(arguments) as daemon:
        for alarm in arguments.alarm:
            if arguments.step == "ack" and alarm.startswith(PREFIX):
                row = acknowledge(daemon, alarm, body["who"], arguments.reason)
                rows.append(row)
                if not as_json(arguments):
                    print(f"{row['id']}: {word('incident_' + row['state'], lang)} ({say(row['title'], lang)})")
                continue
            row = daemon.post(f"/api/v1/alarms/{in_path(alarm)}/{arguments.step}", body)
            rows.append(row)
            if not as_json(arguments):
                print(f"{row['id']}: {word(row['state'], lang)} ({say(row['name'], lang)})")
    if as_json(arguments):
        print_json(rows)
    return OK


@command
def _journal(arguments: argparse.Namespace) -> int:
    kind = None if arguments.kind == "all" else arguments.kind
    with connect(arguments) as daemon:
        rows = daemon.get("/api/v1/journal", kind=kind, after=arguments.after, limit=arguments.limit)
    if as_json(arguments):
        print_json(rows)
    elif arguments.form == "timeline":
        print_timeline(rows, language(arguments))
    else:
        lang = language(arguments)
        print_table("", words("seq time kind subject event by", lang), (_entry(row, lang) for row in rows))
    return OK


_COUNTS = ("rows", "rows_given_up", "last_row_there")
"""What an entry about an uplink counts."""


def _entry(row: Mapping[str, Any], lang: Language) -> tuple[object, ...]:
    body = row.get("body") or {}
    event = body.get("event") or body.get("result") or ""
    note = body.get("note") or body.get("reason") or ""
    counted = next((f"{word(key, lang)} {body[key]}" for key in _COUNTS if key in body), "")
    told = (body.get("who"), counted, note, body.get("example"))
    who_and_why = " · ".join(say(each, lang) for each in told if each)
    return row["seq"], local(row.get("time")), row["kind"], row["subject"], say(event, lang), who_and_why
