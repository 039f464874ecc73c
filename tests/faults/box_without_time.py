"""The daemon on a box without a clock chip, as a program: `python -m tests.faults.box_without_time SITE STATE TIME`.

TIME is a file: which boot this is, and whether the time is known by now. Until it is, the box's clock says 1970 and
counts on with the monotonic one; then it says the truth, from one moment to the next. All else is the daemon's own.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from pathlib import Path
from unittest.mock import patch

import orjson

from edge.app import run, stop_on_signals
from edge.clock import SystemClock
from edge.site_file import load_site

LOOK_S = 0.05
"""How often it looks into the file."""


class ClockWithoutChip(SystemClock):
    """Wrong until the file says otherwise."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._known = False
        self._looked_s = float("-inf")

    def wall_ns(self) -> int:
        return super().wall_ns() if self.known() else time.monotonic_ns() // 1_000_000 * 1_000_000

    def known(self) -> bool:
        if not self._known and time.monotonic() - self._looked_s > LOOK_S:
            self._looked_s = time.monotonic()
            self._known = bool(orjson.loads(self._path.read_bytes())["known"])
        return self._known


async def main(site: Path, state: Path, times: Path) -> None:
    """Until told to stop."""
    stop = asyncio.Event()
    boot = str(orjson.loads(times.read_bytes())["boot"])
    with stop_on_signals(stop), patch("edge.eras.boot_id", lambda: boot):
        await run(load_site(site), state, stop, ClockWithoutChip(times))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(main(*map(Path, sys.argv[1:4])))
