"""What is done once a day, at an hour when little happens: old entries of the journal go, a backup is made.

What comes in: the site's settings and the clock. What goes out: entries of kind `gateway` in the journal, files in
`<state>/backups/`. The backup is made by a process of its own, gently: it may take minutes and holds up no poll.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from drivers.driver import Clock
from edge.clerk import Clerk
from edge.site import Site
from edge.store.aging import Aging
from edge.store.ledger import Ledger, StoreError
from edge.store.state import LEDGER, READINGS

AT = "03:30"
"""Where the site file does not say when."""
LOOK_S = 60.0
"""How often it is looked whether it is time: a clock that is set steps over nothing for longer."""
FARTHEST_NS = 25 * 3600 * 10**9
"""No next round is farther away, on the day of 25 hours either: else the clock was ahead, and has been set back."""
SPARE = 64 << 20
"""Bytes that a backup leaves free on the disk besides."""

log = logging.getLogger(__name__)

Run = Callable[[list[str]], Awaitable[tuple[int, str]]]
"""Runs a command line of Courtyard; exit code and the last line of what it said."""


class Nightly:
    """The daily round."""

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        clerk: Clerk,
        clock: Clock,
        open_ids: Callable[[], Collection[str]],
        aging: Aging,
    ) -> None:
        """`open_ids`: alarms, incidents and orders that are not over, whose history is kept however old it is."""
        self.trouble: str | None = None
        """Why the last backup was not made; None where it was, or none is wanted."""
        self.run_command: Run = _run
        self._site = site
        self._ledger = ledger
        self._clerk = clerk
        self._clock = clock
        self._open_ids = open_ids
        self._aging = aging
        self._state = ledger.path.parent

    async def run(self) -> None:
        """Wait for the hour, do the round, for ever."""
        due = self._next()
        while True:
            await self._clock.sleep(LOOK_S)
            now_ns = self._clock.wall_ns()
            if now_ns >= due:
                await self.round()
            if now_ns >= due or due - now_ns > FARTHEST_NS:
                due = self._next()

    async def round(self) -> None:
        """Everything, once."""
        try:
            before_ns = self._aging.now_ns() - round(self._site.storage.journal * 1e9)
            gone = await self._ledger.prune(before_ns, self._open_ids())
            if gone:
                log.info("%d entries of the journal were older than storage.journal and have gone", gone)
        except StoreError as error:
            log.warning("old entries of the journal stay: %s", error)
        if self._site.backup is not None:
            await self._back_up(self._site.backup.readings, self._site.backup.keep)

    async def _back_up(self, readings: bool, keep: int) -> None:
        folder = self._state / "backups"
        target = folder / f"{self._site.info.id}-{self._stamp()}.tar.zst"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            lacking = self._lacking(readings)
            code, line = (1, lacking) if lacking else await self.run_command(self._command(target, readings))
            if not code:
                self._thin_out(folder, keep)
        except OSError as error:
            code, line = 1, f"{error.filename}: {error.strerror}"
        body: dict[str, Any] = {"event": "backed up", "file": target.name}
        if code:
            body = {"event": "backup failed", "file": target.name, "reason": line}
            log.error("no backup was made: %s", line)
        self.trouble = f"no backup was made: {line}" if code else None
        await self._clerk.note("gateway", "backup", body)

    def _command(self, target: Path, readings: bool) -> list[str]:
        command = ["backup", str(target), "--state", str(self._state), "--gently"]
        if self._site.files:
            command += ["--config", str(self._site.files[0][1])]
        return command if readings else [*command, "--no-readings"]

    def _lacking(self, readings: bool) -> str:
        """What is in the way: a disk that a backup would fill."""
        paths = [self._state / f"{name}{end}" for name in (LEDGER, READINGS)[: 1 + readings] for end in ("", "-wal")]
        needed = sum(path.stat().st_size for path in paths if path.exists()) + SPARE
        free = shutil.disk_usage(self._state).free
        if free >= needed:
            return ""
        return (
            f"{free >> 20} MB are free on the disk of {self._state}, a backup may need {needed >> 20} MB; free some"
        )

    def _thin_out(self, folder: Path, keep: int) -> None:
        """The newest `keep` backups of this site stay. Their names are in the order of time.

        Those with a time to come were made while the clock was ahead: they count as the oldest, or each new one would
        go in their place.
        """
        now = f"{self._site.info.id}-{self._stamp()}.tar.zst"
        found = sorted(folder.glob(f"{self._site.info.id}-*.tar.zst"), key=lambda path: (path.name <= now, path.name))
        for path in found[: max(0, len(found) - keep)]:
            path.unlink()
        for path in folder.glob("*.part"):
            path.unlink()

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self._clock.wall_ns() / 1e9, self._zone).strftime("%Y%m%dT%H%M%S")

    def _next(self) -> int:
        """When the next round is due, Unix time in ns."""
        hour, minute = map(int, (self._site.backup.at if self._site.backup else AT).split(":"))
        now = datetime.fromtimestamp(self._clock.wall_ns() / 1e9, self._zone)
        due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if due <= now:
            due = (now.replace(tzinfo=None) + timedelta(days=1)).replace(
                hour=hour, minute=minute, second=0, microsecond=0, tzinfo=self._zone
            )
        return round(due.timestamp() * 1e9)

    @property
    def _zone(self) -> ZoneInfo:
        return self._site.zone


async def _run(arguments: list[str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    lines = said.decode(errors="replace").strip().splitlines()
    return process.returncode or 0, lines[-1].removeprefix("courtyard: ") if lines else "it said nothing"
