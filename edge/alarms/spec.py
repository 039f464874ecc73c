"""Alarm rules as they are written in profiles and site files: the models that a file is checked against.

What comes in: plain data. What goes out: `RuleSpec` and its parts, in which every key has its type and keys that
do not go together have been refused. Names are followed and limits judged in `rule`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from drivers.profile import Strict, TextSpec
from drivers.units import Seconds
from edge.alarms.alarm import AlarmClass, Priority

FORMS = ("point", "all", "any", "not", "silent", "unusable", "connection", "alarm", "time")
TESTS = ("above", "below", "is", "is_not", "in")
MEASURES = ("change", "count", "difference", "unbalance")
_RESERVED = ("is", "in", "all", "any", "not", "from", "with", "class")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Given = bool | int | float | str
Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Span = Annotated[Seconds, Field(ge=1, le=31 * 86_400)]
"""1 s to 31 d."""


def _time_of_day(text: str) -> str:
    if not _CLOCK.match(text):
        raise ValueError(f"{text!r} is no time of day; write it like 22:00")
    return text


Clock = Annotated[str, AfterValidator(_time_of_day)]


class ChangeSpec(Strict):
    """How far a value has risen (beside `above`) or fallen (beside `below`) within a time."""

    over: Span
    per: Span | None = None
    """Told as a rate per this time; left out: as the whole change."""


class CountSpec(Strict):
    """How often something happened within a time: a counter's increase, or a value's becoming this from that."""

    over: Span | Literal["day"]
    """A sliding time, or `day`: since the site's midnight."""
    from_: list[Given] | None = Field(default=None, alias="from", min_length=1)
    to: list[Given] | None = Field(default=None, min_length=1)


class DifferenceSpec(Strict):
    """How far a point is from another, or from a setpoint."""

    to: str | Limit
    percent: bool = False
    """In percent of what it is compared with."""
    either_way: bool = False
    """Above or under it alike."""


class UnbalanceSpec(Strict):
    """The largest distance of several points from their mean, in percent of the mean."""

    with_: list[str] = Field(alias="with", min_length=1)
    floor: Annotated[Limit, Field(ge=0)] = 0.0
    """Under this mean nothing is called unbalanced: what hardly flows flows as it likes."""


class TimeSpec(Strict):
    """A window in the site's local time; one that ends before it begins goes over midnight."""

    from_: Clock = Field(default="00:00", alias="from")
    to: Clock = "00:00"
    days: list[Day] = Field(default=list(DAYS), min_length=1)


class Condition(Strict):
    """What must be true: one point against one limit or value, or a combination, a silence, another alarm, a time."""

    point: str | None = None
    change: ChangeSpec | None = None
    count: CountSpec | None = None
    difference: DifferenceSpec | None = None
    unbalance: UnbalanceSpec | None = None
    above: Limit | None = None
    below: Limit | None = None
    is_: Given | None = Field(default=None, alias="is")
    is_not: Given | None = None
    in_: list[Given] | None = Field(default=None, alias="in", min_length=1)
    deadband: Annotated[Limit, Field(ge=0)] = 0.0
    """How far inside the limit, in the unit of what is compared, it must be before the alarm clears."""
    all_: list[Condition] | None = Field(default=None, alias="all", min_length=1)
    any_: list[Condition] | None = Field(default=None, alias="any", min_length=1)
    not_: Condition | None = Field(default=None, alias="not")
    silent: bool | str | None = None
    """True while no point of the equipment can be read; in the site file also another equipment's id."""
    unusable: bool | list[str] | None = None
    """True while a point of the equipment, or one of these, answers with what cannot be used."""
    connection: str | None = None
    """`up` or `down`: how the equipment's connection is."""
    alarm: str | None = None
    """True while this other alarm stands."""
    time: TimeSpec | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Condition:
        forms = [name for name in FORMS if self.given(name) is not None]
        tests = [name for name in TESTS if self.given(name) is not None]
        measures = [name for name in MEASURES if self.given(name) is not None]
        if len(forms) != 1:
            found = " and ".join(forms) or "none"
            raise ValueError(f"a condition has one of {', '.join(FORMS)}; found {found}")
        if forms != ["point"] and tests + measures:
            raise ValueError(f"{(tests + measures)[0]} belongs beside a point, not beside {forms[0]}")
        if forms == ["point"] and len(tests) != 1:
            found = " and ".join(tests) or "none"
            raise ValueError(
                f"a point is compared by one of {', '.join(TESTS)}; found {found} (several: all: or any:)"
            )
        if measures and (len(measures) > 1 or tests[0] not in ("above", "below")):
            raise ValueError(f"{' and '.join(measures)}: one of them at most, compared by above or below")
        if self.deadband and tests not in (["above"], ["below"]):
            raise ValueError("deadband belongs to above or below; remove it")
        if self.silent is False or self.unusable is False:
            raise ValueError("silent and unusable are either true or left out")
        if self.connection not in (None, "up", "down"):
            raise ValueError(f"connection is {self.connection!r}; write up or down")
        return self

    def given(self, key: str) -> Any:
        """The value under a key as it is written in the file."""
        return getattr(self, f"{key}_" if key in _RESERVED else key)


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
    class_: AlarmClass = Field(default="asset", alias="class")
    """What is at stake."""
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
    realarm: Annotated[Seconds, Field(ge=60)] | None = None
    """Asks for somebody again where it still stands this long after it was acknowledged."""
    active_while: Condition | None = None
    """The rule counts only while this is true; it clears when this ends, and still wants its acknowledgement."""
    suppressed_while: Condition | None = None
    """While this is true the alarm is suppressed by design: it goes on being judged, and nobody is told."""
    enabled: bool = True
    """A site switches a rule of the profile off with `enabled: false`."""


class SiteRuleSpec(RuleSpec):
    """A rule of the site file: its points are written `<equipment>.<point>`."""

    equipment: str
    """Whose alarm it is."""
