"""Rows as InfluxDB line protocol. Pure.

Measurement is the equipment's class; tags are `equipment`, `location`, `profile`, `site`; each point is a field,
and one that is not good has a text field `<point>_quality` beside it. All numbers are written as floats, since a
field keeps the type of its first value and a register may bring 7 now and 7.5 later; integers beyond 2^53 are
rounded by that. Control characters become spaces: a line break would end the line. In names and tags a slash
stands for a backslash and ' for ", which servers read each in its own way there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import isfinite

from drivers.point import Quality, Value
from edge.uplinks.shape import Row, SiteView

UNKNOWN = "unknown"
"""Class of an equipment that is in the log but no longer in the site file."""
RESERVED = frozenset({"time", "_field", "_measurement"})
"""Names that a server keeps for itself and refuses as a field's; ours get an underscore behind."""
GOOD = Quality.GOOD.value
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAME = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ ", "\\": "/", '"': "'"})
_MEASUREMENT = str.maketrans({",": "\\,", " ": "\\ ", "\\": "/", '"': "'"})
_TEXT = str.maketrans({'"': '\\"', "\\": "\\\\"})


def plain(text: str) -> str:
    """Text without what would break a line."""
    return _CONTROL.sub(" ", text)


class Lines:
    """Writes rows of one site; what is the same in every line of an equipment is made once."""

    def __init__(self, site: SiteView) -> None:
        self._site = site
        self._heads: dict[str, str] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def line(self, row: Row) -> bytes | None:
        """One row as one line, without a line break; None where it has nothing to tell (no value, all good)."""
        head = self._heads.get(row.equipment) or self._head(row.equipment)
        names = self._names.get(row.points) or self._escaped(row.points)
        fields = ",".join(self._fields(names, row.values, row.qualities))
        return f"{head} {fields} {row.time_ns}".encode("utf-8", "replace") if fields else None

    def _fields(
        self, names: Sequence[str], values: Sequence[Value], qualities: Sequence[str] | None
    ) -> Iterable[str]:
        if qualities is None:
            return [f"{name}={text}" for name, value in zip(names, values, strict=True) if (text := _text(value))]
        fields = []
        for name, value, quality in zip(names, values, qualities, strict=True):
            if text := _text(value):
                fields.append(f"{name}={text}")
            if quality != GOOD:
                fields.append(f'{name}_quality="{plain(quality).translate(_TEXT)}"')
        return fields

    def _head(self, equipment: str) -> str:
        """Measurement and tags, sorted by key; an empty tag is none."""
        view = self._site.equipment.get(equipment)
        tags = {"equipment": equipment, "site": self._site.id}
        if view is not None:
            tags |= {"profile": view.profile, "location": view.location}
        measurement = plain(view.equipment_class if view else UNKNOWN).translate(_MEASUREMENT)
        parts = [f"{key}={plain(value).translate(_NAME)}" for key, value in sorted(tags.items()) if value]
        self._heads[equipment] = head = ",".join([measurement, *parts])
        return head

    def _escaped(self, points: tuple[str, ...]) -> tuple[str, ...]:
        if len(self._names) > 10_000:  # report by exception makes many sets of points; the common ones come again
            self._names.clear()
        names = tuple(plain(point).translate(_NAME) for point in points)
        self._names[points] = names = tuple(f"{name}_" if name in RESERVED else name for name in names)
        return names


def _text(value: Value) -> str:
    """A field's value; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{plain(value).translate(_TEXT)}"'
    number = float(value)
    return repr(number) if isfinite(number) else ""
