"""One rule at work: its condition bound to the newest values, and what it remembers between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.alarms.alarm import Alarm
from edge.alarms.machine import State
from edge.alarms.rule import Rule
from edge.alarms.truth import Truth, bind, leaves, look
from edge.alarms.values import Values


@dataclass(slots=True, eq=False)
class Watch:
    """One rule at work."""

    rule: Rule
    truth: Truth
    gate: Truth | None = None
    """While it is true the alarm is suppressed by design, and goes on being judged."""
    gated: bool = False
    known: bool | None = None
    """What the condition was judged to be last; None: unknown."""
    active: bool = False
    """Whether the condition stands, delays included."""
    due_s: float | None = None
    """Monotonic time at which a delay in progress ends: `active` then becomes what `known` says."""
    queued_s: float | None = None
    """The earliest time at which this watch stands in the queue of delays."""
    down: set[str] = field(default_factory=set)
    """Connections that are down, where it looks at the silence of what is behind them."""
    closed: bool = False
    """Such a connection is down: not judged at all."""
    kept: bool = False
    """Whether a delay in progress has been stored."""
    alarm: Alarm | None = None
    """None until it is raised or operated for the first time."""

    @property
    def state(self) -> State:
        """Where its alarm stands."""
        return self.alarm.state if self.alarm else State.NORMAL

    def snapshot(self) -> Alarm:
        """Its alarm; a new, normal one where there is none yet."""
        rule = self.rule
        return self.alarm or Alarm(
            id=rule.id,
            equipment=rule.equipment,
            rule=rule.name,
            code=rule.code,
            priority=rule.priority,
            state=State.NORMAL,
            name=rule.title,
            advice=rule.advice,
            cause=rule.cause,
            consequence=rule.consequence,
            respond_s=rule.respond_s,
            shelvable=rule.shelvable,
            cls=rule.cls,
        )


def watch(rule: Rule, values: Values) -> Watch:
    """The rule at work on `values`."""
    made = Watch(rule, bind(rule.condition, values.source))
    seen = list(leaves(rule.condition))
    if rule.gate is not None:
        made.gate = bind(rule.gate, values.source)
        seen += leaves(rule.gate)
    for leaf in seen:
        watches = values.source(look(leaf)).watches
        if made not in watches[-1:]:  # a point may stand in a condition several times
            watches.append(made)
    return made
