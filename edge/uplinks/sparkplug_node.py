"""The edge node of Sparkplug B as a state machine: what is said when, in which order, under which number. Pure.

What comes in: rows of the log, the newest readings, commands. What goes out: (topic, payload) in the order in which
they must be published. One site is one edge node, one equipment one device, one point one metric.

A device is born while it can be read. A row that is older than what its birth has told goes out as historical: it
fills the past at the host and does not touch what the host shows. A device that is dead is born once more for rows
of its past, with every value null and bad, and dies again a while after the last of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from drivers.point import Value
from edge.uplinks.shape import GONE, Live, Row, SiteView
from edge.uplinks.sparkplug_metrics import Signal, asked, signals_of
from edge.uplinks.sparkplug_payload import (
    BAD,
    GOOD,
    QUALITY,
    STALE,
    DataType,
    Metric,
    Payload,
    Property,
    encode,
    fits,
)

NAMESPACE = "spBv1.0"
REBIRTH = "Node Control/Rebirth"
BDSEQ = "bdSeq"
LARGEST = 250
"""Metrics in one message of data; more make several."""
REVIVED_S = 10.0
"""So long a dead device that has rows of its past to tell stays born after the last of them."""
_CODES = {"good": GOOD, "bad/stale": STALE, "uncertain/stale": STALE, "uncertain/clock": STALE}
"""All others are bad: the specification knows three codes."""

Message = tuple[str, bytes]
Waiting = dict[str, list[tuple[Metric, DataType]]]
"""Metrics that are still to be put into a message, by equipment."""


@dataclass(slots=True)
class _Device:
    """One equipment as a device."""

    signals: Mapping[str, Signal]
    born: bool = False
    mark: int = 0
    """Rows up to this number are older than what was told at its birth."""
    revived_s: float | None = None
    """When it last told of its past while it was dead; None where it lives."""
    untold: set[str] = field(default_factory=set)
    """Points of which late rows were told as historical and nothing newer: what the host shows of them is old."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command to a point."""

    signal: Signal
    value: Value


class Node:
    """One edge node with its devices."""

    def __init__(
        self, group: str, name: str, site: SiteView, live: Live, newest: Callable[[], int], figures: Mapping[str, str]
    ) -> None:
        """`newest` gives the number of the newest row in the log; `figures` are texts that the birth tells."""
        self.bdseq = 0
        """Number of the present connection, as its will says."""
        self.session = False
        """Whether the node is born."""
        self.unfit = 0
        """Values that cannot be told in their point's type; they went out as null."""
        self.last_unfit = ("", "")
        self._group, self._name = group, name
        self._live, self._newest = live, newest
        self._figures = figures
        self._counts: dict[str, int] = {}
        self._seq = 0
        self._marked: set[int] = set()  # aliases whose newest value was told as not good
        self._devices = {
            equipment: _Device({signal.name: signal for signal in signals})
            for equipment, signals in signals_of(site).items()
        }
        self._next_alias = 1 + sum(len(device.signals) for device in self._devices.values())
        self._own: dict[str, int] = {}  # aliases of the node's own metrics
        self._topics: dict[tuple[str, str], str] = {}

    # Life and death

    def death(self, now_ms: int) -> Message:
        """The node's death, for the will and before an intended disconnect: it ends the session."""
        self.session = False
        payload = encode([(Metric(self.bdseq, now_ms, BDSEQ, datatype=DataType.INT64), DataType.INT64)], now_ms, None)
        return self.topic("NDEATH"), payload

    def birth(self, now_ms: int, counts: Mapping[str, int]) -> Iterator[Message]:
        """The node's birth, then that of every equipment that can be read; nothing may be sent in between."""
        self._counts = dict(counts)
        self._seq = 255
        self.session = True
        for device in self._devices.values():
            device.born, device.revived_s = False, None
        self._marked.clear()
        # These two go by their names alone: tck-id-operational-behavior-data-commands-rebirth-name-aliases.
        metrics = [
            Metric(self.bdseq, now_ms, BDSEQ, datatype=DataType.INT64),
            Metric(False, now_ms, REBIRTH, datatype=DataType.BOOLEAN),
        ]
        figures: dict[str, Value] = {**self._figures, **self._counts}
        for name, told in figures.items():
            datatype = DataType.STRING if isinstance(told, str) else DataType.INT64
            metrics.append(Metric(told, now_ms, name, self._alias(name), datatype))
        yield self._message("NBIRTH", "", [(m, m.datatype or DataType.INT64) for m in metrics], now_ms)
        for equipment in self._devices:
            if self.alive(equipment):
                yield self._born(equipment, now_ms)

    def tells_of(self, equipment: str) -> bool:
        """Whether it is a device: one that has left the site file is none."""
        return equipment in self._devices

    def alive(self, equipment: str) -> bool:
        """Whether anything of an equipment can be read."""
        return any(self._live(signal.id)[1] not in GONE for signal in self._devices[equipment].signals.values())

    def settle(self, now_ms: int, mono_s: float) -> Iterator[Message]:
        """What is born and cannot be read dies; what can be read and is dead is born; what is shown is the newest."""
        if not self.session:
            return
        for equipment, device in self._devices.items():
            alive = self.alive(equipment)
            if alive and (not device.born or device.revived_s is not None):
                yield self._born(equipment, now_ms)
            elif device.born and not alive and not _tells(device, mono_s):
                yield self._died(equipment, now_ms)
            elif device.born and device.untold:
                told = [device.signals[name] for name in sorted(device.untold)]
                device.untold.clear()
                metrics = [(self._told(signal, now_ms, birth=False), signal.datatype) for signal in told]
                yield self._message("DDATA", equipment, sorted(metrics, key=_time), now_ms)

    def _born(self, equipment: str, now_ms: int, *, past_s: float | None = None) -> Message:
        """The birth of a device: as it is, or with `past_s` (monotonic time) all null, to tell of its past."""
        device = self._devices[equipment]
        device.born, device.revived_s, device.mark = True, past_s, self._newest()
        device.untold.clear()
        past = past_s is not None
        metrics = [(self._told(each, now_ms, null=past), each.datatype) for each in device.signals.values()]
        return self._message("DBIRTH", equipment, metrics, now_ms)

    def _died(self, equipment: str, now_ms: int) -> Message:
        device = self._devices[equipment]
        device.born, device.revived_s = False, None
        return self._message("DDEATH", equipment, [], now_ms)

    # Data

    def data(self, rows: Sequence[Row], now_ms: int, mono_s: float, *, late: bool) -> Iterator[Message]:
        """Rows, those of one device together; births and deaths where they show them."""
        waiting: Waiting = {}
        for row in rows:
            device = self._devices.get(row.equipment)
            if device is None:  # of an equipment that has left the site file: nobody was told of it at the birth
                continue
            past = yield from self._ready(device, row, waiting, now_ms, mono_s, late=late)
            if past is None:
                continue
            if row.seq > device.mark:
                known = device.signals.keys() & row.points
                device.untold = device.untold | known if past else device.untold - known
            told = waiting.setdefault(row.equipment, [])
            metrics = list(self._metrics(device, row, past))
            if told and (len(told) + len(metrics) > LARGEST or _before(metrics, told)):
                yield self._message("DDATA", row.equipment, told, now_ms)
                told = waiting[row.equipment] = []
            told += metrics
            if not past and row.qualities and _all_gone(row) and not self.alive(row.equipment):
                yield from self._flushed(row.equipment, waiting, now_ms)
                yield self._died(row.equipment, now_ms)
        for equipment in list(waiting):
            yield from self._flushed(equipment, waiting, now_ms)

    def _ready(
        self, device: _Device, row: Row, waiting: Waiting, now_ms: int, mono_s: float, *, late: bool
    ) -> Generator[Message, None, bool | None]:
        """See that the device of a row is born. Whether the row is of the past; None: nothing to tell."""
        past = late or (device.born and row.seq <= device.mark)
        if not device.born or (device.revived_s is not None and not past):
            alive = self.alive(row.equipment)
            if not alive and not late and _all_gone(row):
                return None  # it is dead, and that is what the row says
            if alive or not device.born:
                yield from self._flushed(row.equipment, waiting, now_ms)
                yield self._born(row.equipment, now_ms, past_s=None if alive else mono_s)
            past = True  # the birth was told after the row
        if device.revived_s is not None:
            device.revived_s = mono_s
        return past

    def _flushed(self, equipment: str, waiting: Waiting, now_ms: int) -> Iterator[Message]:
        metrics = waiting.pop(equipment, [])
        for at in range(0, len(metrics), LARGEST):
            yield self._message("DDATA", equipment, metrics[at : at + LARGEST], now_ms)

    def _metrics(self, device: _Device, row: Row, past: bool) -> Iterator[tuple[Metric, DataType]]:
        time_ms = row.time_ns // 1_000_000
        for index, name in enumerate(row.points):
            signal = device.signals.get(name)
            if signal is None:
                continue
            quality = row.qualities[index] if row.qualities else "good"
            value, code = self._fitting(signal, row.values[index], quality)
            properties = self._quality(signal, code, past=past)
            metric = Metric(value, max(time_ms, 0), alias=signal.alias, historical=past, properties=properties)
            yield metric, signal.datatype

    def _fitting(self, signal: Signal, value: Value, quality: str) -> tuple[Value, int]:
        """A value in its metric's type, and the code of its quality."""
        if value is not None and not fits(value, signal.datatype):
            self.unfit += 1
            self.last_unfit = f"{signal.id}: {str(value)[:200]}", f"is no value of type {signal.datatype.name}"
            value = None
        code = _CODES.get(quality, BAD)
        return value, BAD if value is None and code == GOOD else code

    def _quality(self, signal: Signal, code: int, *, past: bool) -> Mapping[str, Property]:
        """The quality of a value in data: left out where it is good, and was before."""
        known = signal.alias in self._marked
        if not past:
            (self._marked.discard if code == GOOD else self._marked.add)(signal.alias)
        return {QUALITY: (DataType.INT32, code)} if code != GOOD or (known and not past) else {}

    def answer(self, signal: Signal, now_ms: int) -> Iterator[Message]:
        """How a point stands after a command; nothing where its device is dead."""
        equipment = signal.id.rpartition(".")[0]
        if self.session and self._devices[equipment].born:
            metric = self._told(signal, now_ms, birth=False)
            yield self._message("DDATA", equipment, [(metric, signal.datatype)], now_ms)

    def counts(self, counts: Mapping[str, int], now_ms: int) -> Iterator[Message]:
        """Figures of the node that have changed."""
        changed = {name: n for name, n in counts.items() if self._counts.get(name) != n}
        if self.session and changed:
            self._counts |= changed
            metrics = [(Metric(n, now_ms, alias=self._alias(name)), DataType.INT64) for name, n in changed.items()]
            yield self._message("NDATA", "", metrics, now_ms)

    def _told(self, signal: Signal, now_ms: int, *, birth: bool = True, null: bool = False) -> Metric:
        """A point's newest reading as a metric."""
        value, quality, time_ns = (None, "bad/comm", 0) if null else self._live(signal.id)
        told, code = self._fitting(signal, value, quality)
        time_ms = time_ns // 1_000_000 if time_ns > 0 else now_ms
        if not birth:
            return Metric(told, time_ms, alias=signal.alias, properties=self._quality(signal, code, past=False))
        self._quality(signal, code, past=False)
        properties = {**signal.properties, QUALITY: (DataType.INT32, code)}
        return Metric(told, time_ms, signal.name, signal.alias, signal.datatype, properties=properties)

    def _alias(self, name: str) -> int:
        """The number of one of the node's own metrics."""
        if name not in self._own:
            self._own[name] = self._next_alias
            self._next_alias += 1
        return self._own[name]

    # Commands

    def known(self, equipment: str) -> Mapping[str | int, DataType]:
        """Types of a device's metrics, by name and by alias; empty for one that there is not."""
        device = self._devices.get(equipment)
        signals = device.signals.values() if device else ()
        return {key: signal.datatype for signal in signals for key in (signal.name, signal.alias)}

    def orders(self, equipment: str, payload: Payload) -> Iterator[Order]:
        """What a command asks for. Raises ValueError for a metric that was not born."""
        device = self._devices[equipment]
        by_alias = {signal.alias: signal for signal in device.signals.values()}
        for metric in payload.metrics:
            signal = by_alias.get(metric.alias) if metric.alias is not None else device.signals.get(metric.name or "")
            if signal is None:
                raise ValueError(f"no metric {metric.name or metric.alias!r} of {equipment}")
            yield Order(signal, asked(metric.value, signal.datatype))

    # Messages

    def topic(self, kind: str, equipment: str = "") -> str:
        """Where a message of a kind goes."""
        found = self._topics.get((kind, equipment))
        if found is None:
            found = "/".join(part for part in (NAMESPACE, self._group, kind, self._name, equipment) if part)
            self._topics[kind, equipment] = found
        return found

    def _message(self, kind: str, equipment: str, metrics: Iterable[tuple[Metric, DataType]], now_ms: int) -> Message:
        self._seq = (self._seq + 1) % 256
        return self.topic(kind, equipment), encode(metrics, now_ms, self._seq)


def _time(metric: tuple[Metric, DataType]) -> int:
    return metric[0].time_ms or 0


def _tells(device: _Device, mono_s: float) -> bool:
    """Whether a dead device is still telling of its past."""
    return device.revived_s is not None and mono_s - device.revived_s < REVIVED_S


def _all_gone(row: Row) -> bool:
    return row.qualities is not None and all(quality in GONE for quality in row.qualities)


def _before(metrics: Sequence[tuple[Metric, DataType]], told: Sequence[tuple[Metric, DataType]]) -> bool:
    """Whether a clock has gone back: within one message times only rise."""
    return bool(metrics) and (metrics[0][0].time_ms or 0) < (told[-1][0].time_ms or 0)
