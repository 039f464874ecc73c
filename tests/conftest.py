"""Fixtures that several parts share: real services on free loopback ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import free_port, influxdb1_command, mosquitto_command, need, running, victoria_command

# A busy machine is no fault of what is tested: neither the time of one example counts, nor that of making it up.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Host and port of a fresh real broker."""
    port = free_port()
    with running(mosquitto_command(port, tmp_path), port, tmp_path / "mosquitto.log"):
        yield "127.0.0.1", port


@pytest.fixture
def victoria_metrics(tmp_path: Path) -> Iterator[str]:
    """Base URL of a fresh server of the InfluxDB v2 write API."""
    port = free_port()
    with running(victoria_command(port, tmp_path), port, tmp_path / "victoria.log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def influxdb1(tmp_path: Path) -> Iterator[str]:
    """Base URL of a fresh InfluxDB 1.x, which nobody here wrote: a judge of the line protocol."""
    port = free_port()
    with running(influxdb1_command(port, tmp_path), port, tmp_path / "influxdb.log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def mbpoll() -> str:
    """Path of a Modbus master that nobody here wrote."""
    return need("mbpoll", "mbpoll")
