"""Every Modbus profile is recognised on its own simulator by `courtyard scan`, and taken for no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drivers.driver import ScanWish
from drivers.modbus.fingerprint import FingerprintKeys
from drivers.modbus.keys import TcpSettings, UnitKeys
from drivers.modbus.scan import scan
from edge.clock import SystemClock
from simulators.modbus_server import ModbusTcp
from simulators.modbus_units import Units
from simulators.model import SimEquipment
from simulators.world import World
from tests.profiles.test_every_profile import MODBUS, NOON, profile_of

KNOWN: dict[str, Any] = {
    profile.id: (profile.options, profile.fingerprint) for profile in map(profile_of, MODBUS) if profile.fingerprint
}


async def recognised(path: Path, known: dict[str, Any]) -> tuple[str, ...]:
    """What a scan of one simulated equipment says that it looks like."""
    profile, address = profile_of(path), UnitKeys(unit_id=17)
    each = SimEquipment("x", profile, "bus", address, dict(profile.simulate))
    wire = ModbusTcp(Units([each], World([each], seed=1, start=NOON)), lambda: None)
    await wire.server.open("127.0.0.1", 0)
    settings = TcpSettings(type="modbus-tcp", host="127.0.0.1", port=wire.server.address[1])
    try:
        (found,) = await scan(settings, ScanWish(units=(17,)), known).run(SystemClock(), lambda said: None)
    finally:
        await wire.server.cut()
    return found.profiles


def test_every_modbus_profile_has_a_fingerprint() -> None:
    assert set(KNOWN) == {profile_of(path).id for path in MODBUS}


@pytest.mark.parametrize("path", MODBUS, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_it_is_recognised_and_taken_for_no_other(path: Path) -> None:
    assert await recognised(path, KNOWN) == (profile_of(path).id,)


async def test_all_that_fit_are_told() -> None:
    path = next(path for path in MODBUS if path.stem == "generic-sump-pit")
    row = FingerprintKeys.model_validate({"register": "input", "address": 0, "between": [0, 31]})
    both = {**KNOWN, "pump/of-mine": (profile_of(path).options, (row,))}
    assert await recognised(path, both) == ("pump/generic-sump-pit", "pump/of-mine")


async def test_an_address_that_must_be_absent_and_is_there_tells_it_is_another() -> None:
    path = next(path for path in MODBUS if path.stem == "generic-sump-pit")
    row = FingerprintKeys.model_validate({"register": "input", "address": 2, "absent": True})
    assert await recognised(path, {"pump/short": (profile_of(path).options, (row,))}) == ()
