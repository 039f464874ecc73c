"""Alarm rules as they are written in profiles, and as the engine takes them.

What comes in: the `alarms` section of a profile, with what the site file lays over it, for one equipment. What
goes out: rules whose points have been followed; every mistake is noted in the document where it stands. A rule
that can never be true, or could never clear again, is a mistake too: it would look like protection and be none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from drivers.document import Document, Where, nearest
from drivers.point import Point, Text, Value
from drivers.profile import Strict, TextSpec
from drivers.units import Seconds
from edge.alarms.alarm import Priority
from edge.alarms.truth import Above, AllOf, AnyOf, Below, Linked, Not, OneOf, Silent, Term, leaves

_NAME = re.compile(r"[a-z0-9_]{1,64}\Z")
_FORMS = ("point", "all", "any", "not", "silent", "connection")
_TESTS = ("above", "below", "is", "is_not", "in")
_GATEWAY = ("line_offline", "uplink_backlog")
_ARTICLE = {"bool": "true or false", "int": "a whole number", "float": "a number", "text": "text"}

RESPOND_S = {Priority.CRITICAL: 300.0, Priority.HIGH: 1800.0, Priority.MEDIUM: 28_800.0, Priority.LOW: 86_400.0}
"""Time to respond where a rule says nothing: 5 min, 30 min, the shift, the next day."""

Given = bool | int | float | str
Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Condition(Strict):
    """What must be true: one point against one limit or value, or a combination, or a silence."""

    point: str | None = None
    above: Limit | None = None
    below: Limit | None = None
    is_: Given | None = Field(default=None, alias="is")
    is_not: Given | None = None
    in_: list[Given] | None = Field(default=None, alias="in", min_length=1)
    deadband: Annotated[Limit, Field(ge=0)] = 0.0
    """How far inside the limit, in the point's unit, the value must be before the alarm clears."""
    all_: list[Condition] | None = Field(default=None, alias="all", min_length=1)
    any_: list[Condition] | None = Field(default=None, alias="any", min_length=1)
    not_: Condition | None = Field(default=None, alias="not")
    silent: bool | None = None
    """True while no point of the equipment can be read."""
    connection: str | None = None
    """`up` or `down`: how the equipment's connection is."""

    @model_validator(mode="after")
    def _one_form(self) -> Condition:
        forms = [name for name in _FORMS if self.given(name) is not None]
        tests = [name for name in _TESTS if self.given(name) is not None]
        if len(forms) != 1:
            found = " and ".join(forms) or "none"
            raise ValueError(f"a condition has one of {', '.join(_FORMS)}; found {found}")
        if forms != ["point"] and tests:
            raise ValueError(f"{tests[0]} belongs beside a point, not beside {forms[0]}")
        if forms == ["point"] and len(tests) != 1:
            found = " and ".join(tests) or "none"
            raise ValueError(
                f"a point is compared by one of {', '.join(_TESTS)}; found {found} (several: all: or any:)"
            )
        if self.deadband and tests not in (["above"], ["below"]):
            raise ValueError("deadband belongs to above or below; remove it")
        if self.silent is False:
            raise ValueError("silent is either true or left out")
        if self.connection not in (None, "up", "down"):
            raise ValueError(f"connection is {self.connection!r}; write up or down")
        return self

    def given(self, key: str) -> Any:
        """The value under a key as it is written in the file."""
        return getattr(self, f"{key}_" if key in ("is", "in", "all", "any", "not") else key)


class RuleSpec(Condition):
    """The keys of one rule; those of its condition stand among them."""

    code: str = Field(min_length=1)
    """The code of the alarm catalogue, e.g. WPMP-01: the same on every equipment of a kind."""
    name: TextSpec
    advice: TextSpec
    """What the person who is called does first."""
    cause: TextSpec | None = None
    consequence: TextSpec | None = None
    priority: Priority
    respond: Seconds | None = None
    latching: bool = False
    """Stays after its condition has gone until it is acknowledged and reset."""
    shelvable: bool = True
    root_cause: bool = False
    """Explains what goes wrong below in the tree of parents: mains lost, a controller failed. A silent equipment
    and a connection that is down always do."""
    rescue: bool = False
    """Somebody has to be freed: `on site` and `released` are waited for and written down."""
    on_delay: Seconds = 0.0
    off_delay: Seconds = 0.0
    active_while: Condition | None = None
    """The rule counts only while this is true; it clears when this ends, and still wants its acknowledgement."""
    enabled: bool = True
    """A site switches a rule of the profile off with `enabled: false`."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One alarm rule of one equipment, checked."""

    id: str
    """`<equipment>.<name>`, the id of its alarm."""
    equipment: str
    name: str
    connection: str
    """The equipment's connection: a silent rule is suppressed while that is down."""
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
    root_cause: bool = False
    """Explains alarms of what hangs on its equipment."""
    rescue: bool = False
    """Somebody has to be freed."""

    @property
    def silent(self) -> bool:
        """Whether it looks at the silence of its equipment."""
        return any(isinstance(leaf, Silent) for leaf in leaves(self.condition))


def compile_rules(
    equipment: str,
    connection: str,
    points: Sequence[Point],
    specs: Mapping[str, Any],
    document: Document,
    where: Where,
) -> list[Rule]:
    """The rules of one equipment; those with mistakes are left out and noted in `document`."""
    compiler = _Compiler(equipment, connection, {point.name: point for point in points}, document)
    rules = []
    for name, raw in specs.items():
        here = (*where, name)
        if not _NAME.match(name):
            document.add(here, "is no rule name; use a-z, 0-9 and _")
        elif not isinstance(raw, Mapping):
            document.add(here, "write a mapping of the rule's keys (enabled: false switches a rule off)")
        else:
            spec = document.validate(RuleSpec, raw, here)
            rule = compiler.rule(name, spec, here) if spec else None
            if rule and spec and spec.enabled:
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
    """The gateway's own rule `uplink_backlog` for each uplink; its equipment is `uplink:<name>`.

    It is true while the engine's connection `uplink:<name>` is down.
    """
    named = [(f"uplink:{name}", f"uplink:{name}") for name in uplinks]
    return _gateway_rules("uplink_backlog", named, specs, document, where)


def _gateway_rules(
    rule: str, named: Iterable[tuple[str, str]], specs: Mapping[str, Any], document: Document, where: Where
) -> list[Rule]:
    """Rules whose condition is supplied here: the file has their words, priority and delays."""
    raw = specs.get(rule)
    if raw is None:
        return []
    given = {rule: {"connection": "down", **raw} if isinstance(raw, Mapping) else raw}
    return [r for id_, line in named for r in compile_rules(id_, line, (), given, document, where)]


def _cuts_off(condition: Term) -> bool:
    """Whether nothing below can be read while this is true."""
    return isinstance(condition, Silent) or (isinstance(condition, Linked) and not condition.up)


@dataclass(frozen=True, slots=True)
class _Compiler:
    equipment: str
    connection: str
    points: Mapping[str, Point]
    document: Document

    def rule(self, name: str, spec: RuleSpec, where: Where) -> Rule | None:
        condition = self.term(spec, where)
        if spec.active_while is not None:
            gate = self.term(spec.active_while, (*where, "active_while"))
            condition = AllOf((condition, gate)) if condition and gate else None
        if condition is None:
            return None
        return Rule(
            id=f"{self.equipment}.{name}",
            equipment=self.equipment,
            name=name,
            connection=self.connection,
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
            root_cause=spec.root_cause or _cuts_off(condition),
            rescue=spec.rescue,
        )

    def term(self, spec: Condition, where: Where) -> Term | None:
        """The condition with its points followed; None where there is a mistake, which is noted."""
        if spec.point is not None:
            return self._compare(spec, spec.point, where)
        if spec.not_ is not None:
            part = self.term(spec.not_, (*where, "not"))
            return Not(part) if part else None
        if spec.silent:
            if not self.points:
                self.document.add((*where, "silent"), "this equipment has no points that could fall silent")
            return Silent(self.equipment) if self.points else None
        if spec.connection is not None:
            return Linked(self.connection, up=spec.connection == "up")
        key = "all" if spec.all_ is not None else "any"
        terms = [self.term(each, (*where, key, index)) for index, each in enumerate(spec.given(key))]
        parts = tuple(term for term in terms if term is not None)
        if len(parts) < len(terms):
            return None
        self._check_order(key, parts, (*where, key))
        return AllOf(parts) if key == "all" else AnyOf(parts)

    def _compare(self, spec: Condition, name: str, where: Where) -> Term | None:
        point = self.points.get(name)
        if point is None:
            self.document.add((*where, "point"), f"no point {name!r} in the profile{nearest(name, self.points)}")
            return None
        if spec.above is not None:
            return Above(point, spec.above, spec.deadband) if self._check_limit(point, spec, where) else None
        if spec.below is not None:
            return Below(point, spec.below, spec.deadband) if self._check_limit(point, spec, where) else None
        key = next(key for key in ("is", "is_not", "in") if spec.given(key) is not None)
        given = spec.given(key)
        values = tuple(given) if key == "in" else (given,)
        wrong = [message for message in (_unfit(point, value) for value in values) if message]
        for message in wrong:
            self.document.add((*where, key), message)
        return None if wrong else OneOf(point, values, inverse=key == "is_not")

    def _check_limit(self, point: Point, spec: Condition, where: Where) -> bool:
        key = "above" if spec.above is not None else "below"
        message = _bad_limit(point, key, spec.given(key), spec.deadband)
        if message:
            self.document.add((*where, message[0]), message[1])
        return message is None

    def _check_order(self, key: str, parts: Iterable[Term], where: Where) -> None:
        """Two limits of one point that leave nothing between them, or everything."""
        above = {part.point: part.limit for part in parts if isinstance(part, Above)}
        below = {part.point: part.limit for part in parts if isinstance(part, Below)}
        for point in above.keys() & below.keys():
            over, under = above[point], below[point]
            both = f"{point.name} above {over:g} and below {under:g}"
            if key == "all" and over >= under:
                self.document.add(where, f"{both} can never both be true; the limits are in the wrong order")
            elif key == "any" and over < under:
                self.document.add(where, f"{both}: one of them is always true; the limits are in the wrong order")


def _bad_limit(point: Point, key: str, limit: float, deadband: float) -> tuple[str, str] | None:
    """Which key is wrong and why; None where the limit can be passed and come back from."""
    if point.kind not in ("int", "float"):
        return key, f"{key} compares numbers, but {point.name} is of kind {point.kind}; use is, is_not or in"
    unit = f" {point.unit}" if point.unit else ""
    low, high = point.low, point.high
    span = f"its range {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}{unit}"
    if low is not None and high is not None and deadband >= high - low:
        return "deadband", f"is {deadband:g}, as wide as {point.name} in {span}; make it smaller"
    if key == "above":
        never, stuck = high is not None and limit >= high, low is not None and limit - deadband < low
    else:
        never, stuck = low is not None and limit <= low, high is not None and limit + deadband > high
    if never:
        return key, f"is {limit:g}, which {point.name} never passes in {span}; the rule would never be raised"
    if stuck and deadband:
        return "deadband", f"is {deadband:g}: {key} {limit:g} could never clear in {span}; make it smaller"
    if stuck:
        return key, f"is {limit:g}: {point.name} is always {key} that in {span}; the rule could never clear"
    return None


def _unfit(point: Point, value: Value) -> str | None:
    """Why a point can never have a value; None where it can."""
    if point.kind == "bool":
        right = isinstance(value, bool)
    elif point.kind == "text":
        right = isinstance(value, str)
    else:
        numbers = int if point.kind == "int" else int | float
        right = isinstance(value, numbers) and not isinstance(value, bool)
    if not right:
        return f"is {value!r}, but {point.name} is of kind {point.kind}; write {_ARTICLE[point.kind]}"
    if isinstance(value, bool | str) or value is None:
        return None
    if (point.low is not None and value < point.low) or (point.high is not None and value > point.high):
        return f"is {value!r}, outside of what {point.name} can be"
    if point.labels is not None and value not in point.labels:
        known = ", ".join(f"{code} {text.en}" for code, text in point.labels.items())
        return f"is {value!r}, which {point.name} does not know; it knows {known}"
    return None
