"""Upkeep plans: when a task on an equipment falls due.

What comes in: the `upkeep` section of a profile, and what the site file says was done last. What goes out: plans
by calendar, by meter or by alarm; every mistake is noted in the document where it stands.

*Fixed* plans count from their own due dates, whenever the work was done (work that a rule prescribes); the others,
*floating*, count from the day or the reading at which it was done.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from drivers.document import Document, Where, nearest
from drivers.point import Text
from drivers.profile import Strict, TextSpec
from edge.upkeep.period import Period, parse_period

_NAME = re.compile(r"[a-z0-9_]{1,64}\Z")
_YEARS = (1970, 2200)
Priority = Literal["critical", "high", "medium", "low"]


class PlanKeys(Strict):
    """The keys of one plan: `every` alone, `meter` with `every`, or `on_alarm`."""

    name: TextSpec
    task: TextSpec
    priority: Priority = "medium"
    every: str | float | None = Field(default=None, union_mode="left_to_right")
    """P15D, P1M, P1Y by calendar; a number in the meter's unit by meter."""
    fixed: bool = False
    lead: str | float | None = Field(default=None, union_mode="left_to_right")
    """The order is opened so much earlier: P3D by calendar, a number by meter."""
    meter: str | None = None
    on_alarm: str | list[str] | None = None
    """One alarm, or several of which any calls for the work: the steps of one limit."""

    @model_validator(mode="after")
    def _one_kind(self) -> PlanKeys:
        if self.on_alarm is not None:
            extra = {"every", "lead", "meter", "fixed"} & self.model_fields_set
            if extra:
                raise ValueError(f"{sorted(extra)[0]} does not belong to a plan on an alarm; remove it")
        elif self.every is None:
            raise ValueError("a plan has every (a period), meter with every (a number), or on_alarm; found none")
        return self


@dataclass(frozen=True, slots=True)
class Calendar:
    """By the calendar, in days of the site's time zone."""

    every: Period
    fixed: bool
    lead: Period | None
    last: dt.date | None
    """When it was done last, before Courtyard came."""


@dataclass(frozen=True, slots=True)
class Metered:
    """By a meter, in its unit."""

    meter: str
    every: float
    fixed: bool
    lead: float
    last: float | None
    """What the meter read when it was done last, before Courtyard came."""


@dataclass(frozen=True, slots=True)
class OnAlarm:
    """Whenever an alarm is raised."""

    rule: str
    also: tuple[str, ...] = ()
    """Others that call for the same work."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One plan of one equipment, checked."""

    equipment: str
    name: str
    title: Text
    task: Text
    priority: Priority
    trigger: Calendar | Metered | OnAlarm

    @property
    def id(self) -> str:
        """`<equipment>.<name>`"""
        return f"{self.equipment}.{self.name}"


def compile_plans(
    equipment: str,
    specs: Mapping[str, Any],
    document: Document,
    where: Where,
    meters: Collection[str],
    rules: Collection[str],
    last: Mapping[str, Any] | None = None,
    site: tuple[Document, Where] | None = None,
) -> list[Plan]:
    """The plans of one equipment; those with mistakes are left out and noted in `document`.

    `meters` and `rules` are the names that the equipment has. `last` says when each was done last, by name: a
    date, or a number for a plan by meter. Mistakes in it are noted at `site`, where it stands, if that is given.
    """
    plans = []
    for name, raw in specs.items():
        here = (*where, name)
        if not _NAME.match(name):
            document.add(here, "is no plan name; use a-z, 0-9 and _")
            continue
        keys = document.validate(PlanKeys, raw, here)
        if keys is None:
            continue
        done_at = (site[0], (*site[1], name)) if site else (document, here)
        maker = _Maker(document, here, done_at, f"{equipment}: " if site is None else "", (last or {}).get(name))
        trigger = maker.trigger(keys, meters, rules)
        if trigger is not None:
            plans.append(Plan(equipment, name, keys.name.text(), keys.task.text(), keys.priority, trigger))
    return plans


@dataclass(frozen=True, slots=True)
class _Maker:
    """Follows the names of one plan."""

    document: Document
    where: Where
    done_at: tuple[Document, Where]
    whose: str
    last: Any

    def trigger(
        self, keys: PlanKeys, meters: Collection[str], rules: Collection[str]
    ) -> Calendar | Metered | OnAlarm | None:
        if keys.on_alarm is not None:
            names = [keys.on_alarm] if isinstance(keys.on_alarm, str) else keys.on_alarm
            return self._on_alarm(names, rules)
        return self._calendar(keys) if keys.meter is None else self._metered(keys, keys.meter, meters)

    def _on_alarm(self, names: Sequence[str], rules: Collection[str]) -> OnAlarm | None:
        unknown = [name for name in names if name not in rules]
        for name in unknown:
            self.document.add((*self.where, "on_alarm"), f"no alarm rule {name!r}{nearest(name, rules)}")
        if unknown or not names:
            return None
        if self.last is not None:
            self._bad_last("a plan on an alarm has no last date; remove it")
            return None
        return OnAlarm(names[0], tuple(names[1:]))

    def _calendar(self, keys: PlanKeys) -> Calendar | None:
        every = self._period("every", keys.every)
        lead = None if keys.lead is None else self._period("lead", keys.lead)
        if every and lead and lead.about_days >= every.about_days:
            self.document.add((*self.where, "lead"), f"{keys.lead} is no shorter than every {keys.every}; shorten it")
            return None
        last = None
        if self.last is not None:
            try:
                last = dt.date.fromisoformat(str(self.last))
                if not _YEARS[0] <= last.year < _YEARS[1]:
                    raise ValueError
            except ValueError:
                self._bad_last(f"{self.last!r} is no date; write it like 2026-11-10")
                return None
        if every is None or (lead is None and keys.lead is not None):
            return None
        return Calendar(every, keys.fixed, lead, last)

    def _period(self, key: str, value: object) -> Period | None:
        try:
            return parse_period(value)
        except ValueError as error:
            hint = " (a plan by meter names its meter)" if isinstance(value, float) else ""
            self.document.add((*self.where, key), f"{error}{hint}")
            return None

    def _metered(self, keys: PlanKeys, meter: str, meters: Collection[str]) -> Metered | None:
        before = len(self.document.faults) + len(self.done_at[0].faults)
        if meter not in meters:
            self.document.add((*self.where, "meter"), f"no meter {meter!r}{nearest(meter, meters)}")
        every, lead = keys.every, 0.0 if keys.lead is None else keys.lead
        if not isinstance(every, float) or not (math.isfinite(every) and every > 0):
            self.document.add((*self.where, "every"), f"is {every!r}; write a number above 0 in the meter's unit")
        elif not isinstance(lead, float) or not 0 <= lead < every:
            self.document.add((*self.where, "lead"), f"is {lead!r}; write a number from 0 to less than {every:g}")
        elif self.last is not None and not _reading(self.last):
            self._bad_last(f"{self.last!r} is no meter reading; write a number")
        elif len(self.document.faults) + len(self.done_at[0].faults) == before:
            last = None if self.last is None else float(self.last)
            return Metered(meter, every, keys.fixed, lead, last)
        return None

    def _bad_last(self, message: str) -> None:
        document, where = self.done_at
        document.add(where, f"{self.whose}{message}")


def _reading(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
