"""Mosquitto, VictoriaMetrics and InfluxDB stopped, killed and paused while rows flow to them."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path

from edge.uplinks import influxdb, session
from tests.faults.far_ends import Broker, FarEnd, Influx, Moody, Victoria
from tests.faults.outages import Counts, outages
from tests.faults.table import Fault

SHARE = 4
"""An outage takes about a second: a fourth of the times asked for is done of each kind."""
KINDS: tuple[tuple[str, type[FarEnd], str], ...] = (
    ("Mosquitto stopped and started", Broker, "stop"),
    ("Mosquitto killed with SIGKILL", Broker, "kill"),
    ("Mosquitto paused with SIGSTOP", Broker, "pause"),
    ("VictoriaMetrics stopped and started", Victoria, "stop"),
    ("VictoriaMetrics paused with SIGSTOP", Victoria, "pause"),
    ("InfluxDB stopped and started", Influx, "stop"),
    ("InfluxDB killed with SIGKILL", Influx, "kill"),
    ("InfluxDB paused with SIGSTOP", Influx, "pause"),
    ("InfluxDB behind a server that answers each error code", Moody, "answer"),
)


def run(times: int) -> list[Fault]:
    """Each kind so many times, on a readings log of its own."""
    logging.getLogger().setLevel(logging.CRITICAL)  # every outage is told twice
    session.CONFIRM_S, influxdb.TIMEOUT_MS = 0.2, 200  # so that a pause is longer than we wait
    return [_fault(name, kind, way, max(1, times // SHARE)) for name, kind, way in KINDS]


def _fault(name: str, kind: type[FarEnd], way: str, times: int) -> Fault:
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_counts(kind, way, times, Path(folder)))
    counted = (
        ("rows recorded", str(found.recorded)),
        ("  that never arrived", str(found.missing)),
        ("arrived and never recorded", str(found.strange)),
        ("arrived again after an unconfirmed send", str(found.repeated)),
        ("refused for good / set aside and counted", f"{found.refused} / {found.aside}"),
        ("everything there after the last return", f"{found.late_s:.1f} s"),
    )
    return Fault(name, found.outages, counted, found.well)


async def _counts(kind: type[FarEnd], way: str, times: int, folder: Path) -> Counts:
    return await outages(kind(folder), way, times, folder)
