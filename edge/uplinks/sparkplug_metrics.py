"""The points of a site as metrics of Sparkplug B: numbers, types, properties. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.point import Value
from edge.uplinks.shape import SiteView
from edge.uplinks.sparkplug_payload import DataType, Property, fits

TYPES: Mapping[str, DataType] = {
    "bool": DataType.BOOLEAN,
    "int": DataType.INT64,
    "float": DataType.DOUBLE,
    "text": DataType.STRING,
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One point as a metric."""

    id: str
    name: str
    alias: int
    datatype: DataType
    writable: bool
    properties: Mapping[str, Property]


def signals_of(site: SiteView) -> dict[str, list[Signal]]:
    """Every point as a metric, numbered in the site's order."""
    found: dict[str, list[Signal]] = {equipment: [] for equipment in site.equipment}
    for alias, (point_id, view) in enumerate(site.points.items(), 1):
        equipment, _, name = point_id.rpartition(".")
        properties: dict[str, Property] = {
            "documentation": (DataType.STRING, view.title.get(site.language, name)),
            "readOnly": (DataType.BOOLEAN, not view.writable),
        }
        for key, value in (("engUnit", view.unit), ("engLow", view.low), ("engHigh", view.high)):
            if isinstance(value, str) and value:
                properties[key] = DataType.STRING, value
            elif isinstance(value, int | float):
                properties[key] = DataType.DOUBLE, float(value)
        found[equipment].append(Signal(point_id, name, alias, TYPES[view.kind], view.writable, properties))
    return found


def asked(value: Value, datatype: DataType) -> Value:
    """The value of a command as its point's kind; hosts are free with the types of numbers. Raises ValueError."""
    if isinstance(value, float) and datatype is DataType.INT64 and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if datatype is DataType.DOUBLE:
            return float(value)
        if datatype is DataType.BOOLEAN and value in (0, 1):
            return bool(value)
    if value is None or not fits(value, datatype):
        raise ValueError(f"{value!r} is no value of type {datatype.name}")
    return value
