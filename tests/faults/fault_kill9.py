"""`kill -9` of the daemon under 4,000 readings a second, the way to the broker cut now and then."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.faults.killing import COMMIT_S, Counted, kill_often
from tests.faults.table import Fault
from tests.support import free_port, mosquitto_command, running

SLACK_S = 0.25
"""Beyond the commit interval: what the commit itself may take, and an answer that is on its way."""
START_S = 2.0


def run(times: int) -> list[Fault]:
    """So many kills, on one state directory."""
    seed = int(time.time())
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        with running(mosquitto_command(port, folder), port, folder / "mosquitto.log"):
            found = asyncio.run(kill_often(folder, port, times, seed))
    return [_fault(found, seed)]


def _fault(found: Counted, seed: int) -> Fault:
    gaps, starts = sorted(found.gaps_s), sorted(found.starts_s)
    counted = (
        ("seed", str(seed)),
        ("killed before it was ready", str(found.kills_at_start)),
        ("readings in the store at the end", str(len(found.stored))),
        ("  of those stored before a kill, lost", _some(found.lost)),
        ("  stored twice", _some(found.doubled)),
        ("  that never arrived at the subscriber", str(found.missing)),
        ("arrived at the subscriber", f"{found.arrived} ({found.beyond} out of memory, not yet stored at the kill)"),
        ("cuts of the way to the broker", str(found.cuts)),
        (f"gap at a kill, interval {COMMIT_S:g} s", f"median {gaps[len(gaps) // 2]:.2f} s, most {gaps[-1]:.2f} s"),
        ("alarms told, at broker and by push", str(found.told)),
        ("acknowledgements answered", str(found.acknowledged)),
        ("  of both, not in the ledger", _some(found.unwritten)),
        ("start until ready, processor time of it", f"most {max(found.start_cpu_s):.2f} s"),
        ("start until ready", f"median {starts[len(starts) // 2]:.2f} s, most {starts[-1]:.2f} s"),
    )
    well = (
        not found.lost and not found.doubled and not found.missing and not found.unwritten
        and gaps[-1] <= COMMIT_S + SLACK_S and starts[-1] < START_S
    )  # fmt: skip
    return Fault("kill -9 under load, uplink flapping", found.kills, counted, well)


def _some(found: list[str]) -> str:
    return f"{len(found)}: {'; '.join(found[:5])}" if found else "0"
