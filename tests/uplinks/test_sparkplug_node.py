"""The edge node of Sparkplug B under random histories: a host that knows every rule hears all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.store.readings import Row
from edge.uplinks.sparkplug_host import PrimaryHost
from edge.uplinks.sparkplug_node import REVIVED_S, Message, Node
from edge.uplinks.sparkplug_payload import DataType, Metric, Payload, decode, encode
from tests.uplinks.sparkplug_checker import SparkplugHost
from tests.uplinks.sparkplug_plant import POINTS, SITE, T0_MS, Plant

FIGURES = {"Properties/Site": "枫林小区"}


class Session:
    """A node and the host that hears it, on a wire that loses nothing."""

    def __init__(self) -> None:
        self.plant = Plant()
        self.node = Node("courtyard", "maple", SITE, self.plant.live, self.plant.head, FIGURES)
        self.host = SparkplugHost("courtyard", "maple")
        self.cursor = 0
        self.mono_s = 0.0
        self.times: set[int] = set()

    def hear(self, messages: Iterable[Message], qos: int = 0) -> list[str]:
        kinds = []
        for topic, payload in messages:
            kinds.append(topic.split("/")[2])
            self.host.take(topic, payload, qos)
        return kinds

    def connect(self) -> list[str]:
        if self.node.session:  # the will of the connection before
            self.hear([self.node.death(self.plant.now_ms)], 1)
        self.node.bdseq = (self.node.bdseq + 1) % 256
        return self.hear(self.node.birth(self.plant.now_ms, {"Alarms/Active": 0}))

    def deliver(self, count: int = 1000, *, late: bool = False) -> list[str]:
        rows = self.plant.log[self.cursor : self.cursor + count]
        self.cursor += len(rows)
        return self.send(rows, late=late)

    def send(self, rows: list[Row], *, late: bool = False) -> list[str]:
        return self.hear(self.node.data(rows, self.plant.now_ms, self.mono_s, late=late))

    def settle(self) -> list[str]:
        return self.hear(self.node.settle(self.plant.now_ms, self.mono_s))

    def step(self, step: str, equipment: str, n: int) -> None:
        """One step of a random history."""
        plant = self.plant
        plant.now_ms += 7
        self.mono_s += 0.007
        if step in ("read", "silent"):
            while plant.now_ms in self.times:  # a host keeps one value for a millisecond
                plant.now_ms += 1
            self.times.add(plant.now_ms)
            plant.read(equipment, "good" if step == "read" else "bad/comm")
        elif step == "wait":
            self.mono_s += REVIVED_S
        elif step == "back":
            plant.now_ms -= 3_600_000 + n
        else:
            steps: dict[str, Callable[[], object]] = {
                "deliver": lambda: self.deliver(n),
                "late": lambda: self.deliver(n, late=True),
                "connect": self.connect,
                "rebirth": lambda: self.hear(self.node.birth(plant.now_ms, {"Alarms/Active": n})),
                "settle": self.settle,
                "count": lambda: self.hear(self.node.counts({"Alarms/Active": n}, plant.now_ms)),
            }
            steps[step]()

    def current(self) -> dict[str, object]:
        """What the host shows, of devices that it holds for alive."""
        return {
            f"{name}.{point}": told[0]
            for name, device in self.host.devices.items()
            if device.alive
            for point, told in device.current.items()
        }


STEP = st.sampled_from(
    [
        "read",
        "read",
        "read",
        "silent",
        "deliver",
        "deliver",
        "late",
        "connect",
        "rebirth",
        "settle",
        "wait",
        "back",
        "count",
    ]
)


@given(st.lists(st.tuples(STEP, st.sampled_from(list(POINTS)), st.integers(1, 4))))
@settings(max_examples=200)
def test_no_history_breaks_a_rule_and_the_host_has_everything_in_the_end(
    steps: list[tuple[str, str, int]],
) -> None:
    session = Session()
    plant = session.plant
    session.connect()
    for step, equipment, n in steps:
        session.step(step, equipment, n)
    session.deliver()
    session.mono_s += REVIVED_S + 1
    session.settle()
    alive = {name for name in POINTS if any(plant.live(f"{name}.{p}")[1] == "good" for p in POINTS[name])}
    assert {name for name, device in session.host.devices.items() if device.alive} == alive
    assert session.current() == {
        f"{name}.{point}": plant.live(f"{name}.{point}")[0] for name in alive for point in POINTS[name]
    }
    for row in plant.log:
        for point, value in zip(row.points, row.values, strict=True):
            if value is not None:
                found = session.host.history[row.equipment, point]
                assert found[row.time_ns // 1_000_000] == (value, 192)


def test_a_node_is_born_with_all_that_can_be_read_and_a_device_when_it_can() -> None:
    session = Session()
    session.plant.read("pump-1")
    assert session.connect() == ["NBIRTH", "DBIRTH"]
    session.plant.now_ms += 1000
    session.plant.read("light-1")
    assert session.deliver() == ["DBIRTH", "DDATA", "DDATA"]
    assert session.host.devices.keys() == {"pump-1", "light-1"}
    metric = session.host.devices["pump-1"].metrics[2]
    assert metric.properties == {
        "Quality": (DataType.INT32, 192),
        "documentation": (DataType.STRING, "pressure名"),
        "engUnit": (DataType.STRING, "MPa"),
        "readOnly": (DataType.BOOLEAN, True),
    }


def test_an_equipment_that_falls_silent_dies_and_is_born_again_with_its_values() -> None:
    session = Session()
    session.plant.read("pump-1")
    session.connect()
    session.deliver()
    session.plant.read("pump-1", "bad/comm")
    assert session.deliver() == ["DDATA", "DDEATH"]
    session.plant.read("pump-1", "bad/comm")
    assert session.deliver() == []
    session.plant.read("pump-1")
    assert session.deliver() == ["DBIRTH", "DDATA"]
    assert session.current()["pump-1.pressure"] == session.plant.live("pump-1.pressure")[0]


def test_the_past_of_a_dead_equipment_is_told_as_historical_and_it_dies_again() -> None:
    session = Session()
    rows = [session.plant.read("pump-1")]
    session.plant.now_ms += 5
    session.plant.read("pump-1", "bad/stale")
    session.connect()
    assert session.send(rows, late=True) == ["DBIRTH", "DDATA"]
    assert session.current()["pump-1.pressure"] is None
    assert session.host.history["pump-1", "pressure"] == {T0_MS: (0.25, 192)}
    session.mono_s += REVIVED_S / 2
    assert session.settle() == []
    assert session.send(rows, late=True) == ["DDATA"]
    session.mono_s += REVIVED_S
    assert session.settle() == ["DDEATH"]


def test_rows_from_before_the_birth_fill_the_past_and_do_not_touch_what_the_host_shows() -> None:
    session = Session()
    session.plant.read("pump-1")
    session.plant.now_ms += 1000
    session.plant.read("pump-1")
    session.connect()
    shown = session.current()
    session.deliver()
    assert session.current() == shown
    assert session.host.historical == 6
    session.plant.now_ms -= 3_600_000  # the box has learnt that it was an hour ahead
    session.plant.read("pump-1")
    session.deliver()
    assert session.host.historical == 6
    assert session.current()["pump-1.pressure"] == 0.75


def test_after_late_rows_the_host_is_shown_the_newest_values() -> None:
    session = Session()
    session.plant.read("pump-1")
    session.connect()
    session.deliver()
    session.plant.read("pump-1")
    session.deliver(late=True)
    assert session.current()["pump-1.pressure"] == 0.25
    assert session.settle() == ["DDATA"]
    assert session.current()["pump-1.pressure"] == 0.5
    assert session.settle() == []


def test_values_that_are_not_good_say_so_and_those_after_them_that_they_are_good_again() -> None:
    session = Session()
    session.plant.read("pump-1")
    session.connect()
    session.deliver()
    told = []
    for quality, value in (
        ("uncertain/stale", 1.0),
        ("bad/range", 99.0),
        ("bad/sensor", None),
        ("good", 2.0),
        ("good", 3.0),
    ):
        seq, time_ns = session.plant.head() + 1, session.plant.now_ms * 1_000_000
        row = Row(seq, time_ns, "pump-1", ("pressure",), (value,), None if quality == "good" else (quality,), None)
        session.plant.log.append(row)
        [(_, payload)] = list(session.node.data([row], session.plant.now_ms, 0.0, late=False))
        [metric] = decode(payload).metrics
        told.append((metric.value, metric.properties.get("Quality")))
    assert told == [
        (1.0, (DataType.INT32, 500)),
        (99.0, (DataType.INT32, 0)),
        (None, (DataType.INT32, 0)),
        (2.0, (DataType.INT32, 192)),
        (3.0, None),
    ]


def test_a_value_that_its_type_cannot_hold_is_null_and_counted() -> None:
    session = Session()
    session.plant.read("pump-1")
    session.connect()
    session.deliver()
    session.send([Row(99, 10**18, "pump-1", ("starts",), (1 << 63,), None, None)])
    assert session.node.unfit == 1
    assert session.host.devices["pump-1"].current["starts"] == (None, 0)


def test_numbers_go_round_at_256_over_all_kinds_of_messages() -> None:
    session = Session()
    session.plant.read("pump-1")
    session.connect()
    for _ in range(600):  # the host asserts each number
        session.plant.read("pump-1")
        session.deliver()
    assert len(session.host.kinds) == 602


def test_many_rows_of_one_device_share_messages() -> None:
    session = Session()
    session.plant.read("pump-1")
    session.connect()
    for n in range(300):
        session.plant.now_ms += 1
        session.plant.read("pump-1" if n % 2 else "pump-2")
    kinds = session.deliver()
    assert kinds.count("DDATA") == 4
    assert len(kinds) == 5


def test_a_command_is_read_by_name_or_alias_in_any_type_that_fits() -> None:
    session = Session()
    node = session.node

    def asked(metric: Metric, datatype: DataType) -> list[tuple[str, object]]:
        payload = decode(encode([(metric, datatype)], 1, None), node.known("light-1"))
        return [(order.signal.id, order.value) for order in node.orders("light-1", payload)]

    assert asked(Metric(True, 1, "on"), DataType.BOOLEAN) == [("light-1.on", True)]
    assert asked(Metric(1, 1, alias=7), DataType.INT32) == [("light-1.on", True)]
    assert asked(Metric("eco", 1, alias=8), DataType.STRING) == [("light-1.mode", "eco")]
    for metric, why in (
        (Metric("x", 1, "on"), "'x' is no value of type BOOLEAN"),
        (Metric(None, 1, "on"), "None is no value of type BOOLEAN"),
        (Metric(True, 1, "off"), "no metric 'off' of light-1"),
        (Metric(True, 1, alias=1), "no metric 1 of light-1"),
    ):
        with pytest.raises(ValueError, match=why):
            asked(metric, DataType.STRING if metric.value == "x" else DataType.BOOLEAN)
    assert node.known("nowhere") == {}


def test_a_command_is_answered_by_how_the_point_stands_where_its_device_is_alive() -> None:
    session = Session()
    [order] = session.node.orders("light-1", Payload(None, None, [Metric(True, None, "on")]))
    assert list(session.node.answer(order.signal, T0_MS)) == []
    session.plant.read("light-1")
    session.connect()
    assert session.hear(session.node.answer(order.signal, T0_MS)) == ["DDATA"]
    assert session.current()["light-1.on"] is False


def test_a_host_is_believed_in_the_newer_form_by_its_time_and_in_the_older_one_by_its_word() -> None:
    new, old = "spBv1.0/STATE/scada", "STATE/scada"
    host = PrimaryHost("scada")
    assert host.topics == (new, old)
    host.take(old, b"ONLINE")
    assert host.online
    host.take(old, b"OFFLINE")
    assert not host.online
    host.take(new, b'{"online": true, "timestamp": 100}')
    assert host.online
    host.take(old, b"OFFLINE")
    host.take(new, b'{"online": false, "timestamp": 99}')
    assert host.online, "tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp"
    host.take(new, b'{"online": false, "timestamp": 100}')
    assert not host.online
    host.forget()
    host.take(new, b'{"online": true, "timestamp": 5}')
    assert host.online
    for payload in (b"on", b"{}", b'{"online": 1, "timestamp": 5}', b'{"online": true}', b"[1]", b"\xff"):
        with pytest.raises(ValueError, match=r"is neither JSON|has no"):
            host.take(new, payload)
    assert host.online
