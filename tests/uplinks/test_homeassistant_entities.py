"""Every entity keeps to Home Assistant's rules for names, classes and units; values and commands read right."""

from __future__ import annotations

import re
from typing import Any

import pytest

from drivers.point import Value
from edge.data import CONFIG
from edge.site_file import load_site
from edge.uplinks import view_of
from edge.uplinks.homeassistant_entities import Entities, Topics, alarm_state, class_of, kind_keys, platform, shown
from edge.uplinks.shape import EquipmentView, PointView, SiteView
from tests.uplinks.sparkplug_plant import SITE

TOPICS = Topics("homeassistant", "courtyard/maple/ha")
NUMERIC: dict[str, tuple[set[str], set[str]]] = {
    "temperature": ({"°C", "°F", "K"}, {"measurement"}),
    "voltage": ({"V", "mV"}, {"measurement"}),
    "current": ({"A", "mA"}, {"measurement"}),
    "power": ({"W", "kW"}, {"measurement"}),
    "frequency": ({"Hz", "kHz", "MHz", "GHz"}, {"measurement"}),
    "pressure": ({"Pa", "hPa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "psi"}, {"measurement"}),
    "volume_flow_rate": ({"m³/h", "ft³/min", "L/min", "gal/min"}, {"measurement"}),
    "distance": ({"km", "m", "cm", "mm"}, {"measurement", "total", "total_increasing"}),
    "duration": ({"d", "h", "min", "s", "ms"}, {"measurement", "total", "total_increasing"}),
    "energy": ({"Wh", "kWh", "MWh"}, {"total", "total_increasing"}),
    "volume": ({"L", "mL", "m³"}, {"total", "total_increasing"}),
    "battery": ({"%"}, {"measurement"}),
    "humidity": ({"%"}, {"measurement"}),
    "signal_strength": ({"dB", "dBm"}, {"measurement"}),
}
"""Units and state classes that Home Assistant takes with each device class of a sensor."""
BINARY = frozenset(
    [
        "battery",
        "battery_charging",
        "carbon_monoxide",
        "cold",
        "connectivity",
        "door",
        "garage_door",
        "gas",
        "heat",
        "light",
        "lock",
        "moisture",
        "motion",
        "moving",
        "occupancy",
        "opening",
        "plug",
        "power",
        "presence",
        "problem",
        "running",
        "safety",
        "smoke",
        "sound",
        "tamper",
        "update",
        "vibration",
        "window",
    ]
)


def checked(entities: Entities, equipment: str) -> dict[str, Any]:
    """A configuration that keeps to all rules."""
    config = entities.config(equipment)
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", entities.device_id(equipment))
    assert config["dev"]["ids"]
    assert config["dev"]["name"]
    assert config["o"]["name"], "device discovery needs an origin"
    assert config["avty"]
    ids = [component["uniq_id"] for component in config["cmps"].values()]
    assert len(set(ids)) == len(ids)
    for component in config["cmps"].values():
        check_component(component)
    return config


def check_component(component: dict[str, Any]) -> None:
    kind, device_class, unit = component["p"], component.get("dev_cla"), component.get("unit_of_meas")
    assert kind in ("sensor", "binary_sensor", "switch", "number", "select", "text")
    assert component["name"]
    assert not re.search(r"[+#]", component["stat_t"])
    assert ("cmd_t" in component) == (kind in ("switch", "number", "select", "text"))
    if kind == "binary_sensor":
        assert device_class in (None, *BINARY)
        assert unit is None
    elif device_class == "enum" or kind == "select":
        assert component["options"]
        assert len(set(component["options"])) == len(component["options"])
        assert "stat_cla" not in component
        assert unit is None
    elif device_class is not None:
        units, states = NUMERIC[device_class]
        assert unit in units
        assert kind == "number" or component["stat_cla"] in states
    if kind == "number":
        assert component["min"] < component["max"]
        assert component["step"] > 0


@pytest.mark.parametrize("commands", [False, True])
def test_every_equipment_of_the_demo_community_keeps_to_the_rules(commands: bool) -> None:
    view = view_of(load_site(CONFIG / "site.yaml"))
    entities = Entities(view, Topics("homeassistant", f"courtyard/{view.id}/ha"), commands=commands, version="1")
    devices, ids, classes = set(), set(), set()
    for equipment in view.equipment:
        config = checked(entities, equipment)
        devices.add(entities.device_id(equipment))
        ids |= {component["uniq_id"] for component in config["cmps"].values()}
        classes |= {component.get("dev_cla") for component in config["cmps"].values()}
    assert len(devices) == len(view.equipment)
    assert len(ids) == len(view.points) + len(view.equipment)
    assert classes >= {"temperature", "power", "energy", "running", "problem", "enum", "duration"}


def view(kind: str = "float", unit: str = "", **more: Any) -> PointView:
    return PointView(unit, {"zh": "点", "en": "point"}, kind, **more)


LABELS = {0: {"zh": "停", "en": "off"}, 1: {"zh": "开", "en": "on"}}


@pytest.mark.parametrize(
    ("name", "point", "device_class"),
    [
        ("t", view(unit="°C"), "temperature"),
        ("p", view(unit="MPa"), None),
        ("p", view(unit="kPa"), "pressure"),
        ("e", view(unit="kWh", counter=True), "energy"),
        ("e", view(unit="kWh"), None),
        ("h", view(unit="h", counter=True), "duration"),
        ("starts", view("int", counter=True), None),
        ("battery_level", view(unit="%"), "battery"),
        ("tank_level", view(unit="%"), None),
        ("vibration", view(unit="mm/s"), None),
    ],
)
def test_a_class_is_given_only_where_the_unit_belongs_to_it(
    name: str, point: PointView, device_class: str | None
) -> None:
    assert class_of(name, point) == device_class
    keys = kind_keys(name, point, writable=False, language="zh")
    assert keys["stat_cla"] == ("total_increasing" if point.counter else "measurement")
    assert keys.get("unit_of_meas", "") == point.unit


@pytest.mark.parametrize(
    ("point", "read", "written"),
    [
        (view("bool"), "binary_sensor", "switch"),
        (view("float"), "sensor", "number"),
        (view("int", labels=LABELS), "sensor", "select"),
        (view("text"), "sensor", "text"),
    ],
)
def test_a_point_that_is_written_is_another_kind_of_entity(point: PointView, read: str, written: str) -> None:
    assert platform(point, writable=False) == read
    assert platform(point, writable=True) == written


@pytest.mark.parametrize(
    ("point", "value", "expected"),
    [
        (view("bool"), True, "ON"),
        (view("bool"), False, "OFF"),
        (view("float"), 1.5, 1.5),
        (view("int", labels=LABELS), 1, "开"),
        (view("int", labels=LABELS), 7, None),
        (view("text"), "x" * 300, "x" * 255),
        (view("float"), None, None),
    ],
)
def test_values_read_as_their_entities_want_them(point: PointView, value: Value, expected: object) -> None:
    assert shown(point, value, "zh") == expected


def one(point: PointView) -> Entities:
    site = SiteView("maple", {"e-1": EquipmentView("light", "x/y", "", "")}, {"e-1.a": point})
    return Entities(site, TOPICS, commands=True, version="1")


@pytest.mark.parametrize(
    ("point", "payload", "value"),
    [
        (view("bool"), b"ON", True),
        (view("bool"), b"OFF", False),
        (view("float"), b"2.5", 2.5),
        (view("int"), b"7.0", 7),
        (view("int", labels=LABELS), "开".encode(), 1),
        (view("text"), "字".encode(), "字"),
    ],
)
def test_commands_mean_values(point: PointView, payload: bytes, value: Value) -> None:
    assert one(point).asked("e-1", "a", payload) == value


@pytest.mark.parametrize(
    ("point", "payload", "why"),
    [
        (view("bool"), b"true", "write ON or OFF"),
        (view("float"), b"much", "write a number"),
        (view("float"), b"nan", "write a number"),
        (view("int", labels=LABELS), b"on", "write one of 停, 开"),
        (view("text"), b"\xff", "is no UTF-8 text"),
    ],
)
def test_what_means_nothing_is_refused_with_what_to_write(point: PointView, payload: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        one(point).asked("e-1", "a", payload)
    with pytest.raises(ValueError, match=r"no point e-1\.b"):
        one(point).asked("e-1", "b", payload)


def test_only_devices_of_this_very_site_are_its_own() -> None:
    entities = Entities(SITE, TOPICS, commands=False, version="1")
    assert entities.owns(entities.config("pump-1")) == "pump-1"
    others: list[Any] = [{}, [], {"dev": 5}, {"dev": {"ids": "courtyard/maple/x"}}]
    for other in [*others, {"dev": {"ids": ["courtyard/maple-2/x"]}}]:
        assert entities.owns(other) is None


def test_an_alarm_shows_until_it_is_over_and_seen() -> None:
    alarm = {"rule": "dry", "state": "unacknowledged", "active": False, "name": {"zh": "干转", "en": "Dry run"}}
    assert alarm_state([], "zh") == {"state": "OFF", "count": 0, "alarms": []}
    assert alarm_state([{**alarm, "state": "shelved"}], "zh")["state"] == "OFF"
    told = alarm_state([alarm], "zh")
    assert (told["state"], told["alarms"][0]["name"]) == ("ON", "干转")
