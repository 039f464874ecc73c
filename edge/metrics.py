"""The daemon's figures for Prometheus, made from the desk's answers at the moment of asking.

What comes in: `health()`, `connections()`, `uplinks()` and `alarms()` of the desk. What goes out: the text
exposition format. Names follow the Prometheus conventions: base units, `_total` for counters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from edge import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_COUNTED = frozenset({"courtyard_batches", "courtyard_readings", "courtyard_recorded"})
"""Counts since the start that the desk tells without `_total`."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")

# field of a row -> (name, what it is, whether it only counts up)
_CONNECTION = {
    "load": ("load_ratio", "Share of the wire's time that the site file plans", False),
    "utilisation": ("utilisation_ratio", "Share of the wire's time in use", False),
    "probing": ("probing_ratio", "Share of the wire's time spent on devices that are silent", False),
    "worst_age_s": ("worst_age_seconds", "How old the oldest value can become by plan, all devices answering", False),
    "messages": ("messages", "Requests answered, or messages taken", True),
    "timeouts": ("timeouts", "Requests that were not answered in time", True),
    "bad_frames": ("bad_frames", "Frames or messages that could not be used", True),
    "bad_answers": ("bad_answers", "Requests whose answer could not be used, exceptions included", True),
    "exceptions": ("exceptions", "Answers of a device that it will not", True),
    "overruns": ("overruns", "Turns skipped because the one before was late or still running", True),
    "writes": ("writes", "Commands sent", True),
    "unknown": ("unknown", "Messages from devices that the site file does not name", True),
}
_DEVICE = {
    "load": ("load_ratio", "Share of its wire's time that the site file plans for the device", False),
    "utilisation": ("utilisation_ratio", "Share of its wire's time that the device has taken", False),
    "planned_s": ("planned_exchange_seconds", "Expected mean time of an exchange", False),
    "response_s": ("exchange_seconds", "Mean time of an exchange that was answered", False),
    "answers": ("answers", "Requests answered", True),
    "timeouts": ("timeouts", "Requests that were not answered in time", True),
    "bad_answers": ("bad_answers", "Requests whose answer could not be used, exceptions included", True),
    "overruns": ("overruns", "Turns skipped because the one before was late or still running", True),
}
_UPLINK = {
    "lag_s": ("lag_seconds", "Age of the oldest row that the far end has not acknowledged", False),
    "backlog": ("backlog_rows", "Rows that the far end has not acknowledged", False),
    "rejected": ("rejected_rows", "Rows that the far end will never take", True),
    "rate": ("rows_per_second", "Rows a second that the far end took over the last minute", False),
    "events": ("sent_events", "Alarms and orders that the far end has acknowledged", True),
    "sent": ("sent_rows", "Rows that the far end has acknowledged", True),
}


class Figures(Protocol):
    """What of the desk is measured."""

    def site(self) -> Mapping[str, Any]:
        """Who this is."""
        ...

    def health(self) -> Mapping[str, Any]:
        """`ok`, `reasons`, and numbers, which may lie in mappings inside."""
        ...

    def connections(self) -> Iterable[Mapping[str, Any]]:
        """Rows with `name`, `type`, `state` and counts; `devices` of a polled one has the same of each device."""
        ...

    def uplinks(self) -> Iterable[Mapping[str, Any]]:
        """Rows with `name`, `type`, `state`, `lag_s`, `backlog`, `rejected`."""
        ...

    def alarms(self) -> Iterable[Mapping[str, Any]]:
        """Rows with `priority` and `state`."""
        ...


class Metrics:
    """The exposition of one daemon, with the process's own CPU time and memory."""

    def __init__(self, desk: Figures) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_DeskCollector(desk))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """All figures as they are now."""
        return generate_latest(self._registry)


class _DeskCollector(Collector):
    def __init__(self, desk: Figures) -> None:
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        health = self._desk.health()
        site = str(self._desk.site().get("id", ""))
        info = {"site": site, "version": __version__}
        yield InfoMetricFamily("courtyard", "What runs here", value=info)
        well = not health.get("reasons") and health.get("ok") is not False
        yield GaugeMetricFamily("courtyard_healthy", "1 where /healthz answers 200", value=float(well))
        yield from _own(health)
        connections = list(self._desk.connections())
        yield from _links("connection", connections, _CONNECTION)
        yield from _devices(connections)
        yield from _links("uplink", self._desk.uplinks(), _UPLINK)
        yield _alarms(self._desk.alarms())


def _own(health: Mapping[str, Any]) -> Iterator[Metric]:
    """Every number that the daemon tells of itself, by its name there."""
    for name, value in _numbers("courtyard", health):
        text = f"{name.removeprefix('courtyard_')} of the daemon, as in its health"
        if name in _COUNTED or name.endswith("_total"):
            yield CounterMetricFamily(name.removesuffix("_total"), text, value=value)
        else:
            yield GaugeMetricFamily(name, text, value=value)


def _numbers(prefix: str, node: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in node.items():
        name = f"{prefix}_{_NOT_IN_NAMES.sub('_', str(key).lower()).strip('_')}"
        if isinstance(value, Mapping):
            yield from _numbers(name, value)
        elif key != "ok" and isinstance(value, bool | int | float):
            yield (name.removesuffix("_s") + "_seconds" if name.endswith("_s") else name), float(value)


def _links(
    what: str, rows: Iterable[Mapping[str, Any]], fields: Mapping[str, tuple[str, str, bool]]
) -> Iterator[Metric]:
    labelled = [(_labels(row), row) for row in rows]
    labels = [what, "type"]
    up = GaugeMetricFamily(f"courtyard_{what}_up", f"1 where the {what} works", labels=labels)
    for values, row in labelled:
        up.add_metric(values, float(row.get("state") == "up"))
    yield up
    yield from _families(what, labels, labelled, fields)


def _devices(rows: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    """Every device on a polled line."""
    labels = ["connection", "equipment"]
    labelled = [
        ([str(row.get("name", "")), str(device.get("equipment", ""))], device)
        for row in rows
        for device in row.get("devices", ())
    ]
    up = GaugeMetricFamily("courtyard_device_up", "1 where the device answers", labels=labels)
    for values, device in labelled:
        up.add_metric(values, float(device.get("state") == "answering"))
    if up.samples:
        yield up
    yield from _families("device", labels, labelled, _DEVICE)


def _families(
    what: str,
    labels: Sequence[str],
    rows: Sequence[tuple[Sequence[str], Mapping[str, Any]]],
    fields: Mapping[str, tuple[str, str, bool]],
) -> Iterator[Metric]:
    """A family for each field that any row has."""
    for field, (name, text, counts) in fields.items():
        kind = CounterMetricFamily if counts else GaugeMetricFamily
        family = kind(f"courtyard_{what}_{name}", text, labels=labels)
        for values, row in rows:
            if isinstance(row.get(field), bool | int | float):
                family.add_metric(values, float(row[field]))
        if family.samples:
            yield family


def _labels(row: Mapping[str, Any]) -> list[str]:
    return [str(row.get("name", "")), str(row.get("type", ""))]


def _alarms(rows: Iterable[Mapping[str, Any]]) -> Metric:
    family = GaugeMetricFamily("courtyard_alarms", "Alarms that are not normal", labels=["priority", "state"])
    counts = Counter((str(row.get("priority", "")), str(row.get("state", ""))) for row in rows)
    for (priority, state), count in sorted(counts.items()):
        family.add_metric([priority, state], count)
    return family
