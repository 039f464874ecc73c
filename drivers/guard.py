"""What a writable point asks for before it is written: the `guard:` of a point and the conditions in it.

What comes in: mappings of a profile (`guard:` beside `writable: true`) and of a site file (`interlocks:` of an
equipment). What goes out: checked models; the daemon applies them to every command, whoever gives it. Equipment
that lives hang on is not guarded but never written: lifts and fire systems are read, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from drivers.point import Value
from drivers.units import Seconds

READ_ONLY = frozenset({"elevator", "fire"})
"""Classes of equipment that are never written."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Given = Annotated[bool | int | float | str, Field(union_mode="smart")]

_TESTS = ("above", "below", "is", "is_not", "in")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _list(given: Any) -> Any:
    return given if isinstance(given, list) else [given]


class Signal(Protocol):
    """What of a point a condition is held against."""

    @property
    def kind(self) -> str:
        """`bool`, `int`, `float` or `text`."""
        ...

    @property
    def low(self) -> float | None:
        """No value lies below."""
        ...

    @property
    def high(self) -> float | None:
        """No value lies above."""
        ...

    @property
    def labels(self) -> Mapping[int, Any] | None:
        """The values of an enumeration."""
        ...


class InterlockSpec(_Strict):
    """One thing that must be true of another point before a command is carried out."""

    point: str
    """In a profile a point of the same equipment, in a site file also `<equipment>.<point>`."""
    above: Number | None = None
    below: Number | None = None
    is_: Given | None = Field(default=None, alias="is")
    is_not: Given | None = None
    in_: list[Given] | None = Field(default=None, alias="in", min_length=1)
    to: Annotated[list[Given], BeforeValidator(_list), Field(min_length=1)] | None = None
    """Only commands to these values are held back; so that what may not start can still be stopped."""
    to_above: Number | None = None
    """Only commands to values above this are held back."""

    @model_validator(mode="after")
    def _one_test(self) -> InterlockSpec:
        tests = [name for name in _TESTS if self.given(name) is not None]
        if len(tests) != 1:
            found = " and ".join(tests) or "none"
            raise ValueError(f"an interlock has one of {', '.join(_TESTS)}; found {found}")
        if self.to is not None and self.to_above is not None:
            raise ValueError("an interlock has to or to_above, not both; write two interlocks")
        return self

    def given(self, test: str) -> Any:
        """The value under a test's key as it is written in the file."""
        return getattr(self, f"{test}_" if test in ("is", "in") else test)

    @property
    def test(self) -> str:
        """Which of the five tests it is."""
        return next(name for name in _TESTS if self.given(name) is not None)

    def mistakes(self, own: Signal, other: Signal) -> list[tuple[str, str]]:
        """What of it fits neither the guarded point nor the one that it looks at, as (key, why)."""
        aim = "to" if self.to_above is None else "to_above"
        found = [(self.test, self._against(other)), (aim, self._aimed(own))]
        return [(key, why) for key, why in found if why]

    def _against(self, other: Signal) -> str | None:
        if self.test in ("above", "below"):
            return self._limit_against(other)
        given = self.given(self.test)
        values = given if self.test == "in" else [given]
        return next((why for value in values if (why := unfit(other, value))), None)

    def _limit_against(self, other: Signal) -> str | None:
        limit, low, high = self.given(self.test), other.low, other.high
        if other.kind not in ("int", "float"):
            return f"{self.test} compares numbers, but the point is of kind {other.kind}; use is, is_not or in"
        if self.test == "above":
            never, always = high is not None and limit >= high, low is not None and limit < low
        else:
            never, always = low is not None and limit <= low, high is not None and limit > high
        if never or always:
            span = f"{'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"
            return f"{self.test} {limit:g} is {'never' if never else 'always'} true in the point's range {span}"
        return None

    def _aimed(self, own: Signal) -> str | None:
        if self.to_above is not None and own.kind not in ("int", "float"):
            return f"to_above compares numbers, but the point is of kind {own.kind}; use to"
        return next((why for value in self.to or () if (why := unfit(own, value))), None)


def unfit(point: Signal, value: Value) -> str | None:
    """Why a point can never have a value; None where it can."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    right = {"bool": isinstance(value, bool), "text": isinstance(value, str)}.get(point.kind, number)
    if point.kind == "int" and isinstance(value, float):
        right = value.is_integer()
    if not right:
        return f"{value!r} is none of its values; it is of kind {point.kind}"
    if isinstance(value, bool | str) or value is None:
        return None
    if (point.low is not None and value < point.low) or (point.high is not None and value > point.high):
        return f"{value!r} lies outside of its range"
    if point.labels is not None and value not in point.labels:
        return f"{value!r} is none of its values {', '.join(map(str, point.labels))}"
    return None


class GuardSpec(_Strict):
    """How a writable point may be commanded."""

    low: Number | None = None
    high: Number | None = None
    """Commands outside low..high are refused; the point's own range where they say nothing."""
    min_interval: Annotated[Seconds, Field(le=86_400)] = 0.0
    """At most one command is carried out in this time."""
    max_step: Annotated[Number, Field(gt=0)] | None = None
    """At most so much change in one command, in the point's unit."""
    interlocks: list[InterlockSpec] = []
    """All of them must be met."""

    def mistakes(self, own: Signal) -> list[tuple[str, str]]:
        """What of it does not fit its point, as (key, why)."""
        found = []
        if own.kind not in ("int", "float"):
            wrong = [key for key in ("low", "high", "max_step") if getattr(self, key) is not None]
            found += [(key, f"is for numbers, but the point is of kind {own.kind}; remove it") for key in wrong]
            return found
        if own.kind == "int" and self.max_step is not None and self.max_step < 1:
            found.append(("max_step", f"is {self.max_step:g}, but whole numbers change by 1 at least"))
        low = own.low if self.low is None else self.low
        high = own.high if self.high is None else self.high
        if low is not None and high is not None and low >= high:
            found.append(("low", f"{low:g} is not below high {high:g}; no command would be allowed"))
        if self.low is not None and own.low is not None and self.low < own.low:
            found.append(("low", f"is {self.low:g}, below the point's own low {own.low:g}; raise it or leave it out"))
        if self.high is not None and own.high is not None and self.high > own.high:
            found.append(
                ("high", f"is {self.high:g}, above the point's own high {own.high:g}; lower it or leave it out")
            )
        return found
