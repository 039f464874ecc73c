"""`courtyard orders`: work orders from a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from drivers.point import Language
from edge.cli.client import connect, in_path
from edge.cli.command import (
    OK,
    Subparsers,
    as_json,
    command,
    language,
    options,
    print_json,
    result,
    say,
    signature,
    who,
)
from edge.cli.status import print_orders
from edge.cli.words import local, word

CLOSED = ("verified", "cancelled")


def register(subparsers: Subparsers) -> None:
    """Add the command with its steps."""
    parser = subparsers.add_parser("orders", help="work orders: list, show, accept, start, done, verify, cancel")
    options(parser)
    parser.set_defaults(act=_list, state=None, all=False)
    steps = parser.add_subparsers(dest="step", metavar="STEP")
    listing = steps.add_parser("list", help="orders that are not yet verified")
    listing.add_argument("--state", default=None, metavar="STATE", help="only those in one state, e.g. open")
    listing.add_argument("--all", action="store_true", help="verified and cancelled ones too")
    options(listing)
    listing.set_defaults(act=_list)
    show = steps.add_parser("show", help="one order in full")
    show.add_argument("order", metavar="ORDER", help="its id, e.g. WO-000001")
    options(show)
    show.set_defaults(act=_show)
    for name, text in (
        ("accept", "take it"), ("start", "begin the work"), ("done", "the work is finished"),
        ("verify", "the work is right"), ("cancel", "it will not be done"),
    ):  # fmt: skip
        _add_step(steps, name, text)


def _add_step(steps: Subparsers, name: str, text: str) -> None:
    parser = steps.add_parser(name, help=text)
    parser.add_argument("order", metavar="ORDER")
    parser.add_argument(
        "--note", required=name == "cancel", default=None, metavar="TEXT", help="what was found and done"
    )
    signature(parser)
    options(parser)
    parser.set_defaults(act=_step)


@command
def _list(arguments: argparse.Namespace) -> int:
    with connect(arguments) as daemon:
        rows = daemon.get("/api/v1/orders", state=arguments.state)
    if not arguments.all and arguments.state is None:
        rows = [row for row in rows if row["state"] not in CLOSED]
    return result(arguments, rows, print_orders)


@command
def _show(arguments: argparse.Namespace) -> int:
    with connect(arguments) as daemon:
        row = daemon.get(f"/api/v1/orders/{in_path(arguments.order)}")
    return result(arguments, row, _print_order)


def _print_order(row: Mapping[str, Any], lang: Language) -> None:
    state, priority = word(row["state"], lang), word(row.get("priority", ""), lang)
    print(f"{row['id']}  {say(row.get('title'), lang)}  [{priority}, {state}]")
    facts = (
        ("equipment", " · ".join(say(row.get(key), lang) for key in ("equipment_name", "location") if row.get(key))),
        ("why", say(row.get("cause"), lang)),
        ("task", say(row.get("task"), lang)),
        ("due", local(row.get("due"))),
    )
    for key, text in facts:
        if text:
            print(f"  {word(key, lang)}: {text}")
    for line in row.get("history") or ():
        what = word(str(line.get("event", "")), lang)
        print(
            f"  - {what}  {' · '.join(say(line.get(key), lang) for key in ('who', 'note') if line.get(key))}".rstrip()
        )


@command
def _step(arguments: argparse.Namespace) -> int:
    body = {"who": who(arguments), "note": arguments.note}
    with connect(arguments) as daemon:
        row = daemon.post(f"/api/v1/orders/{in_path(arguments.order)}/{arguments.step}", body)
    if as_json(arguments):
        print_json(row)
    else:
        lang = language(arguments)
        print(f"{row['id']}: {word(row['state'], lang)} ({say(row.get('title'), lang)})")
    return OK
