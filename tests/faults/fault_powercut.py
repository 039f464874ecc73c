"""Power cuts: the files as they may stand when the power goes, made of a record of every write and sync of SQLite."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.faults.powercut import Counted, cut_often
from tests.faults.table import Fault

ROUNDS = 300
"""Commits of each file in one record, over three lives of the writer."""


def run(times: int) -> list[Fault]:
    """So many cuts."""
    seed = int(time.time())
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(cut_often(Path(name), times, seed, ROUNDS))
    return [_fault(found, seed)]


def _fault(found: Counted, seed: int) -> Fault:
    counted = (
        ("seed", str(seed)),
        ("writes that were not synced when the power went", str(found.torn)),
        ("opened without repair", f"{found.opened} of {found.cuts}"),
        ("ledger entries that somebody may have been told", str(found.told)),
        ("  not in the ledger", f"{len(found.forgotten)} {'; '.join(found.forgotten[:3])}".strip()),
        (
            "readings out of order, doubled, changed, numbered twice",
            f"{len(found.wrong)} {'; '.join(found.wrong[:3])}",
        ),
    )
    well = found.opened == found.cuts and not found.forgotten and not found.wrong
    return Fault("power cut, any unsynced sectors kept or lost", found.cuts, counted, well)
