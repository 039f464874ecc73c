"""The points of a site as entities of Home Assistant (MQTT discovery, one message for each device). Pure.

What comes in: the site as the outside is told of it. What goes out: configurations, and states as text. Home
Assistant refuses a device class with a unit that does not belong to it (there is no MPa there), so a class is given
only where the unit allows it; a unit without a class is shown as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from drivers.point import Value
from edge.uplinks.shape import EquipmentView, PointView, SiteView

ON, OFF = "ON", "OFF"
ALARM = "alarm-state"
"""Key of the entity that shows whether an equipment has an alarm; no point can have such a name."""
WIDEST = 1e9
"""A number without limits still needs some."""
UNIT_CLASSES: Mapping[str, tuple[str, ...]] = {
    "temperature": ("°C",),
    "voltage": ("V", "mV"),
    "current": ("A", "mA"),
    "power": ("W", "kW"),
    "reactive_power": ("var",),
    "apparent_power": ("VA",),
    "frequency": ("Hz", "kHz"),
    "pressure": ("Pa", "hPa", "kPa", "bar", "mbar"),
    "volume_flow_rate": ("m³/h", "L/min"),
    "distance": ("mm", "cm", "km"),
    "duration": ("s", "min", "h", "d"),
    "illuminance": ("lx",),
    "signal_strength": ("dBm",),
}
"""Which class a unit says by itself."""
COUNTED_CLASSES: Mapping[str, tuple[str, ...]] = {
    "energy": ("Wh", "kWh", "MWh"),
    "volume": ("m³", "L"),
    "duration": ("s", "min", "h", "d"),
}
"""The same for what only counts up; these take no `measurement`."""
NAMED_CLASSES: Mapping[tuple[str, str], str] = {
    ("%", "battery"): "battery",
    ("%", "humidity"): "humidity",
    ("ppm", "co2"): "carbon_dioxide",
    ("µg/m³", "pm25"): "pm25",
    ("µg/m³", "pm10"): "pm10",
}
BINARY_CLASSES: Mapping[str, str] = {
    "running": "running", "fault": "problem", "alarm": "problem", "door": "door", "tamper": "tamper",
    "smoke": "smoke", "gas": "gas", "flood": "moisture", "leak": "moisture", "low_battery": "battery",
    "battery_low": "battery", "mains_lost": "problem", "overload": "problem", "occupied": "occupancy",
    "online": "connectivity",
}  # fmt: skip
_ID = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True)
class Topics:
    """Where things are told."""

    discovery: str
    """Prefix that Home Assistant listens to."""
    base: str
    """Of everything else of this site."""

    def config(self, device: str) -> str:
        """Of one device's configuration."""
        return f"{self.discovery}/device/{device}/config"

    def state(self, equipment: str) -> str:
        """Of all values of one equipment."""
        return f"{self.base}/{equipment}/state"

    def presence(self, equipment: str) -> str:
        """Whether an equipment can be read."""
        return f"{self.base}/{equipment}/availability"

    def alarms(self, equipment: str) -> str:
        """Of the alarms of one equipment."""
        return f"{self.base}/{equipment}/alarms"

    def command(self, equipment: str, point: str) -> str:
        """Of commands to one point."""
        return f"{self.base}/{equipment}/{point}/set"

    @property
    def status(self) -> str:
        """Whether the gateway is there."""
        return f"{self.base}/status"


class Entities:
    """The devices of one site."""

    def __init__(self, site: SiteView, topics: Topics, *, commands: bool, version: str) -> None:
        self.points = site.points_of()
        self._site = site
        self._topics = topics
        self._commands = commands
        self._origin = {"name": "Courtyard", "sw": version}

    def device_id(self, equipment: str) -> str:
        """The part of the topic that names a device."""
        return _ID.sub("_", f"courtyard_{self._site.id}_{equipment}")

    def identifier(self, equipment: str) -> str:
        """What Home Assistant knows a device by; no other site has one that begins with the same site."""
        return f"courtyard/{self._site.id}/{equipment}"

    def owns(self, config: Any) -> str | None:
        """The equipment of a configuration that this site has published before; None for all others."""
        device = config.get("dev") if isinstance(config, dict) else None
        ids = device.get("ids") if isinstance(device, dict) else None
        mine = (
            [str(each) for each in ids if str(each).startswith(self.identifier(""))] if isinstance(ids, list) else []
        )
        return mine[0].removeprefix(self.identifier("")) if mine else None

    def config(self, equipment: str) -> dict[str, Any]:
        """The configuration of one device with all its entities."""
        view = self._site.equipment[equipment]
        components = {name: self._component(equipment, name) for name in self.points[equipment]}
        components[ALARM] = self._alarm(equipment)
        return {
            "dev": self._device(equipment, view),
            "o": self._origin,
            "cmps": components,
            "avty": [
                {"t": self._topics.status},
                {"t": self._topics.presence(equipment)},
            ],
            "avty_mode": "all",
            "qos": 1,
        }

    def _device(self, equipment: str, view: EquipmentView) -> dict[str, Any]:
        device = {
            "ids": [self.identifier(equipment)],
            "name": view.name or equipment,
            "mdl": view.profile,
            "mf": "Courtyard",
            "sa": view.location,
        }
        return {key: value for key, value in device.items() if value}

    def _component(self, equipment: str, name: str) -> dict[str, Any]:
        view = self._site.points[f"{equipment}.{name}"]
        writable = view.writable and self._commands
        common: dict[str, Any] = {
            "p": platform(view, writable=writable),
            "name": view.title.get(self._site.language, name),
            "uniq_id": f"{self.device_id(equipment)}_{name}",
            "stat_t": self._topics.state(equipment),
            "val_tpl": f"{{{{ value_json['{name}'] }}}}",
        }
        if writable:
            common["cmd_t"] = self._topics.command(equipment, name)
        return common | kind_keys(name, view, writable=writable, language=self._site.language)

    def _alarm(self, equipment: str) -> dict[str, Any]:
        topic = self._topics.alarms(equipment)
        return {
            "p": "binary_sensor",
            "name": {"zh": "报警", "en": "Alarm"}[self._site.language],
            "uniq_id": f"{self.device_id(equipment)}_{ALARM}",
            "dev_cla": "problem",
            "stat_t": topic,
            "val_tpl": "{{ value_json.state }}",
            "json_attr_t": topic,
            "avty": [{"t": self._topics.status}],
        }

    def state(self, equipment: str, values: Mapping[str, tuple[Value, str]]) -> dict[str, Any]:
        """Values and qualities of an equipment as its entities read them; what is not good is unknown."""
        found = {}
        for name in self.points[equipment]:
            value, quality = values[name]
            view = self._site.points[f"{equipment}.{name}"]
            found[name] = shown(view, value, self._site.language) if not quality.startswith("bad") else None
        return found

    def asked(self, equipment: str, name: str, payload: bytes) -> Value:
        """What a command means. Raises ValueError."""
        view = self._site.points.get(f"{equipment}.{name}")
        if view is None:
            raise ValueError(f"no point {equipment}.{name}")
        try:
            text = payload.decode().strip()
        except UnicodeDecodeError:
            raise ValueError("is no UTF-8 text") from None
        return _asked(view, text, self._site.language)


def platform(view: PointView, *, writable: bool) -> str:
    """The kind of entity of a point."""
    if view.kind == "bool":
        return "switch" if writable else "binary_sensor"
    if not writable:
        return "sensor"
    if view.labels:
        return "select"
    return "text" if view.kind == "text" else "number"


def kind_keys(name: str, view: PointView, *, writable: bool, language: str) -> dict[str, Any]:
    """The keys that a kind of entity has besides those of all."""
    if view.kind == "bool":
        found = BINARY_CLASSES.get(name) if not writable else None
        return {"dev_cla": found} if found else {}
    if view.labels and view.kind in ("int", "float"):
        options = options_of(view, language)
        return {"options": options} if writable else {"dev_cla": "enum", "options": options}
    if view.kind == "text":
        return {"max": 255} if writable else {}
    keys: dict[str, Any] = {}
    if writable:
        step = 1 if view.kind == "int" else 0.001
        low, high = (-WIDEST if view.low is None else view.low), (WIDEST if view.high is None else view.high)
        keys = {"min": low, "max": high, "step": step, "mode": "box"}
    else:
        keys["stat_cla"] = "total_increasing" if view.counter else "measurement"
    if view.unit:
        keys["unit_of_meas"] = view.unit
    device_class = class_of(name, view)
    if device_class:
        keys["dev_cla"] = device_class
    return keys


def class_of(name: str, view: PointView) -> str | None:
    """The device class of a number; None where its unit belongs to none for certain."""
    classes = COUNTED_CLASSES if view.counter else UNIT_CLASSES
    found = next((each for each, units in classes.items() if view.unit in units), None)
    return found or next(
        (each for (unit, key), each in NAMED_CLASSES.items() if unit == view.unit and key in name), None
    )


def options_of(view: PointView, language: str) -> list[str]:
    """The names of an enumeration's values, each once."""
    return list(dict.fromkeys(_label(text, code, language) for code, text in (view.labels or {}).items()))


def shown(view: PointView, value: Value, language: str) -> Any:
    """A value as its entity reads it; None is unknown there."""
    if value is None:
        return None
    if view.kind == "bool":
        return ON if value else OFF
    if view.labels and isinstance(value, int | float):
        text = view.labels.get(int(value))
        return None if text is None else _label(text, int(value), language)
    if isinstance(value, str):
        return value[:255]
    return value


def _label(text: Mapping[str, str], code: int, language: str) -> str:
    return text.get(language) or str(code)


def _asked(view: PointView, text: str, language: str) -> Value:
    if view.kind == "bool":
        if text not in (ON, OFF):
            raise ValueError(f"is {text[:40]!r}; write {ON} or {OFF}")
        return text == ON
    if view.labels:
        codes = {_label(names, code, language): code for code, names in view.labels.items()}
        if text not in codes:
            raise ValueError(f"is {text[:40]!r}; write one of {', '.join(codes)}")
        return codes[text]
    if view.kind == "text":
        return text
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"is {text[:40]!r}; write a number") from None
    if not isfinite(number):
        raise ValueError(f"is {text[:40]!r}; write a number")
    return int(number) if view.kind == "int" and number.is_integer() else number


def alarm_state(alarms: Sequence[Mapping[str, Any]], language: str) -> dict[str, Any]:
    """What the alarm entity of an equipment shows, and the alarms as its attributes."""
    rows = [_alarm_row(alarm, language) for alarm in alarms]
    wanted = any(alarm.get("active") or alarm.get("state") == "unacknowledged" for alarm in alarms)
    return {"state": ON if wanted else OFF, "count": len(rows), "alarms": rows}


def _alarm_row(alarm: Mapping[str, Any], language: str) -> dict[str, Any]:
    name = alarm.get("name")
    keys: Iterable[str] = ("rule", "code", "priority", "state", "raised")
    return {
        "name": name.get(language) if isinstance(name, Mapping) else None,
        **{key: alarm.get(key) for key in keys},
    }
