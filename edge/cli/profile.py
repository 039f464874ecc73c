"""`courtyard profile`: the library of device profiles, without a daemon."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from drivers.document import Document, Fault
from drivers.point import Language
from drivers.profile import CLASSES, Library, Profile, load_profile
from edge.alarms.catalogue import Listed, catalogue
from edge.alarms.families import apart
from edge.alarms.rule import check_references, compile_rules
from edge.alarms.wording import worded
from edge.cli.command import (
    OK,
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
)
from edge.cli.words import word, words
from edge.data import PROFILES
from edge.site_rules import gateway_rules
from edge.upkeep.meters import compile_meters
from edge.upkeep.plans import compile_plans


def register(subparsers: Subparsers) -> None:
    """Add the command with its steps."""
    parser = subparsers.add_parser("profile", help="the library of device profiles: list, show, check, catalogue")
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    listing = steps.add_parser("list", help="all profiles")
    listing.add_argument("--class", dest="kind", choices=CLASSES, default=None, help="only of one equipment class")
    listing.set_defaults(act=_list)
    show = steps.add_parser("show", help="one profile: points, rules, plans")
    show.add_argument("id", metavar="PROFILE", help="CLASS/MAKER-MODEL, e.g. meter/eastron-sdm630")
    show.set_defaults(act=_show)
    table = steps.add_parser("catalogue", help="all alarms that the profiles carry, one table in both languages")
    table.add_argument("--output", type=Path, default=None, metavar="FILE", help="Markdown (standard output)")
    table.set_defaults(act=_catalogue)
    check = steps.add_parser("check", help="every mistake of profile files, with line and column")
    check.add_argument("file", nargs="+", type=Path, metavar="FILE")
    check.set_defaults(act=_check)
    for each in (listing, show, table, check):
        options(each, remote=False)
        each.add_argument("--profiles", type=Path, default=None, metavar="DIR", help="a folder of your own profiles")


def _library(arguments: argparse.Namespace) -> Library:
    own = arguments.profiles
    if own is not None and not own.is_dir():
        raise Ended(USAGE, f"{own} is no folder; --profiles takes the folder that the site file names")
    return Library([PROFILES, *([own] if own else [])])


@command
def _list(arguments: argparse.Namespace) -> int:
    library, lang = _library(arguments), language(arguments)
    rows, faults = [], []
    for name in library.ids():
        if arguments.kind and not name.startswith(f"{arguments.kind}/"):
            continue
        profile, document = library.get(name)
        if profile is None:
            faults += document.faults if document else []
            continue
        rows.append(_row(profile))
    if as_json(arguments):
        print_json(rows)
    else:
        lines = (
            (
                row["id"],
                row["name"][lang],
                row["protocol"],
                row["points"],
                _origin(row["synthetic"], row["source"], lang),
            )
            for row in rows
        )
        print_table("", words("profile name protocol points source", lang), lines)
    if faults:
        raise Ended(WRONG, f"{len({fault.file for fault in faults})} left out for mistakes, the first: {faults[0]}")
    return OK


def _row(profile: Profile) -> dict[str, Any]:
    return {
        "id": profile.id,
        "class": profile.equipment_class,
        "name": profile.name.to_body(),
        "protocol": profile.protocol,
        "synthetic": profile.synthetic,
        "source": profile.source,
        "points": len(profile.points),
    }


def _origin(synthetic: bool, source: str, lang: Language) -> str:
    """Where the register map is from; that it is our own invention is said first."""
    return word("synthetic", lang) if synthetic else clean(source)


@command
def _show(arguments: argparse.Namespace) -> int:
    library, lang = _library(arguments), language(arguments)
    profile, document = library.get(arguments.id)
    if document is None:
        raise Ended(USAGE, f"there is no profile {arguments.id!r}; courtyard profile list shows all")
    if profile is None:
        raise Ended(WRONG, str(document.faults[0]))
    points = [_point(point.name, profile) for point in profile.points_of("x")]
    if as_json(arguments):
        more = {"alarms": dict(profile.alarms), "meters": dict(profile.meters), "upkeep": dict(profile.upkeep)}
        print_json({**_row(profile), "file": document.file, "points": points, **more})
        return OK
    print(f"{profile.id}  {profile.name.get(lang)}  ({profile.protocol})")
    print(f"{word('source', lang)}: {clean(profile.source)}")
    if profile.synthetic:
        print(f"! {word('synthetic', lang)}")
    lines = ((row["name"], row["title"][lang], row["unit"], _address(row["address"])) for row in points)
    print_table("", words("point name unit address", lang), lines)
    for section in ("alarms", "meters", "upkeep"):
        names = ", ".join(getattr(profile, section))
        if names:
            print(f"{section}: {names}")
    return OK


def _point(name: str, profile: Profile) -> dict[str, Any]:
    spec, address = profile.points[name]
    return {
        "name": name,
        "title": {"zh": spec.name.zh, "en": spec.name.en},
        "kind": spec.kind,
        "unit": spec.unit,
        "writable": spec.writable,
        "address": address.model_dump(mode="json", by_alias=True, exclude_defaults=True),
    }


def _address(keys: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in keys.items())


@command
def _catalogue(arguments: argparse.Namespace) -> int:
    library = _library(arguments)
    rows = list(_listed(library))
    if as_json(arguments):
        print_json([_listed_row(each) for each in rows])
        return OK
    text = catalogue(rows)
    if arguments.output is None:
        print(text, end="")
        return OK
    try:
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Ended(USAGE, f"{arguments.output} cannot be written: {error.strerror}; choose another file") from error
    print(f"{len(rows)} alarms written to {arguments.output}")
    return OK


def _listed(library: Library) -> Iterator[Listed]:
    """Every rule of every profile, and those of the gateway."""
    for name in library.ids():
        profile, _ = library.get(name)
        if profile is not None:
            points = profile.points_of("equipment")
            where = (profile.document, ("alarms",))
            for rule in compile_rules("equipment", "connection", points, profile.alarms, *where, disabled=True):
                yield Listed(name, rule, rule.enabled)
    for rule in gateway_rules():
        yield Listed("gateway", rule)


def _listed_row(each: Listed) -> dict[str, Any]:
    rule = each.rule
    texts = {"name": rule.title, "cause": rule.cause, "consequence": rule.consequence, "advice": rule.advice}
    return {
        "code": rule.code,
        "rule": rule.name,
        "profile": each.profile,
        "on": each.on,
        "priority": rule.priority.value,
        "class": rule.cls,
        "respond_s": rule.respond_s,
        "condition": worded(rule.condition, rule.equipment),
        **{key: None if text is None else text.to_body() for key, text in texts.items()},
    }


@command
def _check(arguments: argparse.Namespace) -> int:
    faults: list[Fault] = []
    for path in arguments.file:
        faults += _judged(path).faults
    faults.sort()
    if as_json(arguments):
        keys = ("file", "line", "column", "path", "message")
        print_json({"ok": not faults, "faults": [{key: getattr(each, key) for key in keys} for each in faults]})
    elif not faults:
        print(f"{len(arguments.file)} checked: all well")
    else:
        for fault in faults:
            print(clean(fault), file=sys.stderr)
    return WRONG if faults else OK


def _judged(path: Path) -> Document:
    """One file with all its mistakes, those of its rules, meters and plans too."""
    profile, document = load_profile(path)
    if profile is not None:
        points = profile.points_of("equipment")
        known: set[str] = set()
        rules = compile_rules("equipment", "connection", points, profile.alarms, document, ("alarms",), known=known)
        check_references(rules, known)
        alarms = apart(profile.alarms, document, ("alarms",))
        compile_meters("equipment", points, profile.meters, document, ("meters",))
        compile_plans("equipment", profile.upkeep, document, ("upkeep",), profile.meters, alarms)
    return document
