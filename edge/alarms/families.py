"""Limits in steps, from low-low to high-high, written as one rule and taken apart into one rule for each step.

What comes in: the `alarms` section as it stands in a file. What goes out: plain rules. What stands beside `steps`
counts for all of them, and a step lays its own over it; its rule is named `<rule>_<step>`.

Each step is an alarm of its own, with its own priority, advice and acknowledgement, and while one stands, those
nearer to normal on the same side are suppressed by design: staff see the most urgent one alone. When it clears,
the next one that still stands is raised, so that nobody takes a half return for a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from drivers.document import Document, Where
from edge.alarms.alarm import Priority

ORDER = ("low_low", "low", "high", "high_high")
_URGENCY = [priority.value for priority in Priority]


@dataclass(frozen=True, slots=True)
class Written:
    """One plain rule, and where it stands in its file."""

    raw: Any
    where: Where


def apart(specs: Mapping[str, Any], document: Document, where: Where) -> dict[str, Written]:
    """Every rule by name, families taken apart; the steps furthest from normal first."""
    found: dict[str, Written] = {}
    for name, raw in specs.items():
        here = (*where, name)
        steps = raw.get("steps") if isinstance(raw, Mapping) else None
        if steps is None:
            members = {name: Written(raw, here)}
        elif isinstance(steps, Mapping) and steps and all(isinstance(step, Mapping) for step in steps.values()):
            members = dict(_family(name, raw, steps, document, here))
        else:
            document.add(
                (*here, "steps"), "write a mapping of steps, e.g. {high: {above: 80}, high_high: {above: 90}}"
            )
            continue
        for member, written in members.items():
            if member in found:
                document.add(written.where, f"is named {member} like another rule; rename one")
            found[member] = written
    return found


def _family(
    name: str, raw: Mapping[str, Any], steps: Mapping[str, Any], document: Document, where: Where
) -> Iterator[tuple[str, Written]]:
    shared = {key: value for key, value in raw.items() if key != "steps"}
    whole = {step: {**shared, **own} for step, own in steps.items()}
    sides = {side: _ordered(whole, side) for side in ("above", "below")}
    for step, row in whole.items():
        limits = [side for side in sides if _number(row.get(side)) is not None]
        if len(limits) != 1:
            document.add((*where, "steps", step), "a step has one limit, above or below")
    _check(whole, sides, document, (*where, "steps"))
    for ordered in sides.values():
        for rank, step in enumerate(ordered):
            row = dict(whole[step])
            higher = [{"alarm": f"{name}_{each}"} for each in ordered[:rank]]
            own = row.get("suppressed_while")
            if higher:
                row["suppressed_while"] = {"any": [*higher, *([own] if own is not None else [])]}
            yield f"{name}_{step}", Written(row, (*where, "steps", step))


def _ordered(whole: Mapping[str, Mapping[str, Any]], side: str) -> list[str]:
    """The steps of one side, the furthest from normal first."""
    limits = {step: limit for step, row in whole.items() if (limit := _number(row.get(side))) is not None}
    return sorted(limits, key=lambda step: limits[step], reverse=side == "above")


def _check(
    whole: Mapping[str, Mapping[str, Any]], sides: Mapping[str, list[str]], document: Document, where: Where
) -> None:
    """Note limits in the wrong order, and steps that come too near to each other."""
    for side, ordered in sides.items():
        for outer, inner in pairwise(ordered):
            far, near = whole[outer], whole[inner]
            both = f"{outer} {side} {far[side]:g} and {inner} {side} {near[side]:g}"
            if far[side] == near[side]:
                document.add((*where, outer), f"{both} are the same limit; move one")
            elif _misnamed(outer, inner, side) or _rank(far) > _rank(near):
                document.add((*where, outer), f"{both}: the limits are in the wrong order; swap them")
            elif abs(far[side] - near[side]) < (_number(far.get("deadband")) or 0):
                document.add(
                    (*where, outer), f"{both}: the deadband {far['deadband']:g} is wider than the band between them"
                )
    if sides["above"] and sides["below"]:
        high, low = whole[sides["above"][-1]], whole[sides["below"][-1]]
        band = high["above"] - low["below"]
        widest = max(_number(high.get("deadband")) or 0, _number(low.get("deadband")) or 0)
        if band <= 0:
            document.add(
                where, f"above {high['above']:g} and below {low['below']:g}: the limits are in the wrong order"
            )
        elif widest >= band:
            document.add(where, f"the deadband {widest:g} is wider than the band {low['below']:g}..{high['above']:g}")


def _misnamed(outer: str, inner: str, side: str) -> bool:
    if outer not in ORDER or inner not in ORDER:
        return False
    rising = ORDER.index(outer) > ORDER.index(inner)
    return rising is not (side == "above")


def _rank(row: Mapping[str, Any]) -> int:
    """0: most urgent. What is no priority is told elsewhere."""
    priority = row.get("priority")
    return _URGENCY.index(priority) if priority in _URGENCY else 0


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
