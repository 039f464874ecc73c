"""The part of `courtyard alarms` that is about incidents: lists, steps, evidence, timelines, and the figures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from drivers.point import Language
from edge.cli.client import Client, connect, in_path
from edge.cli.command import (
    USAGE,
    Ended,
    Subparsers,
    command,
    options,
    print_table,
    result,
    say,
    signature,
    span,
    who,
)
from edge.cli.words import local, word, words

PREFIX = "INC-"
"""What the ids of incidents begin with."""
Row = Mapping[str, Any]

_HEADS: dict[Language, str] = {
    "zh": "事件 {id} · {title}\n设备：{root}　位置：{place}\n级别：{priority}　状态：{state}\n"
    "首发报警：{first}\n开始：{opened}　结束：{closed}",
    "en": "Incident {id} · {title}\nEquipment: {root}   Place: {place}\nPriority: {priority}   State: {state}\n"
    "First out: {first}\nOpened: {opened}   Closed: {closed}",
}
_MARKS: dict[bool | None, str] = {True: "✓", False: "✗", None: ""}


def register(steps: Subparsers) -> None:
    """Add the steps to those of `courtyard alarms`."""
    listing = steps.add_parser("incidents", help="alarms with one cause as one: what is not closed")
    listing.add_argument("--state", default=None, choices=("open", "acknowledged", "closed"), help="only those")
    options(listing)
    listing.set_defaults(act=_list)
    for name, text in (
        ("onsite", "say that somebody has arrived"), ("released", "say that whoever was trapped is free"),
        ("note", "write something down"),
    ):  # fmt: skip
        parser = steps.add_parser(name, help=f"{text}: of an incident")
        parser.add_argument("incident", metavar="INCIDENT", help="its id, e.g. INC-000012")
        parser.add_argument("--note", required=name == "note", default=None, metavar="TEXT", help="for the journal")
        signature(parser)
        options(parser)
        parser.set_defaults(act=_step)
    evidence = steps.add_parser("evidence", help="the timeline of an incident, to be printed: who, what, when")
    evidence.add_argument("incident", metavar="INCIDENT", help="its id, e.g. INC-000012")
    options(evidence)
    evidence.set_defaults(act=_evidence)
    kpi = steps.add_parser("kpi", help="how good the alarms are, beside what is recommended")
    kpi.add_argument("--month", default=None, metavar="YYYY-MM", help="a month of the community's calendar")
    span(kpi, "a day ago")
    options(kpi)
    kpi.set_defaults(act=_kpi)


def acknowledge(daemon: Client, incident: str, name: str, note: str | None) -> Row:
    """All alarms of an incident."""
    row: Row = daemon.post(f"/api/v1/incidents/{in_path(incident)}/ack", {"who": name, "note": note})
    return row


@command
def _list(arguments: argparse.Namespace) -> int:
    with connect(arguments) as daemon:
        rows = daemon.get("/api/v1/incidents", state=arguments.state)
    return result(arguments, rows, print_incidents)


def print_incidents(rows: Sequence[Row], lang: Language) -> None:
    """Incidents as a table, or that there are none."""
    if not rows:
        print(word("no_incidents", lang))
        return
    lines = (
        (
            row["id"], word(row["priority"], lang), word(f"incident_{row['state']}", lang), say(row["title"], lang),
            say(row["root_name"], lang), say(row["location"], lang), row["alarm_count"], local(row["opened"]),
            row["acked_by"] or "",
        )
        for row in rows
    )  # fmt: skip
    print_table("", words("incident priority state title equipment place alarms opened by", lang), lines)


@command
def _step(arguments: argparse.Namespace) -> int:
    body = {"who": who(arguments), "note": arguments.note}
    with connect(arguments) as daemon:
        row = daemon.post(f"/api/v1/incidents/{in_path(arguments.incident)}/{arguments.step}", body)
        zone = daemon.get("/api/v1/site")["timezone"]
    return result(arguments, row, partial(print_evidence, zone=zone))


@command
def _evidence(arguments: argparse.Namespace) -> int:
    with connect(arguments) as daemon:
        row = daemon.get(f"/api/v1/incidents/{in_path(arguments.incident)}")
        zone = daemon.get("/api/v1/site")["timezone"]
    return result(arguments, row, partial(print_evidence, zone=zone))


def print_evidence(row: Row, lang: Language, zone: str) -> None:
    """An incident to be printed and filed, with times of the community's own zone, to the ms."""

    def full(iso: object) -> str:
        then = datetime.fromisoformat(iso).astimezone(ZoneInfo(zone)) if isinstance(iso, str) else None
        return then.isoformat(" ", "milliseconds") if then else ""

    names = {each["id"]: say(each["name"], lang) for each in row.get("alarm_rows", ())}
    first = row["first_out"]
    head = {
        "id": row["id"], "title": say(row["title"], lang), "root": say(row["root_name"], lang),
        "place": say(row["location"], lang) or "-", "priority": word(row["priority"], lang),
        "state": word(f"incident_{row['state']}", lang), "first": f"{names.get(first, '')} ({first})".strip(),
        "opened": full(row["opened"]), "closed": full(row["closed"]) or "-",
    }  # fmt: skip
    print(_HEADS[lang].format(**head))
    if row.get("caused_by"):
        print(f"{word('caused_by', lang)}: {row['caused_by']}")
    if row.get("affected_count"):
        print(f"{word('affected', lang)} ({row['affected_count']}): {say(', '.join(row['affected']), lang)}")
    print()
    rows = [(full(line["time"]), say(line["text"], lang)) for line in row.get("timeline") or ()]
    print_table("", words("time what", lang), rows)
    if row.get("more"):
        print(f"+ {row['more']}: courtyard alarms journal")


@command
def _kpi(arguments: argparse.Namespace) -> int:
    if arguments.month and (arguments.start or arguments.end):
        raise Ended(USAGE, "--month says it all; leave --from and --to out")
    with connect(arguments) as daemon:
        report = daemon.get("/api/v1/reports/alarms", month=arguments.month, from_=arguments.start, to=arguments.end)
    return result(arguments, report, print_report)


def print_report(report: Row, lang: Language) -> None:
    """Figures beside what is recommended, then the alarms that spoil them."""
    print(f"{local(report['from'])} - {local(report['to'])}")
    rows = [
        (say(each["name"], lang), _value(each), say(each["recommended"], lang), _MARKS[each["ok"]])
        for each in report["figures"]
    ]
    print_table("", words("figure value recommended ok", lang), rows)
    print(f"\n{word('incidents', lang)}: {report['incidents']}   {word('pushes', lang)}: {report['pushes']}")
    if report["top"]:
        print()
        lines = (
            (row["id"], say(row["name"], lang), word(row["priority"], lang), row["count"], f"{row['share']:.0f} %")
            for row in report["top"]
        )
        print_table("", words("alarm name priority times share", lang), lines)
    for kind in ("chattering", "fleeting"):
        if report[kind]:
            print(f"\n{word(kind, lang)}")
            found = (
                (row["id"], say(row["name"], lang), row["count"], say(row["suggestion"]["text"], lang))
                for row in report[kind]
            )
            print_table("", words("alarm name times suggestion", lang), found)


def _value(figure: Row) -> str:
    value = figure["value"]
    return "-" if value is None else f"{value:g} {figure['unit']}".strip()


def print_timeline(rows: Sequence[Row], lang: Language) -> None:
    """Entries of the journal as a story: seconds from the first, and what happened to whom."""
    if not rows:
        return
    began = datetime.fromisoformat(rows[0]["time"])
    lines = []
    for row in rows:
        body = row.get("body") or {}
        at_s = (datetime.fromisoformat(row["time"]) - began).total_seconds()
        what = next((body[key] for key in ("alarm", "order") if isinstance(body.get(key), dict)), body)
        title = say(what.get("name") or what.get("title") or str(body.get("text", "")).partition("\n")[0], lang)
        event = body.get("event") or ("pushed" if row["kind"] == "push" else body.get("result") or "")
        people = body.get("who") or body.get("recipient") or ""
        lines.append((f"+{at_s:.1f} s", row["kind"], word(str(event), lang), row["subject"], title, people))
    print_table("", words("since kind event subject name by", lang), lines)
