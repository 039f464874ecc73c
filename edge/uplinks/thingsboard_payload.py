"""Messages of ThingsBoard's gateway API: telemetry, attributes, requests. Pure.

What comes in: rows of the log and entries of the journal. What goes out: JSON that several devices share, each
message below the limit of the broker. ThingsBoard knows no quality and no null: a value that is missing is left out,
and how far to trust a point stands beside it as `<point>_quality` where that is not good, and when it is good again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson

from drivers.point import Value
from edge.uplinks.shape import Entry, Row
from edge.uplinks.wire import to_json

TELEMETRY = "v1/gateway/telemetry"
ATTRIBUTES = "v1/gateway/attributes"
CONNECT = "v1/gateway/connect"
DISCONNECT = "v1/gateway/disconnect"
RPC = "v1/gateway/rpc"
MOST_REQUEST = 16 * 1024

Message = tuple[str, bytes]
Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """Values of one device at one time."""

    device: str
    time_ms: int
    values: Values


@dataclass(frozen=True, slots=True)
class Request:
    """What ThingsBoard asks of a device."""

    device: str
    id: int | str
    method: str
    params: Any


class Telemetry:
    """Writes rows; remembers which points were last told as not good."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names` of the devices, by equipment."""
        self._names = names
        self._good: set[tuple[str, str]] = set()  # points whose quality ThingsBoard holds for good

    def moments(self, rows: Iterable[Row], *, late: bool) -> Iterator[Moment]:
        """Rows of equipment that the site has, apart from those that tell nothing."""
        for row in rows:
            device = self._names.get(row.equipment)
            values = self._values(row, late) if device else {}
            if device and values:
                yield Moment(device, row.time_ns // 1_000_000, values)

    def _values(self, row: Row, late: bool) -> Values:
        found: Values = {}
        for index, (name, value) in enumerate(zip(row.points, row.values, strict=True)):
            quality = row.qualities[index] if row.qualities else "good"
            told = _told(value)
            if told is not None:
                found[name] = told
            key = row.equipment, name
            if quality != "good":
                found[f"{name}_quality"] = quality
            elif key not in self._good and not late:
                found[f"{name}_quality"] = "good"
            if not late:
                (self._good.add if quality == "good" else self._good.discard)(key)
        return found


def _told(value: Value) -> Any:
    """A value as ThingsBoard takes it; None for nothing. Whole numbers beyond 64 bits go as text."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
        return str(value)
    return value


def event(device: str, entry: Entry) -> Moment:
    """What happened, as telemetry at its own time."""
    body = entry.body
    inner = body.get(entry.kind)
    thing: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
    values: Values = {f"{entry.kind}_event": body.get("event"), f"{entry.kind}_state": thing.get("state")}
    values[entry.kind] = thing.get("rule") or thing.get("id") or entry.subject
    if entry.kind == "alarm":
        values |= {"alarm_priority": thing.get("priority"), "alarm_code": thing.get("code")}
    values["who"] = body.get("who")
    return Moment(device, entry.time_ns // 1_000_000, {key: value for key, value in values.items() if value})


def telemetry(moments: Iterable[Moment], limit: int, too_long: Callable[[Moment], None]) -> Iterator[Message]:
    """Messages of at most `limit` bytes, in the order of the moments; `too_long` is told what fits into none."""
    waiting: dict[str, list[bytes]] = {}
    size = 2
    for moment in moments:
        for piece in _pieces(moment, limit - len(moment.device.encode()) * 2 - 8, too_long):
            head = 0 if moment.device in waiting else len(orjson.dumps(moment.device)) + 4
            if waiting and size + head + len(piece) + 1 > limit:
                yield TELEMETRY, _joined(waiting)
                waiting, size = {}, 2
                head = len(orjson.dumps(moment.device)) + 4
            waiting.setdefault(moment.device, []).append(piece)
            size += head + len(piece) + 1
    if waiting:
        yield TELEMETRY, _joined(waiting)


def _pieces(moment: Moment, room: int, too_long: Callable[[Moment], None]) -> Iterator[bytes]:
    """A moment as JSON, in parts where it is too long for one message."""
    piece = to_json({"ts": moment.time_ms, "values": moment.values})
    if len(piece) <= room:
        yield piece
    elif len(moment.values) == 1:
        too_long(moment)
    else:
        items = list(moment.values.items())
        for part in (items[: len(items) // 2], items[len(items) // 2 :]):
            yield from _pieces(Moment(moment.device, moment.time_ms, dict(part)), room, too_long)


def _joined(waiting: Mapping[str, Sequence[bytes]]) -> bytes:
    devices = (b"%s:[%s]" % (orjson.dumps(device), b",".join(pieces)) for device, pieces in waiting.items())
    return b"{%s}" % b",".join(devices)


def attributes(devices: Mapping[str, Values], limit: int) -> Iterator[Message]:
    """What is so until told otherwise, of several devices a message."""
    part: dict[str, Values] = {}
    size = 2
    for device, values in devices.items():
        length = len(to_json({device: values}))
        if part and size + length > limit:
            yield ATTRIBUTES, to_json(part)
            part, size = {}, 2
        part[device] = values
        size += length
    if part:
        yield ATTRIBUTES, to_json(part)


def parse_request(payload: bytes) -> Request | None:
    """What is asked; None for an answer, which goes over the same topic. Raises ValueError for anything else."""
    if len(payload) > MOST_REQUEST:
        raise ValueError(f"{len(payload)} bytes; a request has at most {MOST_REQUEST}")
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise ValueError("a request that is no JSON") from None
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(body, dict) and "id" in body:
        return None
    if not isinstance(data, dict) or not isinstance(body.get("device"), str):
        raise ValueError('a request without "device" and "data"')
    mark, method = data.get("id"), data.get("method")
    if isinstance(mark, bool) or not isinstance(mark, int | str) or not isinstance(method, str):
        raise ValueError('a request without "id" and "method"')
    return Request(body["device"], mark, method, data.get("params"))


def answer(request: Request, data: Mapping[str, Any]) -> Message:
    """The answer to a request."""
    return RPC, to_json({"device": request.device, "id": request.id, "data": data})
