"""`courtyard alarms backtest` and `courtyard alarms propose`: recorded readings through a changed rule, and limits
from history, before anything goes live.

The files are read directly, beside a running daemon or without one: nothing of it is the daemon's work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import Document, Faulty, load, nearest
from drivers.point import Language, Point
from edge.alarms.backtest import (
    Comparison,
    Replay,
    Stretch,
    compare,
    counts,
    judged_by_readings,
    lead_s,
    needed,
    related,
    within,
)
from edge.alarms.proposal import History, Proposal, calmed, propose
from edge.alarms.rule import Rule, compile_rules
from edge.alarms.trial import Trial
from edge.alarms.truth import points_of
from edge.alarms.wording import span as worded_span
from edge.cli.backup import state_options, store_errors
from edge.cli.client import NoDaemon, connect
from edge.cli.command import (
    OK,
    USAGE,
    WRONG,
    Ended,
    Subparsers,
    as_json,
    command,
    language,
    options,
    print_json,
    print_table,
    result,
    span,
    times,
)
from edge.cli.progress import progress
from edge.cli.words import word, words

WEEK_NS = 7 * 86_400 * 10**9
HOLDS = 2.5
"""A reading holds for so many heartbeats, or report periods."""


def register(steps: Subparsers) -> None:
    """Add both steps to `courtyard alarms`."""
    test = steps.add_parser(
        "backtest", help="recorded readings through a changed rule: what would have come, gone, moved"
    )
    test.add_argument("rule", metavar="RULE", help="<equipment>.<rule>; * is any text, e.g. 'pump-*.pressure_low'")
    test.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="e.g. above=0.8, on_delay=1m"
    )
    test.add_argument(
        "--file", type=Path, default=None, metavar="RULES.yaml", help="<equipment>.<rule>: changed keys"
    )
    test.set_defaults(act=_backtest)
    limits = steps.add_parser("propose", help="limits for a point from its history, with what they would have meant")
    limits.add_argument("point", metavar="POINT", help="<equipment>.<point>")
    limits.add_argument("--side", choices=("above", "below", "both"), default="both", help="(both)")
    limits.set_defaults(act=_propose)
    for each in (test, limits):
        span(each, "a week ago")
        state_options(each)
        options(each)


class _Past:
    """A site and what was recorded of it in a span."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from edge.site_file import load_site

        state, config = _place(arguments)
        try:
            self.site = load_site(config)
        except Faulty as faulty:
            raise Ended(WRONG, f"{faulty.faults[0]} (courtyard check shows all)") from None
        zone = self.site.info.timezone
        start, end = times(arguments, zone)
        self.end_ns = time.time_ns() if end is None else end
        self.begin_ns = self.end_ns - WEEK_NS if start is None else start
        if self.begin_ns >= self.end_ns:
            raise Ended(USAGE, "--from is not before --to; swap them")
        self.path = state / "readings.db"
        self.points = {point.id: point for point in self.site.points}

    def pages(self, points: Sequence[Point], lead: float) -> Iterator[list[Any]]:
        """What was recorded of these points, from so many seconds before the span on."""
        from edge.store.reader import open_reader

        if not self.path.is_file():
            raise Ended(USAGE, f"there is no {self.path}; say which state directory with --state")
        begin_ns = self.begin_ns - round(lead * 1e9)
        with store_errors(), open_reader(self.path) as reader, progress("history") as told:
            for page in reader.pages([point.id for point in points], begin_ns, self.end_ns):
                yield page
                told((page[-1][0] if page else begin_ns) - begin_ns, self.end_ns - begin_ns)

    def patience(self, point: Point) -> float:
        """How long a reading of a point holds."""
        device = self.site.equipment[point.equipment].device
        return HOLDS * max(self.site.storage.heartbeat, point.period_s, device.stale_after_s)


def _place(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """State directory and site file: as given, else those of the daemon on this box."""
    if arguments.state is not None and arguments.config is not None:
        return arguments.state, arguments.config
    try:
        with connect(arguments) as daemon:
            place = daemon.get("/api/v1/place")
    except NoDaemon as none:
        raise Ended(none.code, f"{none}; or say where, with --state and --config") from None
    config = arguments.config or (Path(place["config"]) if place.get("config") else None)
    if config is None:
        raise Ended(USAGE, "the daemon does not know its site file; say which with --config")
    return arguments.state or Path(place["state"]), config


# ---- backtest ----------------------------------------------------------------------------------------


@command
def _backtest(arguments: argparse.Namespace) -> int:
    if not arguments.settings and arguments.file is None:
        raise Ended(USAGE, "say what is changed: --set KEY=VALUE, or --file RULES.yaml")
    past = _Past(arguments)
    rules = list(past.site.rules)
    changed = _changed(arguments, past, rules)
    ids = {rule.id for rule in changed}
    before = related([rule for rule in rules if rule.id in ids], rules)
    after = related(changed, rules)
    result, replays = _both(past, before, after)
    if as_json(arguments):
        print_json(_told(result, replays, past.site.zone))
    else:
        _show(result, replays, past.site.zone, language(arguments))
    return OK


def _changed(arguments: argparse.Namespace, past: _Past, rules: Sequence[Rule]) -> list[Rule]:
    """The rules as they would be; one line for each mistake otherwise."""
    connections = {name: each.connection for name, each in past.site.equipment.items()}
    trial = Trial(rules, past.points, connections, past.site.zone)
    chosen = [rule for rule in rules if fnmatchcase(rule.id, arguments.rule)]
    document: Document | None = None
    made: list[Rule] = []
    if arguments.file is not None:
        document = load(arguments.file)
        made = trial.with_file(document) if not document.faults else []
        made = [rule for rule in made if fnmatchcase(rule.id, arguments.rule)]
    elif not chosen:
        known = [rule.id for rule in rules]
        raise Ended(USAGE, f"no alarm {arguments.rule}{nearest(arguments.rule, known)}")
    if arguments.settings and (made or chosen):
        made, settings = trial.with_settings(made or chosen, arguments.settings)
        _fail(settings)
    if document is not None:
        _fail(document)
        if not made:
            raise Ended(USAGE, f"{arguments.file} has no rule {arguments.rule}")
    blind = [rule.id for rule in made if not judged_by_readings(rule)]
    if blind:
        raise Ended(USAGE, f"{blind[0]} does not look at readings, and nothing else was recorded")
    return made


def _fail(document: Document) -> None:
    if document.faults:
        raise Ended(WRONG, "\n".join(str(fault) for fault in sorted(set(document.faults))))


def _both(past: _Past, before: Sequence[Rule], after: Sequence[Rule]) -> tuple[Comparison, tuple[Replay, Replay]]:
    """One pass through the history, both sets of rules side by side."""
    points = needed([*before, *after], past.points)
    replays = (Replay(before, points, past.patience), Replay(after, points, past.patience))
    for page in past.pages(points, lead_s([*before, *after])):
        for replay in replays:
            replay.take(page)
    was, now = (within(replay.finish(past.end_ns), past.begin_ns) for replay in replays)
    return compare(was, now), replays


def _told(result: Comparison, replays: tuple[Replay, Replay], zone: ZoneInfo) -> dict[str, Any]:
    def row(each: Stretch) -> dict[str, Any]:
        return {**asdict(each), "raised": _iso(each.raised_ns, zone), "cleared": _iso(each.cleared_ns, zone)}

    return {
        "came": [row(each) for each in result.came],
        "gone": [row(each) for each in result.gone],
        "moved": [{"was": row(was), "now": row(now)} for was, now in result.moved],
        "same": [row(each) for each in result.same],
        "late": replays[0].late,
        "gaps": replays[0].gaps,
    }


def _show(result: Comparison, replays: tuple[Replay, Replay], zone: ZoneInfo, lang: Language) -> None:
    rows = [(each.raised_ns, word("came", lang), each, "") for each in result.came]
    rows += [(each.raised_ns, word("gone", lang), each, "") for each in result.gone]
    rows += [(now.raised_ns, word("moved", lang), now, _how(was, now, lang)) for was, now in result.moved]
    lines = [
        (what, each.alarm, _iso(each.raised_ns, zone), _lasted(each, lang), _seen(each, lang), note)
        for _, what, each, note in sorted(rows, key=lambda row: row[0])
    ]
    print_table("", words("verdict alarm raised lasted value note", lang), lines)
    present = len(result.gone) + len(result.moved) + len(result.same)
    changed = len(result.came) + len(result.moved) + len(result.same)
    print(
        f"{word('present_rule', lang)}: {present}  {word('changed_rule', lang)}: {changed}  "
        f"({word('came', lang)} {len(result.came)}, {word('gone', lang)} {len(result.gone)}, "
        f"{word('moved', lang)} {len(result.moved)}, {word('same', lang)} {len(result.same)})"
    )
    if replays[0].gaps or replays[0].late:
        print(f"{word('gaps', lang)}: {replays[0].gaps}  {word('late', lang)}: {replays[0].late}")


def _how(was: Stretch, now: Stretch, lang: Language) -> str:
    parts = []
    for name, one, other in (("raised", was.raised_ns, now.raised_ns), ("cleared", was.cleared_ns, now.cleared_ns)):
        if one is None or other is None:
            parts += [] if one is other else [f"{word(name, lang)} {'—' if other is None else '✓'}"]
        elif abs(other - one) >= 10**9:
            parts.append(f"{word(name, lang)} {(other - one) / 1e9:+.0f} s")
    return ", ".join(parts)


def _seen(each: Stretch, lang: Language) -> object:
    return each.measured.get(lang) if each.measured else each.value


def _lasted(each: Stretch, lang: Language) -> str:
    if each.cleared_ns is None:
        return word("stands", lang)
    return worded_span(round((each.cleared_ns - each.raised_ns) / 1e9))


def _iso(time_ns: int | None, zone: ZoneInfo) -> str | None:
    if time_ns is None:
        return None
    return datetime.fromtimestamp(time_ns / 1e9, UTC).astimezone(zone).isoformat(timespec="seconds")


# ---- propose -----------------------------------------------------------------------------------------


@command
def _propose(arguments: argparse.Namespace) -> int:
    past = _Past(arguments)
    point = past.points.get(arguments.point)
    if point is None:
        raise Ended(USAGE, f"no point {arguments.point}{nearest(arguments.point, past.points)}")
    if point.kind not in ("int", "float"):
        raise Ended(USAGE, f"{point.id} is of kind {point.kind}; limits are for numbers")
    history = History(past.patience(point))
    for page in past.pages([point], 0):
        history.take((time_ns, value, quality) for time_ns, _, value, quality in page)
    history.until(past.end_ns)
    if not history.held:
        raise Ended(
            WRONG, f"nothing usable of {point.id} was recorded in the span; choose another with --from and --to"
        )
    sides = ("above", "below") if arguments.side == "both" else (arguments.side,)
    found = [each for side in sides if (each := propose(point, history, side)) is not None]
    found = [calmed(each, lasted) for each, lasted in zip(found, _excursions(past, point, found), strict=True)]
    given = [len(stretches) for stretches in _tried(past, point, found, lambda each: each.keys())]
    report = _report(past, point, history, list(zip(found, given, strict=True)))
    return result(arguments, report, _show_proposal)


def _excursions(past: _Past, point: Point, found: Sequence[Proposal]) -> list[list[float]]:
    """How long each time lasted that the point was over a proposed limit, without any delay."""
    tried = _tried(past, point, found, lambda each: {each.side: each.limit, "deadband": each.deadband})
    return [
        [(each.cleared_ns - each.raised_ns) / 1e9 for each in stretches if each.cleared_ns is not None]
        for stretches in tried
    ]


def _tried(
    past: _Past, point: Point, found: Sequence[Proposal], keys: Callable[[Proposal], Mapping[str, object]]
) -> list[list[Stretch]]:
    """The alarms that each proposal would have given."""
    words_ = {"zh": "试", "en": "trial"}
    common = {"code": "TRIAL", "name": words_, "advice": words_, "priority": "low", "point": point.name}
    specs = {f"trial_{index}": {**common, **keys(each)} for index, each in enumerate(found)}
    document = Document("trial")
    rules = compile_rules(point.equipment, "", [point], specs, document, ())
    _fail(document)
    replay = Replay(rules, [point], past.patience)
    for page in past.pages([point], lead_s(rules)):
        replay.take(page)
    stretches = within(replay.finish(past.end_ns), past.begin_ns)
    return [[each for each in stretches if each.alarm == rule.id] for rule in rules]


def _report(past: _Past, point: Point, history: History, found: Sequence[tuple[Proposal, int]]) -> dict[str, Any]:
    rules = [rule for rule in past.site.rules if point in points_of(rule.condition)]
    present = related(rules, past.site.rules)
    points = needed(present, past.points)
    replay = Replay(present, points, past.patience)
    for page in past.pages(points, lead_s(present)) if present else ():
        replay.take(page)
    given = counts(within(replay.finish(past.end_ns), past.begin_ns))
    return {
        "point": point.id,
        "unit": point.unit,
        "from": _iso(past.begin_ns, past.site.zone),
        "to": _iso(past.end_ns, past.site.zone),
        "known_share": round(history.known_s / ((past.end_ns - past.begin_ns) / 1e9), 4),
        "readings": history.readings,
        "unusable": history.unusable,
        "noise": history.noise(),
        "quantiles": {f"{share * 100:g}%": value for share, value in history.quantiles().items()},
        "proposals": [{**each.keys(), "alarms": alarms} for each, alarms in found],
        "present": [{"alarm": rule.id, "alarms": given[rule.id]} for rule in rules],
    }


def _show_proposal(report: Mapping[str, Any], lang: Language) -> None:
    unit = report["unit"]
    print(f"{report['point']}  {report['from']} .. {report['to']}")
    print(
        f"{word('readings', lang)}: {report['readings']}  {word('known', lang)}: {report['known_share']:.1%}  "
        f"{word('unusable', lang)}: {report['unusable']}  {word('noise', lang)}: {report['noise']:g} {unit}"
    )
    heads = list(report["quantiles"])
    print_table("", heads, [[f"{value:g}" for value in report["quantiles"].values()]])
    lines = []
    for each in report["proposals"]:
        side = "above" if "above" in each else "below"
        delays = f"{worded_span(each['on_delay'])} / {worded_span(each['off_delay'])}"
        lines.append((f"{side}: {each[side]:g} {unit}", f"{each['deadband']:g}", delays, each["alarms"]))
    lines += [(each["alarm"], "", "", each["alarms"]) for each in report["present"]]
    print_table("", words("limit deadband delays alarms", lang), lines)
    print(word("proposal_note", lang))
