"""`courtyard status`: equipment, connections, uplinks and alarms at a glance."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from drivers.point import Language
from edge.cli.client import connect
from edge.cli.command import Subparsers, clean, command, options, print_table, result, say
from edge.cli.incidents import print_incidents
from edge.cli.words import local, word, words

Row = Mapping[str, Any]
_NAMED = 6
"""Devices of a line that are named with their shares."""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("status", help="equipment, connections, uplinks, alarms at a glance")
    options(parser)
    parser.set_defaults(act=_status)


@command
def _status(arguments: argparse.Namespace) -> int:
    with connect(arguments) as daemon:
        found = {"site": daemon.get("/api/v1/site"), "health": daemon.health()}
        for each in ("equipment", "incidents", "alarms", "orders", "connections", "uplinks", "storage"):
            found[each] = daemon.get(f"/api/v1/{each}")
    return result(arguments, found, _show)


def _show(found: Mapping[str, Any], lang: Language) -> None:
    site, health = found["site"], found["health"]
    well = health["status"] == "ok"
    reasons = "; ".join(say(each, lang) for each in health.get("reasons", ()))
    verdict = word("well", lang) if well else f"{word('unwell', lang)}: {reasons}".removesuffix(": ")
    print(f"{clean(site['name'])} ({clean(site['id'])}): {verdict}")
    print()
    if found["incidents"]:
        print_incidents(found["incidents"], lang)
        print()
    print_alarms(found["alarms"], lang)
    print()
    print_orders([row for row in found["orders"] if row["state"] not in ("verified", "cancelled")], lang)
    print()
    print_table("", words("class count alarms untrusted", lang), _classes(found["equipment"]))
    print()
    print_table(
        "",
        words("connection type state planned use timeouts bad exceptions overruns dearest why", lang),
        (_connection(row, lang) for row in found["connections"]),
    )
    for row in found["connections"]:
        print_shares(row, lang)
    troubled = [_device(row, each, lang) for row in found["connections"] for each in _troubled(row)]
    if troubled:
        print()
        head = words("equipment connection state planned use timeouts bad_answers overruns why", lang)
        print_table("", head, troubled)
    if found["uplinks"]:
        print()
        print_table(
            "",
            words("uplink type state lag backlog rate rejected why", lang),
            (_uplink(row, lang) for row in found["uplinks"]),
        )
    if found["storage"]:
        print()
        print_table("", words("storage budget packed oldest aging_held shed", lang), [_storage(found["storage"])])


def _classes(rows: Sequence[Row]) -> list[Sequence[object]]:
    classes = dict.fromkeys(row["class"] for row in rows)
    return [
        (
            kind,
            sum(row["class"] == kind for row in rows),
            sum(row["class"] == kind and bool(row.get("alarm")) for row in rows),
            sum(row["class"] == kind and row.get("quality", "good") != "good" for row in rows),
        )
        for kind in classes
    ]


def _connection(row: Row, lang: Language) -> Sequence[object]:
    first = max(row.get("devices", ()), key=lambda each: each.get("utilisation") or 0, default=None)
    dearest = f"{first['equipment']} {_share(first.get('utilisation'))}" if first else ""
    return (
        row["name"], row["type"], word(row["state"], lang), _share(row.get("load")), _share(row.get("utilisation")),
        row.get("timeouts"), row.get("bad_frames"), row.get("exceptions"), row.get("overruns"), dearest,
        say(row.get("reason"), lang),
    )  # fmt: skip


def print_shares(row: Row, lang: Language) -> None:
    """Who takes how much of a polled line, measured beside planned, in one line."""
    devices = sorted(row.get("devices", ()), key=_taken, reverse=True)
    if len(devices) < 2:
        return
    planned, rest = word("planned_share", lang), devices[_NAMED:]
    said = [
        f"{each['equipment']} {_share(each.get('utilisation')) or '-'} ({planned} {_share(each['load'])})"
        for each in devices[:_NAMED]
    ]
    if rest:
        used, load = (_share(sum(each.get(key) or 0.0 for each in rest)) for key in ("utilisation", "load"))
        said.append(f"{word('and_more', lang)} {len(rest)}: {used} ({planned} {load})")
    print(clean(f"{row['name']}: {word('of_this_bus', lang)} {', '.join(said)}"))


def _taken(device: Row) -> float:
    """Measured, or planned where nothing is measured yet."""
    used = device.get("utilisation")
    return float(device["load"] if used is None else used)


def _share(use: float | None) -> str:
    return "" if use is None else f"{use:.0%}"


def _troubled(row: Row) -> list[Row]:
    """Devices that do not answer now, or not usably; all the others are in the figures of their line."""
    return [each for each in row.get("devices", ()) if each.get("reason")]


def _device(row: Row, device: Row, lang: Language) -> Sequence[object]:
    return (
        device["equipment"], row["name"], word(device["state"], lang), _share(device.get("load")),
        _share(device.get("utilisation")), device.get("timeouts"), device.get("bad_answers"), device.get("overruns"),
        say(device.get("reason"), lang),
    )  # fmt: skip


def _storage(row: Row) -> Sequence[object]:
    """Sizes in MB, ages in days, for how long a clock that has leaped is not believed, and what went by class."""
    shed = ", ".join(f"{name} {number}" for name, number in row.get("shed", {}).items())
    sizes = [f"{row[key] / 1e6:.1f} MB" for key in ("bytes", "budget_bytes")]
    held_s = row.get("aging_held_s")
    held = f"{held_s / 86_400:.1f} d" if held_s else "-"
    return (*sizes, _share(row.get("packed_share")), f"{row['oldest_age_s'] / 86_400:.1f} d", held, shed or "-")


def _uplink(row: Row, lang: Language) -> Sequence[object]:
    lag, refused = row.get("lag_s"), row.get("reject_reason")
    why = say(row.get("reason"), lang) or (f"{word('rejected', lang)}: {refused}" if refused else "")
    return (
        row["name"], row["type"], word(row["state"], lang), "" if lag is None else f"{lag:.0f}",
        row.get("backlog"), row.get("rate"), row.get("rejected"), why,
    )  # fmt: skip


def print_alarms(rows: Sequence[Row], lang: Language) -> None:
    """Alarms as a table, or that there are none."""
    if not rows:
        print(word("no_alarms", lang))
        return
    lines = (
        (
            row["id"], word(row["priority"], lang), word(row["state"], lang), say(row["name"], lang),
            say(row.get("equipment_name"), lang), say(row.get("location"), lang), local(row.get("raised")),
            say(row.get("advice"), lang),
        )
        for row in rows
    )  # fmt: skip
    print_table("", words("alarm priority state name equipment place raised todo", lang), lines)


def print_orders(rows: Sequence[Row], lang: Language) -> None:
    """Work orders as a table, or that there are none."""
    if not rows:
        print(word("no_orders", lang))
        return
    lines = (
        (
            row["id"], word(row["priority"], lang), word(row["state"], lang), say(row.get("title"), lang),
            say(row.get("equipment_name"), lang), say(row.get("location"), lang), local(row.get("due")),
        )
        for row in rows
    )  # fmt: skip
    print_table("", words("order priority state task equipment place due", lang), lines)
