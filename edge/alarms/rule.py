"""Alarm rules as the engine takes them: conditions as terms, every name followed.

What comes in: the `alarms` section of a profile with what the site file lays over it, for one equipment, or the
site file's own `rules`. What goes out: rules; every mistake is noted in the document where it stands. A rule that
can never be true, or could never clear again, is a mistake too: it would look like protection and be none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from drivers.document import Document, Where, nearest
from drivers.point import Point, Text
from edge.alarms.alarm import AlarmClass, Priority
from edge.alarms.families import Written, apart
from edge.alarms.spec import RuleSpec, SiteRuleSpec
from edge.alarms.terms import UTC, Scope, Terms
from edge.alarms.truth import AllOf, Linked, Silent, Standing, Term, leaves, points_of

__all__ = ["Rule", "RuleSpec", "SiteRuleSpec", "check_references", "compile_rules", "compile_site_rules"]

_NAME = re.compile(r"[a-z0-9_]{1,64}\Z")
_BOX = ("storage", "clock", "disk_budget", "clock_leap")
_UPLINK = ("uplink_backlog", "uplink_rejects")
_GATEWAY = ("line_offline", *_UPLINK, "values_unusable", "override_held", *_BOX)

RESPOND_S = {Priority.CRITICAL: 300.0, Priority.HIGH: 1800.0, Priority.MEDIUM: 28_800.0, Priority.LOW: 86_400.0}
"""Time to respond where a rule says nothing: 5 min, 30 min, the shift, the next day."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One alarm rule of one equipment, checked."""

    id: str
    """`<equipment>.<name>`, the id of its alarm."""
    equipment: str
    name: str
    connection: str
    """The equipment's connection."""
    code: str
    title: Text
    advice: Text
    cause: Text | None
    consequence: Text | None
    priority: Priority
    respond_s: float
    latching: bool
    shelvable: bool
    on_delay_s: float
    off_delay_s: float
    condition: Term
    """With `active_while` in it."""
    cls: AlarmClass = "asset"
    gate: Term | None = None
    """While it is true the alarm is suppressed by design."""
    realarm_s: float | None = None
    """An acknowledged alarm that still stands asks again after this time."""
    enabled: bool = True
    place: tuple[Document, Where] | None = field(default=None, repr=False)
    """Where it is written: for mistakes that only all rules together show."""
    raw: Any = field(default=None, repr=False)
    """As it is written, what the site lays over it included: for trying another one."""
    root_cause: bool = False
    """Explains alarms of what hangs on its equipment."""
    rescue: bool = False
    """Somebody has to be freed."""

    @property
    def silent(self) -> bool:
        """Whether it looks at the silence of equipment, and so is suppressed while its connection is down."""
        return any(isinstance(leaf, Silent) for leaf in leaves(self.condition))

    @property
    def alarms(self) -> tuple[str, ...]:
        """Ids of the alarms that it looks at."""
        terms = (self.condition,) if self.gate is None else (self.condition, self.gate)
        found = (leaf.alarm for term in terms for leaf in leaves(term) if isinstance(leaf, Standing))
        return tuple(dict.fromkeys(found))

    @property
    def gate_text(self) -> str:
        """What suppresses it, for the journal."""
        if self.gate is None:
            return ""
        names = [leaf.alarm for leaf in leaves(self.gate) if isinstance(leaf, Standing)]
        names += [point.id for point in points_of(self.gate)]
        return ", ".join(dict.fromkeys(names)) or "its time"


def compile_rules(
    equipment: str,
    connection: str,
    points: Sequence[Point],
    specs: Mapping[str, Any],
    document: Document,
    where: Where,
    *,
    zone: ZoneInfo = UTC,
    known: set[str] | None = None,
    disabled: bool = False,
) -> list[Rule]:
    """The rules of one equipment; those with mistakes are left out and noted in `document`.

    The ids of all, of those switched off too, are added to `known`; with `disabled` these are given as well.
    """
    scope = Scope(equipment, {equipment: connection}, {point.name: point for point in points}, zone)
    rules = []
    for name, written in apart(specs, document, where).items():
        if known is not None:
            known.add(f"{equipment}.{name}")
        spec = _spec(name, written.raw, RuleSpec, document, written.where)
        rule = _rule(name, spec, scope, document, written) if spec else None
        if rule and (rule.enabled or disabled):
            rules.append(rule)
    return rules


def compile_site_rules(
    connections: Mapping[str, str],
    points: Mapping[str, Point],
    specs: Mapping[str, Any],
    document: Document,
    where: Where,
    *,
    zone: ZoneInfo = UTC,
    known: set[str] | None = None,
) -> list[Rule]:
    """The site file's own rules: over points of several equipment, written `<equipment>.<point>`.

    `connections` has every equipment's connection. A rule that would have the id of one in `known` is a mistake.
    """
    rules = []
    known = set() if known is None else known
    for name, written in apart(specs, document, where).items():
        spec = _spec(name, written.raw, SiteRuleSpec, document, written.where)
        if spec is None:
            continue
        if spec.equipment not in connections:
            near = nearest(spec.equipment, connections)
            document.add((*written.where, "equipment"), f"no equipment {spec.equipment!r}{near}")
            continue
        id_ = f"{spec.equipment}.{name}"
        if id_ in known:
            document.add(written.where, f"{spec.equipment} has a rule {name} already; give this one another name")
        known.add(id_)
        rule = _rule(name, spec, Scope(spec.equipment, connections, points, zone, whole_site=True), document, written)
        if rule and rule.enabled:
            rules.append(rule)
    return rules


def compile_connection_rules(
    connections: Iterable[str], specs: Mapping[str, Any], document: Document, where: Where
) -> list[Rule]:
    """The gateway's own rule `line_offline` for each connection; its equipment is `connection:<name>`."""
    for name in specs:
        if name not in _GATEWAY:
            document.unknown_key((*where, name), _GATEWAY)
    named = [(f"connection:{name}", name) for name in connections]
    return _gateway_rules("line_offline", named, specs, document, where)


def compile_uplink_rules(
    uplinks: Iterable[str], specs: Mapping[str, Any], document: Document, where: Where
) -> list[Rule]:
    """The gateway's own rules for each uplink, `uplink_backlog` and `uplink_rejects`, of equipment `uplink:<name>`.

    Each is true while the engine's connection `uplink:<name>:<rule>` is down.
    """
    names = list(uplinks)
    return [
        found
        for rule in _UPLINK
        for found in _gateway_rules(
            rule, [(f"uplink:{name}", f"uplink:{name}:{rule}") for name in names], specs, document, where
        )
    ]


def compile_override_rules(
    equipment: Iterable[tuple[str, str]], specs: Mapping[str, Any], document: Document, where: Where
) -> list[Rule]:
    """The gateway's own rule `override_held` for each equipment that takes commands.

    `equipment`: its id, and the name of the engine's connection that is up while one of its overrides cannot return.
    """
    return _gateway_rules("override_held", equipment, specs, document, where)


def compile_box_rules(specs: Mapping[str, Any], document: Document, where: Where) -> list[Rule]:
    """The gateway's rules about the box itself: `gateway.storage`, `gateway.clock` ...

    Each is true while the engine's connection `gateway:<rule>` is down.
    """
    return [
        rule
        for part in _BOX
        for rule in _gateway_rules(part, [("gateway", f"gateway:{part}")], specs, document, where)
    ]


def _gateway_rules(
    rule: str, named: Iterable[tuple[str, str]], specs: Mapping[str, Any], document: Document, where: Where
) -> list[Rule]:
    """Rules whose condition is supplied here: the file has their words, priority and delays."""
    raw = specs.get(rule)
    if raw is None:
        return []
    given = {rule: {"connection": "down", **raw} if isinstance(raw, Mapping) else raw}
    return [r for id_, line in named for r in compile_rules(id_, line, (), given, document, where)]


def cuts_off(condition: Term) -> bool:
    """Whether nothing below can be read while this is true."""
    return isinstance(condition, Silent) or (isinstance(condition, Linked) and not condition.up)


def check_references(rules: Iterable[Rule], known: Collection[str]) -> None:
    """Note conditions on alarms that there are not (`known` has the ids of all), and those that go in a circle."""
    by_id = {rule.id: rule for rule in rules}
    for rule in by_id.values():
        for alarm in rule.alarms:
            if alarm not in known:
                its = {each for each in known if each.startswith(f"{alarm.rpartition('.')[0]}.")}
                _blame(rule, f"no alarm {alarm!r}{nearest(alarm, its) or nearest(alarm, known)}")
    done: set[str] = set()
    for rule in by_id.values():
        circle = _circle(rule.id, by_id, [], done)
        if circle:
            _blame(by_id[circle[0]], f"refers to itself: {' -> '.join(circle)}; take one of these conditions out")


def _circle(at: str, rules: Mapping[str, Rule], way: list[str], done: set[str]) -> list[str] | None:
    """The first circle found from here on, each only once."""
    if at in way:
        return [*way[way.index(at) :], at]
    if at in done or at not in rules:
        return None
    way.append(at)
    found = next((circle for each in rules[at].alarms if (circle := _circle(each, rules, way, done))), None)
    way.pop()
    done.add(at)
    return found


def _blame(rule: Rule, message: str) -> None:
    if rule.place is not None:
        document, where = rule.place
        document.add(where, message)


def _spec(name: str, raw: Any, model: type[Any], document: Document, where: Where) -> Any:
    if not _NAME.match(name):
        document.add(where, "is no rule name; use a-z, 0-9 and _")
    elif not isinstance(raw, Mapping):
        document.add(where, "write a mapping of the rule's keys (enabled: false switches a rule off)")
    else:
        return document.validate(model, raw, where, known=("steps",))
    return None


def _rule(name: str, spec: RuleSpec, scope: Scope, document: Document, written: Written) -> Rule | None:
    where = written.where
    terms = Terms(scope, document)
    condition = terms.term(spec, where)
    if spec.active_while is not None:
        active = terms.term(spec.active_while, (*where, "active_while"))
        condition = AllOf((condition, active)) if condition and active else None
    gate = None
    if spec.suppressed_while is not None:
        gate = terms.term(spec.suppressed_while, (*where, "suppressed_while"))
        condition = condition if gate else None
    if condition is None:
        return None
    return Rule(
        id=f"{scope.equipment}.{name}",
        equipment=scope.equipment,
        name=name,
        connection=scope.connections[scope.equipment],
        code=spec.code,
        title=spec.name.text(),
        advice=spec.advice.text(),
        cause=spec.cause.text() if spec.cause else None,
        consequence=spec.consequence.text() if spec.consequence else None,
        priority=spec.priority,
        respond_s=RESPOND_S[spec.priority] if spec.respond is None else spec.respond,
        latching=spec.latching,
        shelvable=spec.shelvable,
        on_delay_s=spec.on_delay,
        off_delay_s=spec.off_delay,
        condition=condition,
        cls=spec.class_,
        gate=gate,
        realarm_s=spec.realarm,
        root_cause=spec.root_cause or cuts_off(condition),
        rescue=spec.rescue,
        enabled=spec.enabled,
        place=(document, where),
        raw=written.raw,
    )
