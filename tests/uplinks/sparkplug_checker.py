"""A host application of Sparkplug B as a state machine: hears everything and asserts the specification's rules.

Rule names are those of the Eclipse Sparkplug specification (tck-id-...), given with each assertion.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from drivers.point import Value
from edge.uplinks.sparkplug_payload import DataType, Metric, _classes, decode

Told = tuple[Value, int]
"""A value and the code of its quality."""


@dataclass
class Device:
    """What was born, by alias."""

    metrics: dict[int, Metric] = field(default_factory=dict)
    current: dict[str, Told] = field(default_factory=dict)
    alive: bool = True


class SparkplugHost:
    """Everything that one edge node has told."""

    def __init__(self, group: str, node: str, primary_host: str | None = None) -> None:
        self.group, self.node, self.primary_host = group, node, primary_host
        self.online = False
        self.host_online = self.host_seen = False
        self.must_die: set[object] = set()
        """Numbers of connections that were born while the primary host was away and have not died."""
        self.bdseq: int | None = None
        self.devices: dict[str, Device] = {}
        self.own = Device()
        self.history: dict[tuple[str, str], dict[int, Told]] = defaultdict(dict)
        self.births = 0
        self.sessions: list[int] = []
        self.kinds: list[str] = []
        self.historical = 0
        self._seq = 0

    def lost(self) -> None:
        """The host has lost its own connection: it knows nothing any more, and begins anew."""
        self.online, self.bdseq, self.devices, self.own = False, None, {}, Device()
        self.host_online = False
        self.must_die.clear()

    def take(self, topic: str, data: bytes, qos: int = 0, *, retain: bool = False) -> None:
        """Hear one message."""
        if "STATE" in topic.split("/")[:2]:
            self.host_online = b"true" in data or data == b"ONLINE"
            self.host_seen |= self.host_online
            return
        levels = topic.split("/")
        assert levels[0] == "spBv1.0", "tck-id-topic-structure-namespace-a"
        assert levels[1] == self.group
        assert levels[3] == self.node
        kind, device = levels[2], "/".join(levels[4:])
        if kind.endswith("CMD"):
            return
        self.kinds.append(kind)
        assert kind in ("NBIRTH", "NDEATH", "NDATA", "DBIRTH", "DDEATH", "DDATA")
        assert bool(device) == kind.startswith("D"), "tck-id-topics-dbirth-topic and the like"
        assert "/" not in device
        assert not retain, "tck-id-payloads-nbirth-retain, -dbirth-, -ndata-, -ddata-, -ddeath-; will-retained"
        assert qos == (1 if kind == "NDEATH" else 0), "tck-id-payloads-nbirth-qos ...; will-message-qos"
        payload = decode(data)
        raw = _classes()["Payload"].FromString(data)
        for metric in raw.metrics:
            _check_fields(metric)
        if kind == "NDEATH":
            self._node_death(payload.metrics, payload.seq)
            return
        assert payload.time_ms is not None, "tck-id-payloads-nbirth-timestamp, -dbirth-, -ndata-, -ddata-, -ddeath-"
        assert payload.seq is not None, "tck-id-payloads-sequence-num-always-included"
        assert 0 <= payload.seq <= 255, "tck-id-payloads-nbirth-seq"
        if kind == "NBIRTH":
            self._node_birth(payload.metrics, payload.seq)
            return
        assert self.online, f"{kind} without NBIRTH: tck-id-message-flow-device-birth-publish-nbirth-wait"
        self._seq = (self._seq + 1) % 256
        assert payload.seq == self._seq, (
            f"{kind} {payload.seq} for {self._seq}: tck-id-payloads-sequence-num-incrementing"
        )
        if kind == "DBIRTH":
            self._device_birth(device, payload.metrics)
        elif kind == "DDEATH":
            assert self.devices[device].alive, "dies once"
            self.devices[device].alive = False
        else:
            self._data(device, kind, payload.metrics)

    def _node_birth(self, metrics: Any, seq: int) -> None:
        if self.primary_host is not None and not self.host_online:
            # It was under way when the host left, and must die at once.
            assert self.host_seen, "tck-id-message-flow-edge-node-birth-publish-phid-wait"
            self.must_die.add({metric.name: metric.value for metric in metrics}["bdSeq"])
        assert seq == 0, "tck-id-payloads-sequence-num-zero-nbirth"
        by_name = {metric.name: metric for metric in metrics}
        bdseq, rebirth = by_name["bdSeq"], by_name["Node Control/Rebirth"]
        assert bdseq.datatype is DataType.INT64, "tck-id-message-flow-edge-node-birth-publish-nbirth-payload-bdSeq"
        assert isinstance(bdseq.value, int)
        assert 0 <= bdseq.value <= 255
        assert rebirth.datatype is DataType.BOOLEAN, "tck-id-operational-behavior-data-commands-rebirth-datatype"
        assert rebirth.value is False, "tck-id-operational-behavior-data-commands-rebirth-value"
        assert rebirth.alias is None, "tck-id-operational-behavior-data-commands-rebirth-name-aliases"
        if self.online:
            assert bdseq.value == self.bdseq, "tck-id-operational-behavior-data-commands-rebirth-action-3"
        else:
            assert bdseq.value != self.bdseq, "tck-id-message-flow-edge-node-birth-publish-will-message-payload-bdSeq"
            self.sessions.append(bdseq.value)
        self.online, self.bdseq, self._seq = True, bdseq.value, 0
        self.births += 1
        self.devices = {}
        self.own = Device()
        self._births("", self.own, [m for m in metrics if m not in (bdseq, rebirth)])

    def _node_death(self, metrics: Any, seq: int | None) -> None:
        assert seq is None, "tck-id-payloads-ndeath-seq"
        [bdseq] = metrics
        assert bdseq.name == "bdSeq"
        self.must_die.discard(bdseq.value)
        if bdseq.value == self.bdseq:  # else a will of before, which a host ignores
            self.online = False
            for device in self.devices.values():
                device.alive = False

    def _device_birth(self, name: str, metrics: Any) -> None:
        device = self.devices[name] = Device()
        self._births(name, device, metrics)

    def _births(self, name: str, device: Device, metrics: Any) -> None:
        times = []
        for metric in metrics:
            assert metric.name, "tck-id-payloads-alias-birth-requirement"
            assert metric.alias is not None, "tck-id-payloads-alias-birth-requirement"
            assert metric.datatype is not None, "tck-id-payloads-metric-datatype-req"
            assert metric.time_ms is not None, "tck-id-payloads-name-birth-data-requirement"
            others = [each for each in (*self.devices.values(), self.own) if each is not device]
            taken = {alias for each in others for alias in each.metrics} | device.metrics.keys()
            assert metric.alias not in taken, "tck-id-payloads-alias-uniqueness"
            assert metric.name.casefold() not in {known.casefold() for known in device.current}
            assert not metric.historical
            device.metrics[metric.alias] = metric
            device.current[metric.name] = self._told(name, metric.name, metric, born=True)
            times.append(metric.time_ms)

    def _data(self, name: str, kind: str, metrics: Any) -> None:
        device = self.devices[name] if kind == "DDATA" else self.own
        assert device.alive, f"{kind} of a dead device"
        newest = 0
        assert metrics, "data that tells nothing"
        for metric in metrics:
            assert metric.name is None, "tck-id-payloads-alias-data-cmd-requirement"
            assert metric.alias in device.metrics, "tck-id-operational-behavior-data-publish-dbirth"
            assert metric.datatype is None, "tck-id-payloads-metric-datatype-not-req"
            assert metric.time_ms is not None, "tck-id-payloads-name-birth-data-requirement"
            born = device.metrics[metric.alias]
            assert born.name is not None
            assert born.datatype is not None
            told = self._told(name, born.name, metric, datatype=born.datatype)
            if metric.historical:
                self.historical += 1
            else:
                assert metric.time_ms >= newest, "tck-id-operational-behavior-data-publish-dbirth-order"
                newest = metric.time_ms
                device.current[born.name] = told

    def _told(
        self, device: str, name: str, metric: Metric, *, born: bool = False, datatype: DataType | None = None
    ) -> Told:
        value = metric.value
        if datatype is DataType.INT64 and isinstance(value, int) and value >= 1 << 63:
            value -= 1 << 64  # the type was told at the birth only
        kind, quality = metric.properties.get("Quality", (DataType.INT32, 192))
        assert kind is DataType.INT32, "tck-id-payloads-propertyset-quality-value-type"
        assert quality in (0, 192, 500), "tck-id-payloads-propertyset-quality-value-value"
        assert value is not None or quality != 192, "nothing, marked as good"
        assert metric.time_ms is not None
        if not born:
            self.history[device, name][metric.time_ms] = (value, int(quality))
        return value, int(quality)


def _check_fields(metric: Any) -> None:
    """Null or one value; as many property values as keys, each with its type."""
    assert metric.is_null == (metric.WhichOneof("value") is None), (
        "tck-id-operational-behavior-data-publish-dbirth-values"
    )
    properties = metric.properties
    assert len(properties.keys) == len(properties.values), "tck-id-payloads-propertyset-keys-array-size"
    assert all(each.HasField("type") for each in properties.values), "tck-id-payloads-metric-propertyvalue-type-req"
