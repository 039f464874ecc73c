"""Sparkplug B while brokers are killed and hosts fall over: what the primary host has is counted in the end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from edge.store.readings import open_readings
from edge.uplinks import session, sparkplug
from tests.support import eventually, free_port, mosquitto_command, running
from tests.uplinks.sparkplug_rig import missing, plant_on, read


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(session, "LOOK_AGAIN_S", 0.1)
    monkeypatch.setattr(session, "CONFIRM_S", 1.0)
    monkeypatch.setattr(sparkplug, "SETTLE_S", 0.1)


@pytest.mark.service
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_broker_that_is_ended_again_and_again_takes_nothing_along(
    tmp_path: Path, how: signal.Signals
) -> None:
    port = free_port()
    async with open_readings(tmp_path / "readings.db", 0.05) as store, plant_on(port, store) as (gateway, _, others):
        for _ in range(3):
            with running(mosquitto_command(port, tmp_path), port, tmp_path / "mosquitto.log") as broker:
                births = others.host.births
                read(gateway.plant, store, 60)
                await eventually(lambda before=births: others.host.births > before, 20)  # type: ignore[misc]
                read(gateway.plant, store, 60)
                await asyncio.sleep(0.05)
                broker.send_signal(how)
                broker.wait(5)
            read(gateway.plant, store, 30)
        with running(mosquitto_command(port, tmp_path), port, tmp_path / "mosquitto.log"):
            await eventually(lambda: not missing(gateway.plant, others.host), 30)
            assert len(gateway.plant.log) == 450
            assert others.host.births >= 4


@pytest.mark.service
async def test_a_host_that_falls_again_and_again_has_everything_in_the_end(
    mosquitto: tuple[str, int], tmp_path: Path
) -> None:
    async with (
        open_readings(tmp_path / "readings.db", 0.05) as store,
        plant_on(mosquitto[1], store) as (gateway, _, others),
    ):
        for _ in range(4):
            births = others.host.births
            read(gateway.plant, store, 60)
            await eventually(lambda before=births: others.host.births > before, 20)  # type: ignore[misc]
            read(gateway.plant, store, 60)
            await asyncio.sleep(0.03)
            others.fall()
        await eventually(lambda: not missing(gateway.plant, others.host), 30)
        assert others.host.historical > 0
