"""`kill -9` of the daemon under 4,000 readings a second, the way to the broker cut now and then.

Then a quarter as often on a box without a clock chip: it boots in 1970 again and again, and many kills come before it
has learnt the time.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from tests.faults.box_time import Plan, now_and_then
from tests.faults.killing import COMMIT_S, Counted, kill_often
from tests.faults.table import Fault
from tests.support import free_port, mosquitto_command, running

SLACK_S = 0.25
"""Beyond the commit interval: what the commit itself may take, and an answer that is on its way."""
START_S = 2.0
WITHOUT_CHIP = 4
"""One kill in so many more, on a box without a clock chip."""


def run(times: int) -> list[Fault]:
    """So many kills, on one state directory; then on another."""
    seed = int(time.time())
    without = _kill(max(3, times // WITHOUT_CHIP), seed, now_and_then(random.Random(seed)))
    return [_fault(_kill(times, seed), seed), _without_chip(without, seed)]


def _kill(times: int, seed: int, plan: Plan | None = None) -> Counted:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        with running(mosquitto_command(port, folder), port, folder / "mosquitto.log"):
            return asyncio.run(kill_often(folder, port, times, seed, plan=plan))


def _without_chip(found: Counted, seed: int) -> Fault:
    stamps = found.stamps
    assert stamps is not None  # looked for where there is a plan
    counted = (
        ("seed", str(seed)),
        ("killed before the time was known", str(found.kills_unknown)),
        ("readings in the store at the end", str(len(found.stored))),
        ("  stamped anew or at once, true", f"{stamps.true}, at most {stamps.furthest_s:.2f} s from the answer"),
        ("  of boots that never knew the time, uncertain", str(stamps.uncertain)),
        ("  with a wrong stamp or mark, or out of order", _some(stamps.wrong)),
        ("  stored before a kill and lost, or twice", _some(found.lost + found.doubled)),
        ("  that never arrived at the subscriber", str(found.missing)),
        ("told and not in the ledger", _some(found.unwritten)),
    )
    well = not (stamps.wrong or found.lost or found.doubled or found.missing or found.unwritten)
    return Fault("kill -9 before the time is known", found.kills, counted, well)


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
