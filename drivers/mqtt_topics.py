"""MQTT topics and the devices that they concern.

What comes in: devices with their names in topics, and the topic templates of their profiles, with `{device}`, `+`
and `#`. What goes out: the topics to subscribe to, and for a message's topic the devices and the decoder of its
kind. Pure: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator

from drivers.driver import Keys
from drivers.listening import Intake, Speaker
from drivers.payload import Decoder, slots_of
from drivers.payload_keys import Messages
from drivers.point import Device

_KEPT = 4096
"""Topics whose devices are remembered."""


class MqttKeys(Keys):
    """Where an equipment is on its broker."""

    device: str = Field(min_length=1, max_length=200)
    """Dev EUI or friendly name; in quotes where it looks like a number."""

    @field_validator("device", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError(f"is the number {value!r}; write the device's name in quotes")
        if isinstance(value, str) and (set(value) & set("+#\0") or value.strip("/ ") != value):
            raise ValueError(f"{value!r} cannot stand in a topic; leave out +, # and / or spaces at the ends")
        return value


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of message of one device."""

    speaker: Speaker
    message: str
    decoder: Decoder


class Routes:
    """Which devices a topic concerns."""

    def __init__(self, devices: Sequence[Device], intake: Intake) -> None:
        self._exact: dict[str, list[Route]] = {}
        self._matchers: list[tuple[re.Pattern[str], dict[str, list[Route]]]] = []
        self._known: dict[str, tuple[Route, ...]] = {}
        self.topics: list[str] = []
        """What to subscribe to, each once."""
        by_template: dict[tuple[str, int], dict[str, list[Route]]] = {}
        decoders: dict[tuple[object, ...], Decoder] = {}
        topics: dict[str, None] = {}
        for device in devices:
            if not isinstance(device.address, MqttKeys) or not isinstance(device.options, Messages):
                continue
            for name, message in device.options.by_name.items():
                key = (id(device.options), name, *(id(point.address) for point in device.points))
                if key not in decoders:
                    decoders[key] = Decoder(message, slots_of(name, device.points))
                route = Route(intake.speakers[device.id], name, decoders[key])
                topic = message.topic.replace("{device}", device.address.device)
                topics[topic] = None
                if "+" in topic or "#" in topic:
                    where = (message.topic, device.address.device.count("/"))
                    by_template.setdefault(where, {}).setdefault(device.address.device, []).append(route)
                else:
                    self._exact.setdefault(topic, []).append(route)
        self._matchers = [(matcher(*where), routes) for where, routes in by_template.items()]
        self.topics = list(topics)

    def of(self, topic: str) -> tuple[Route, ...]:
        """The routes of a topic; empty where the site file does not name its device."""
        known = self._known.get(topic)
        if known is None:
            known = tuple(self._search(topic))
            if len(self._known) < _KEPT:
                self._known[topic] = known
        return known

    def _search(self, topic: str) -> Iterator[Route]:
        yield from self._exact.get(topic, ())
        for pattern, routes in self._matchers:
            match = pattern.fullmatch(topic)
            if match:
                yield from routes.get(match["device"], ())


def matcher(template: str, slashes: int = 0) -> re.Pattern[str]:
    """A topic template with `{device}`, `+` and `#` as a pattern whose group `device` is the device's name.

    A name with slashes in it fills several levels; the pattern is for names with so many.
    """
    name = "/".join(["[^/]+"] * (slashes + 1))
    pattern = re.escape(template.removesuffix("/#")).replace(re.escape("{device}"), f"(?P<device>{name})", 1)
    pattern = pattern.replace(re.escape("{device}"), "(?P=device)")
    pattern = re.sub(r"(?<![^/])\\[+](?![^/])", "[^/]*", pattern)
    return re.compile(pattern + ("(?:/.*)?" if template.endswith("/#") else ""), re.DOTALL)
