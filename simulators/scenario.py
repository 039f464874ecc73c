"""Scenarios: what goes wrong when, as data.

In comes a YAML file, `{scenario, name, start, events, alarms}`; out goes a `Scenario`, checked against the equipment
and connections of a site, every mistake placed. An equipment has the faults of its model, and `silent`; a
connection may be `cut` (wires) or `gone` (the broker, the gateway: nothing is there to answer).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from drivers.document import Document, Faulty, Where, load, nearest
from drivers.point import Text
from drivers.profile import Strict, TextSpec
from drivers.units import Seconds
from simulators.model import Plain, SimEquipment
from simulators.models import model_of

SILENT = "silent"
CONNECTION_FAULTS = ("cut", "gone")
SETTLES_S = 60.0
"""After this the delays of what has begun or ended are over."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that goes wrong."""

    at_s: float
    """Behaviour seconds from the start."""
    target: str
    """The equipment, or the connection."""
    connection: bool
    """Whether the target is a connection."""
    fault: str
    for_s: float | None = None
    """How long it lasts. None: for ever."""
    params: Mapping[str, Any] | None = None
    """The fault's own keys, as they stand in the file."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A day, or a minute of one, with what goes wrong in it."""

    id: str
    name: Text
    start: datetime
    """With the site's time zone."""
    events: tuple[Event, ...]
    alarms: tuple[str, ...] = ()
    """Ids of the alarms that it raises, each at least once, and no other."""

    @property
    def lasts_s(self) -> float:
        """Until what has begun is over, and a while for alarms that wait their delay."""
        ends = [event.at_s + (SETTLES_S if event.for_s is None else event.for_s) for event in self.events]
        return max(ends, default=0.0) + SETTLES_S


class EventSpec(Strict):
    """One row of `events`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Seconds
    equipment: str | None = None
    connection: str | None = None
    fault: str
    for_s: Seconds | None = Field(default=None, alias="for")
    params: dict[str, Any] = Field(default={}, alias="with")


class ScenarioSpec(Strict):
    """The top level of a scenario file."""

    scenario: str
    name: TextSpec
    start: str
    """Local time of the site, `2026-03-02 18:30`."""
    events: list[dict[str, Any]] = []
    alarms: list[str] = []
    """`<equipment>.<rule>` of all that its story raises."""


def load_scenario(
    path: Path, equipment: Sequence[SimEquipment], connections: Iterable[str], timezone: tzinfo = UTC
) -> Scenario:
    """One file as a scenario of a site. Raises Faulty with every mistake at its place.

    `timezone` is that of `start`; behaviour follows the local time of day, whatever the zone.
    """
    document = load(path)
    spec = None if document.faults else document.validate(ScenarioSpec, document.data or {}, ())
    scenario = _check(spec, path, equipment, connections, timezone, document) if spec else None
    if scenario is None or document.faults:
        raise Faulty(document.faults)
    return scenario


def _check(
    spec: ScenarioSpec,
    path: Path,
    equipment: Sequence[SimEquipment],
    connections: Iterable[str],
    timezone: tzinfo,
    document: Document,
) -> Scenario | None:
    if spec.scenario != path.stem:
        document.add(("scenario",), f"is {spec.scenario!r}, but the file is named {path.name}")
    start = _start(spec.start, timezone, document)
    known = {each.id: each for each in equipment}
    names = set(connections)
    events = [_event(row, index, known, names, document) for index, row in enumerate(spec.events)]
    if start is None:
        return None
    good = sorted((event for event in events if event is not None), key=lambda event: event.at_s)
    for index, alarm in enumerate(spec.alarms):
        owner = alarm.rpartition(".")[0]
        if owner not in known and owner.removeprefix("connection:") not in names:
            near = nearest(owner, [*known, *(f"connection:{name}" for name in names)])
            document.add(("alarms", index), f"no equipment or connection {owner!r}{near}")
    return Scenario(spec.scenario, spec.name.text(), start, tuple(good), tuple(spec.alarms))


def _start(text: str, timezone: tzinfo, document: Document) -> datetime | None:
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        document.add(("start",), f"is {text!r}; write the site's local time like 2026-03-02 18:30")
        return None
    return start if start.tzinfo else start.replace(tzinfo=timezone)


def _event(
    row: dict[str, Any], index: int, known: Mapping[str, SimEquipment], connections: set[str], document: Document
) -> Event | None:
    where = ("events", index)
    spec = document.validate(EventSpec, row, where)
    if spec is None:
        return None
    if (spec.equipment is None) == (spec.connection is None):
        document.add(where, "write either equipment or connection: what the fault befalls")
    elif spec.connection is not None:
        _check_connection(spec, index, connections, document)
    elif spec.equipment is not None:
        _check_equipment(spec, index, known, document)
    target = spec.equipment or spec.connection or ""
    return Event(spec.at, target, spec.connection is not None, spec.fault, spec.for_s, spec.params)


def _check_connection(spec: EventSpec, index: int, connections: set[str], document: Document) -> None:
    where = ("events", index)
    if spec.connection not in connections:
        near = nearest(str(spec.connection), connections)
        document.add((*where, "connection"), f"no connection {spec.connection!r}{near}")
    if spec.fault not in CONNECTION_FAULTS:
        _no_fault("a connection", spec.fault, CONNECTION_FAULTS, where, document)
    document.validate(Plain, spec.params, (*where, "with"))


def _check_equipment(spec: EventSpec, index: int, known: Mapping[str, SimEquipment], document: Document) -> None:
    where = ("events", index)
    equipment = known.get(str(spec.equipment))
    if equipment is None:
        document.add((*where, "equipment"), f"no equipment {spec.equipment!r}{nearest(str(spec.equipment), known)}")
        return
    model = model_of(equipment.params)
    faults: dict[str, type[Strict]] = {SILENT: Plain, **(model.FAULTS if model else {})}
    if spec.fault in faults:
        document.validate(faults[spec.fault], spec.params, (*where, "with"))
    else:
        _no_fault(equipment.id, spec.fault, faults, where, document)


def _no_fault(owner: str, fault: str, faults: Iterable[str], where: Where, document: Document) -> None:
    names = sorted(faults)
    choice = f"{', '.join(names)}{nearest(fault, names)}"
    document.add((*where, "fault"), f"{owner} has no fault {fault!r}; write one of {choice}")
