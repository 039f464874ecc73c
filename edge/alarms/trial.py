"""A rule as it is, changed for a trial: single keys, or what a file lays over it.

What comes in: rules of a site, and the changes as they are written. What goes out: the changed rules, with every
mistake noted in the document of the change. The site itself stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import Document, Where, merge, nearest, parse
from drivers.point import Point
from edge.alarms.rule import Rule, check_references, compile_rules, compile_site_rules

SETTING = "--set"
"""What single keys are called in mistakes."""


class Trial:
    """Changes rules of one site."""

    def __init__(
        self, rules: Sequence[Rule], points: Mapping[str, Point], connections: Mapping[str, str], zone: ZoneInfo
    ) -> None:
        self._rules = {rule.id: rule for rule in rules}
        self._points = points
        self._connections = connections
        self._zone = zone

    def with_settings(self, chosen: Sequence[Rule], settings: Sequence[str]) -> tuple[list[Rule], Document]:
        """The chosen rules with `key=value` laid over; `all.1.below=4` reaches into a condition."""
        document = Document(SETTING, data={})
        made = []
        for rule in chosen:
            raw = copy.deepcopy(dict(rule.raw))
            for setting in settings:
                key, sign, text = setting.partition("=")
                if not sign:
                    document.add((key,), "write key=value, e.g. above=0.8 or all.1.below=4")
                    continue
                value = parse(f"value: {text}", Document(SETTING))
                if value.faults or not _put(raw, key.split("."), value.get("value")):
                    document.add((key,), f"cannot be set to {text!r} in {rule.id}{nearest(key, _ways(raw))}")
            made += self._compiled(rule.id, raw, document, (rule.id,))
        self._check(made, document)
        return made, document

    def with_file(self, document: Document) -> list[Rule]:
        """Rules that a file has by `<equipment>.<rule>`: keys laid over a rule, or a whole new one."""
        made = []
        for id_, over in document.data.items() if isinstance(document.data, dict) else ():
            if not isinstance(over, Mapping):
                document.add((id_,), "write a mapping of the rule's keys")
                continue
            rule = self._rules.get(id_)
            equipment = id_.rpartition(".")[0]
            if rule is None and equipment not in self._connections:
                near = nearest(id_, self._rules) or nearest(equipment, self._connections)
                document.add((id_,), f"is no alarm of the site; write <equipment>.<rule>{near}")
                continue
            made += self._compiled(id_, merge(rule.raw, over) if rule else dict(over), document, (id_,))
        self._check(made, document)
        return made

    def _compiled(self, id_: str, raw: Mapping[str, Any], document: Document, where: Where) -> list[Rule]:
        equipment, _, name = id_.rpartition(".")
        inner = Document(document.file, document.data, {})
        inner.faults = document.faults
        # The rule stands in the file under its whole id, and is compiled under its own name.
        inner.places = {
            (name, *place[len(where) :]): at for place, at in document.places.items() if place[: len(where)] == where
        }
        if "equipment" in raw:
            return compile_site_rules(self._connections, self._points, {name: raw}, inner, (), zone=self._zone)
        own = [point for point in self._points.values() if point.equipment == equipment]
        connection = self._connections.get(equipment, self._rules[id_].connection if id_ in self._rules else "")
        return compile_rules(equipment, connection, own, {name: raw}, inner, (), zone=self._zone)

    def _check(self, made: Sequence[Rule], document: Document) -> None:
        rules = self._rules | {rule.id: rule for rule in made}
        check_references(rules.values(), {*rules, *(alarm for rule in self._rules.values() for alarm in rule.alarms)})


def _put(node: Any, way: Sequence[str], value: Any) -> bool:
    """Set what a way leads to; False where it leads nowhere."""
    for step in way[:-1]:
        if isinstance(node, dict) and step in node:
            node = node[step]
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return False
    last = way[-1]
    if isinstance(node, dict):
        node[last] = value
        return True
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
        return True
    return False


def _ways(node: Any, before: str = "") -> list[str]:
    """Every way into a rule as it is written."""
    items: Any = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = []
    for key, value in items:
        found += [f"{before}{key}", *_ways(value, f"{before}{key}.")]
    return found
