"""All alarm rules of a site: those of profiles, what the site lays over them, its own, and the gateway's.

What comes in: the equipment as it is read, one by one, then the site file's `rules`. What goes out: rules, with
every mistake noted where it stands: in the profile, in the site file, or in `config/gateway.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import Document, load, merge
from drivers.point import Point
from drivers.profile import Profile
from edge.alarms.families import apart
from edge.alarms.rule import (
    Rule,
    check_references,
    compile_box_rules,
    compile_connection_rules,
    compile_override_rules,
    compile_rules,
    compile_site_rules,
    compile_uplink_rules,
)
from edge.data import CONFIG
from edge.gateway import take_uplink_limits

OVERRIDE = "override:"
"""Before an equipment's id: the engine's connection that is up while an override of its points cannot return."""
EVERYWHERE = "values_unusable"
"""The gateway's rule that every equipment has, unless its profile or the site says otherwise."""


class SiteRules:
    """Collects the rules of one site. `zone` is the community's: windows of the day are told in it."""

    def __init__(self, document: Document, zone: ZoneInfo) -> None:
        self.gateway = load(CONFIG / "gateway.yaml")
        self.uplink_limits = take_uplink_limits(self.gateway)
        self._document = document
        self._zone = zone
        self._rules: list[Rule] = []
        self._known: set[str] = set()
        self._connections: dict[str, str] = {}
        self._points: dict[str, Point] = {}

    def equipment(
        self, name: str, connection: str, points: Sequence[Point], profile: Profile, over: Mapping[str, Any]
    ) -> None:
        """The rules of one equipment; `over` is what the site file lays over its profile's."""
        self._connections[name] = connection
        self._points |= {point.id: point for point in points}
        theirs, changed = laid_over(profile, self._everywhere(), over)
        gateway = {EVERYWHERE: theirs.pop(EVERYWHERE)} if EVERYWHERE in theirs.keys() - profile.alarms.keys() else {}
        for specs, document, where in (
            (theirs, profile.document, ("alarms",)),
            (gateway, self.gateway, ("alarms",)),
            (changed, self._document, ("equipment", name, "alarms")),
        ):
            self._rules += compile_rules(
                name, connection, points, specs, document, where, zone=self._zone, known=self._known
            )

    def _everywhere(self) -> Any:
        raw = self.gateway.get("alarms", EVERYWHERE)
        return {"unusable": True, **raw} if isinstance(raw, Mapping) else None

    def all(self, connections: Iterable[str], uplinks: Iterable[str]) -> list[Rule]:
        """Every rule, those of the site file, its connections and uplinks too, once all equipment has been given."""
        lines = self.gateway.mapping("alarms")
        rules = compile_connection_rules(list(connections), lines, self.gateway, ("alarms",))
        rules += compile_uplink_rules(list(uplinks), lines, self.gateway, ("alarms",))
        rules += compile_box_rules(lines, self.gateway, ("alarms",))
        commanded = dict.fromkeys(point.equipment for point in self._points.values() if point.writable)
        named = [(each, f"{OVERRIDE}{each}") for each in commanded if f"{each}.override_held" not in self._known]
        rules += compile_override_rules(named, lines, self.gateway, ("alarms",))
        self._known |= {rule.id for rule in rules}
        own = self._document.mapping("rules")
        rules += compile_site_rules(
            self._connections, self._points, own, self._document, ("rules",), zone=self._zone, known=self._known
        )
        rules = self._rules + rules
        check_references(rules, self._known)
        return rules


def laid_over(profile: Profile, everywhere: Any, over: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The profile's rules that the site leaves alone, and those that it changes or adds, as they are then.

    A site lays its keys over a whole rule, over a rule in steps, or over one step by the name of its alarm.
    """
    base = dict(profile.alarms)
    if everywhere is not None:
        base.setdefault(EVERYWHERE, everywhere)
    apart_by_family = {
        name: apart({name: raw}, Document(""), ()) for name, raw in base.items() if isinstance(raw, Mapping)
    }
    changed: dict[str, Any] = {}
    for name, keys in over.items():
        family = next((each for each, members in apart_by_family.items() if name in members and name != each), None)
        if family is not None and name not in base:
            for member, written in apart_by_family[family].items():
                changed.setdefault(member, written.raw)
            changed[name] = merge(changed[name], keys)
            base.pop(family, None)
        else:
            changed[name] = merge(base.pop(name, {}), keys)
    return base, changed


def gateway_rules() -> list[Rule]:
    """The gateway's own rules, once each: for a connection, an uplink, the box and an equipment."""
    gateway = load(CONFIG / "gateway.yaml")
    take_uplink_limits(gateway)
    lines = gateway.mapping("alarms")
    rules = compile_connection_rules(["connection"], lines, gateway, ("alarms",))
    rules += compile_uplink_rules(["uplink"], lines, gateway, ("alarms",))
    rules += compile_box_rules(lines, gateway, ("alarms",))
    rules += compile_override_rules([("equipment", "connection")], lines, gateway, ("alarms",))
    raw = {EVERYWHERE: {"unusable": True, **lines[EVERYWHERE]}}
    return rules + compile_rules("equipment", "connection", (), raw, gateway, ("alarms",))
