"""One loop over the library: every profile loads, speaks both languages, and is read back from its own simulator."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from drivers.driver import PolledLink, drivers
from drivers.guard import READ_ONLY
from drivers.modbus.keys import RegisterKeys, UnitKeys
from drivers.point import Device, Quality, Value
from drivers.profile import PointSpec, Profile, load_profile
from edge.__main__ import main
from edge.alarms.families import apart
from edge.clock import ManualClock
from edge.data import PROFILES
from simulators.modbus_server import ModbusTcp
from simulators.modbus_units import Units
from simulators.model import SimEquipment
from simulators.models import MODELS
from simulators.world import World

FILES = sorted(PROFILES.glob("*/*.yaml"))
NOON = datetime(2026, 3, 2, 12, tzinfo=ZoneInfo("Asia/Shanghai"))
every_profile = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
_LIMITS = {
    "uint16": (0, 65_535), "int16": (-32_768, 32_767), "uint32": (0, 2**32 - 1), "int32": (-(2**31), 2**31 - 1),
    "uint64": (0, 2**63), "int64": (-(2**63), 2**63 - 1), "bcd16": (0, 9_999), "bcd32": (0, 99_999_999),
    "float32": (-(2**24), 2**24), "float64": (-(2**53), 2**53),
}  # fmt: skip
"""Whole numbers that a register can hold exactly."""


def profile_of(path: Path) -> Profile:
    profile, document = load_profile(path)
    assert profile is not None, "\n".join(map(str, document.faults))
    return profile


def test_there_are_profiles_of_every_class_that_the_demo_shows() -> None:
    assert {path.parent.name for path in FILES} >= {"elevator", "pump", "bin", "light", "perimeter", "meter"}


@every_profile
def test_it_loads_without_faults_its_rules_meters_and_plans_too(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", "check", str(path)]) == 0, capsys.readouterr().err


def texts(node: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
    """Every text for staff in a section, with its place."""
    if not isinstance(node, Mapping):
        return
    if "zh" in node or "en" in node:
        yield where, cast(Mapping[str, str], node)
        return
    for key, value in node.items():
        yield from texts(value, (*where, str(key)))


def chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


@every_profile
def test_what_staff_read_is_in_both_languages(path: Path) -> None:
    profile = profile_of(path)
    for spec, _ in profile.points.values():
        assert spec.name.zh
        assert spec.name.en
    for name, written in apart(profile.alarms, profile.document, ()).items():
        missing = {"name", "advice", "cause", "consequence", "class"} - set(written.raw)
        assert not missing, f"{name} does not say {missing}"
    for section in (profile.alarms, profile.meters, profile.upkeep):
        for name, entry in section.items():
            found = dict(texts(entry, (name,)))
            assert (name, "name") in found or "steps" in entry
            for where, text in found.items():
                assert set(text) == {"zh", "en"}, where
                assert chinese(text["zh"]), where
                assert text["en"], where
                assert not chinese(text["en"]), where


@every_profile
def test_a_register_map_of_our_own_says_so(path: Path) -> None:
    profile = profile_of(path)
    generic = path.stem.startswith("generic-")
    assert profile.synthetic or not generic, "its maker is nobody, so its source begins with `synthetic profile`"
    assert profile.synthetic or "sheet" in profile.source or "definition" in profile.source, profile.source


@every_profile
def test_lifts_and_fire_equipment_have_nothing_to_write(path: Path) -> None:
    profile = profile_of(path)
    writable = [name for name, (spec, _) in profile.points.items() if spec.writable]
    assert not (profile.equipment_class in READ_ONLY and writable)


@every_profile
def test_what_can_be_switched_is_guarded_against_hammering(path: Path) -> None:
    for name, (spec, _) in profile_of(path).points.items():
        if spec.writable and spec.kind == "bool":
            assert spec.guard is not None, f"{name}: give its contactor some rest, e.g. guard: {{min_interval: 2s}}"
            assert spec.guard.min_interval >= 1


@every_profile
def test_its_simulator_has_a_model_and_a_value_for_every_point(path: Path) -> None:
    profile = profile_of(path)
    assert profile.simulate.get("model", "fixed") in MODELS
    each = SimEquipment("x", profile, "c", UnitKeys(unit_id=1), dict(profile.simulate))
    world = World([each], seed=1, start=NOON)
    assert set(world.models["x"].values()) == set(profile.points)


# --- Modbus: what is put into the simulator comes out of the driver ------------------------------------------


def plain_value(spec: PointSpec, keys: RegisterKeys, at: int) -> Value:
    """A value that the point can have and its registers hold exactly, another for each `at`."""
    if spec.kind == "bool":
        return at % 2 == 0
    if spec.kind == "text":
        return "AB12"[: 2 * (keys.length or 1)]
    if spec.labels:
        return sorted(spec.labels)[(at + 1) % len(spec.labels)]
    low, high = _LIMITS[keys.type]
    edges = sorted(
        (limit - keys.offset) / keys.scale if limit is not None else end
        for limit, end in ((spec.low, low if keys.scale > 0 else high), (spec.high, high if keys.scale > 0 else low))
    )
    first, last = max(low, math.ceil(edges[0])), min(high, math.floor(edges[1]))
    raw = first + (last - first) * (at % 5 + 1) // 7
    raw = raw + 1 if raw in keys.missing else raw
    value = raw * keys.scale + keys.offset
    return int(value) if spec.kind == "int" else float(value)


def plain_values(profile: Profile, at: int) -> dict[str, Value]:
    rows = enumerate(profile.points.items(), at)
    return {name: plain_value(spec, cast(RegisterKeys, keys), number) for number, (name, (spec, keys)) in rows}


@asynccontextmanager
async def reached(profile: Profile, values: Mapping[str, Value]) -> AsyncIterator[tuple[PolledLink, Device, World]]:
    """A simulator of plain values, and the real driver connected to it."""
    address = UnitKeys(unit_id=17)
    each = SimEquipment("x", profile, "bus", address, values)
    world = World([each], seed=1, start=NOON)
    wire = ModbusTcp(Units([each], world), lambda: None)
    await wire.server.open("127.0.0.1", 0)
    driver = drivers()["modbus-tcp"]
    host, port = wire.server.address
    settings = driver.settings.model_validate({"type": "modbus-tcp", "host": host, "port": port})
    device = Device("x", address, profile.options, profile.points_of("x"), 0.0)
    try:
        async with driver.open("bus", settings, [device], ManualClock()) as link:
            yield cast(PolledLink, link), device, world
    finally:
        await wire.server.cut()


async def read_back(link: PolledLink, device: Device) -> dict[str, Value]:
    """All points of a device by the requests that are planned for it; every one good."""
    driver = drivers()["modbus-tcp"]
    assert driver.plan is not None
    settings = driver.settings.model_validate({"type": "modbus-tcp", "host": "127.0.0.1"})
    found: dict[str, Value] = {}
    for request in driver.plan(settings, [device]):
        for point, value, quality in (await link.read(request)).readings():
            assert quality is Quality.GOOD, point.name
            found[point.name] = value
    return found


MODBUS = [path for path in FILES if "\nprotocol: modbus\n" in path.read_text(encoding="utf-8")]
every_modbus_profile = pytest.mark.parametrize("path", MODBUS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def test_the_modbus_profiles_are_found() -> None:
    assert MODBUS == [path for path in FILES if profile_of(path).protocol == "modbus"] != []


@every_modbus_profile
@pytest.mark.parametrize("at", [0, 3])
async def test_every_point_reads_back_as_what_was_put_in(path: Path, at: int) -> None:
    profile = profile_of(path)
    values = plain_values(profile, at)
    async with reached(profile, values) as (link, device, _):
        found = await read_back(link, device)
    assert set(found) == set(values)
    for name, value in values.items():
        close = pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
        assert found[name] == close, name
        assert type(found[name]) is type(value), name


@every_modbus_profile
async def test_every_writable_point_takes_another_value_and_reads_back(path: Path) -> None:
    profile = profile_of(path)
    async with reached(profile, plain_values(profile, 0)) as (link, device, world):
        before = await read_back(link, device)
        for point, other in zip(device.points, plain_values(profile, 1).values(), strict=True):
            if point.writable:
                assert await link.write(device, point, other) == pytest.approx(other)
                assert world.models["x"].values()[point.name] == pytest.approx(other)
                before[point.name] = other
        assert await read_back(link, device) == before
