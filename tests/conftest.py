"""Fixtures that several parts share: real services on free loopback ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import free_port, mosquitto_command, need, running


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
    command = [
        need("victoria-metrics", "victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={tmp_path / 'victoria'}",
        "-retentionPeriod=100y",
    ]
    with running(command, port, tmp_path / "victoria.log"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def mbpoll() -> str:
    """Path of a Modbus master that nobody here wrote."""
    return need("mbpoll", "mbpoll")
