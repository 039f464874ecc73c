"""A real daemon under full load, killed with `kill -9` at random moments, again and again; both ends are counted.

What comes in: how often, and a seed. What goes out: what was counted. Found after every kill, in the files as the
kill left them: every reading that was in them before is there still, once; what is missing at their end is younger
than a commit interval; every alarm that left the box, every acknowledgement that was answered, is in the journal. At
the end the last daemon may catch up: what is stored has arrived at the far end.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from edge.store.database import StoreError
from edge.store.readings_file import ReadingsFile
from edge.store.state import LEDGER, READINGS, reading
from edge.texts import iso
from tests.faults.box_time import BoxTime, Plan, Stamps, stamps
from tests.faults.killed_site import COUNTER, Devices, Ears, Proxy, doing, flap, toggle, within, write_site
from tests.support import free_port

START_S = 30.0
COMMIT_S = 1.0
"""The commit interval under load, as the site file of these runs has it."""
Mark = tuple[int, int]
"""Device and counter: one reading's name."""


@dataclass
class Counted:
    """What was found."""

    kills: int = 0
    kills_at_start: int = 0
    """Of them before the daemon was ready."""
    starts_s: list[float] = field(default_factory=list)
    """Wall time from the program's start to `ready`."""
    start_cpu_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    """For each kill: how long before it the oldest reading was handed out that is not in the store."""
    stored: set[Mark] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    """Readings that had been stored and are not any more, and holes in what one run stored."""
    doubled: list[str] = field(default_factory=list)
    told: int = 0
    """Alarm transitions heard at the broker, and pushes."""
    unwritten: list[str] = field(default_factory=list)
    """What was told, or answered, and is not in the ledger."""
    acknowledged: int = 0
    cuts: int = 0
    missing: int = 0
    """Stored readings that never arrived at the far end."""
    arrived: int = 0
    beyond: int = 0
    """Readings that arrived and were not yet stored when the kill came: sent out of memory."""
    kills_unknown: int = 0
    """Of the kills before the box knew the time."""
    stamps: Stamps | None = None
    """What was looked for on a box without a clock chip."""


class Killed:
    """The daemon's processes, one after the other, on one state directory."""

    def __init__(
        self, folder: Path, site: Path, console: int, devices: Devices, state: Path | None = None,
        box: BoxTime | None = None,
    ) -> None:  # fmt: skip
        """`box`: the box has no clock chip, and learns the time from there."""
        self.found = Counted()
        self.state = state or folder / "state"
        self.log = folder / "daemon.log"
        self._site = site
        self._console = console
        self._devices = devices
        self._box = box
        self._process: asyncio.subprocess.Process | None = None
        self._notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notes.bind(str(folder / "notify"))
        self._notes.setblocking(False)
        self._environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        self._seq = 0  # the newest row that was seen in the file
        self._rows: dict[int, Mark] = {}  # all up to there
        self._began: dict[int, int] = {}  # by device: counters handed out before the present run
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{console}", trust_env=False, timeout=5)
        self._acks: list[str] = []

    async def start(self, kill_after_s: float | None = None) -> bool:
        """Start the next one; returns whether it became ready, which it may not before `kill_after_s`."""
        self._began = {unit: len(times) for unit, times in self._devices.answered.items()}
        if self._box:
            self._box.begin(self._began)
        with suppress(BlockingIOError):
            while self._notes.recv(4096):
                pass
        began = time.monotonic()
        with self.log.open("ab") as log:
            arguments = ["-m", "edge", "run", "--config", str(self._site), "--state", str(self.state)]
            if self._box:
                arguments = ["-m", "tests.faults.box_without_time", str(self._site), str(self.state)]
                arguments.append(str(self._box.path))
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=log, stderr=log, env=self._environment
            )
        try:
            async with asyncio.timeout(kill_after_s or START_S):
                while b"READY=1" not in await asyncio.get_running_loop().sock_recv(self._notes, 4096):
                    pass
        except TimeoutError:
            assert kill_after_s is not None, f"not ready within {START_S:g} s: {self.log.read_text()[-2000:]}"
            return False
        self.found.starts_s.append(time.monotonic() - began)
        self.found.start_cpu_s.append(_cpu_s(self._process.pid))
        return True

    @property
    def pid(self) -> int:
        """Of the one that runs."""
        assert self._process is not None  # started
        return self._process.pid

    async def look(self) -> None:
        """Acknowledge what there is, as somebody on duty."""
        with suppress(httpx.HTTPError, ValueError):
            for alarm in (await self._client.get("/api/v1/alarms")).json():
                if alarm["state"] in ("unacknowledged", "returned"):
                    who = f"k{self.found.kills}"
                    answer = await self._client.post(f"/api/v1/alarms/{alarm['id']}/ack", json={"who": who})
                    if answer.is_success:
                        self._acks.append(f"{alarm['id']} {who}")
                        self.found.acknowledged += 1

    async def kill(self) -> None:
        """Now; then count."""
        assert self._process is not None  # started
        self._process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        await self._process.wait()
        self.found.kills += 1
        if self._box:
            self.found.kills_unknown += not self._box.known
            self._box.killed(self.state / LEDGER)
        self._count(killed)

    async def stop(self) -> None:
        """As systemd does."""
        assert self._process is not None  # started
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(START_S):
            await self._process.wait()
        self._count(time.monotonic())
        self.found.gaps_s.pop()

    async def ended(self) -> None:
        """Wait until the one that runs has ended, and count nothing."""
        assert self._process is not None  # started
        await self._process.wait()

    async def caught_up(self) -> bool:
        """Whether the uplink has nothing left to send."""
        with suppress(httpx.HTTPError, ValueError):
            rows = (await self._client.get("/api/v1/uplinks")).json()
            return all(row["backlog"] == 0 for row in rows)
        return False

    async def close(self) -> None:
        """End whatever runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        self._notes.close()
        await self._client.aclose()

    # Counting

    def _count(self, killed: float) -> None:
        """Look into the files as they are."""
        if not (self.state / READINGS).exists():
            return
        fresh = self._fresh()
        found = self.found
        for seq, mark in fresh.items():
            if mark in found.stored:
                found.doubled.append(f"{mark} again as row {seq}")
            found.stored.add(mark)
        self._look_for_holes(fresh)
        gap = max((killed - at for at in self._first_lost(fresh)), default=0.0)
        found.gaps_s.append(gap)
        self._check_ledger()

    def _fresh(self) -> dict[int, Mark]:
        """Rows that were not there when we looked last; those that were must be there still."""
        marks = _marks(self.state / READINGS)
        old = {seq: mark for seq, mark in marks.items() if seq <= self._seq}
        if old != self._rows:
            self.found.lost.append(f"{len(self._rows)} rows up to {self._seq} were there, now {len(old)}")
        self._rows = marks
        fresh = {seq: mark for seq, mark in marks.items() if seq > self._seq}
        self._seq = max(marks, default=0)
        return fresh

    def _look_for_holes(self, fresh: dict[int, Mark]) -> None:
        """Within one run the counters of a device follow each other."""
        by_unit: dict[int, list[int]] = {}
        for unit, counter in fresh.values():
            by_unit.setdefault(unit, []).append(counter)
        for unit, counters in by_unit.items():
            first, last = counters[0], counters[-1]
            if counters != list(range(first, last + 1)):
                self.found.lost.append(f"e{unit}: {first} to {last} has holes or is out of order")
            if first > self._began.get(unit, 0) + 1:
                self.found.lost.append(
                    f"e{unit}: begins with {first}, was handed out from {self._began.get(unit, 0) + 1}"
                )

    def _first_lost(self, fresh: dict[int, Mark]) -> list[float]:
        """By device: when the oldest reading of this run was handed out that is not stored."""
        last: dict[int, int] = {}
        for unit, counter in fresh.values():
            last[unit] = max(last.get(unit, 0), counter)
        times = []
        for unit, answered in self._devices.answered.items():
            stored = last.get(unit, self._began.get(unit, 0))
            if stored < len(answered):
                times.append(answered[stored])
        return times

    def _check_ledger(self) -> None:
        if not (self.state / LEDGER).exists():
            return
        with reading(self.state / LEDGER) as db:
            found = db.execute("SELECT subject, body FROM journal WHERE kind = 'alarm'").fetchall()
        journal = [(subject, json.loads(body)) for subject, body in found]
        acked = {f"{subject} {body['who']}" for subject, body in journal if body["event"] == "acknowledged"}
        self.found.unwritten += [f"acknowledgement {each}" for each in self._acks if each not in acked]

    def check_told(self, ears: Ears) -> None:
        """Everything that left the box about an alarm is in the ledger."""
        with reading(self.state / LEDGER) as db:
            bodies = [json.loads(body) for (body,) in db.execute("SELECT body FROM journal WHERE kind = 'alarm'")]
            incidents = db.execute("SELECT DISTINCT subject FROM journal WHERE kind = 'incident'").fetchall()
        known = {_told(_row_of(body["alarm"])) for body in bodies}
        raised = {body["alarm"]["id"] for body in bodies if body["event"] in ("raised", "re-raised")}
        raised |= {subject for (subject,) in incidents}
        self.found.told = len(ears.alarms)
        self.found.unwritten += [
            f"{alarm['id']} {alarm['state']}" for alarm in ears.alarms if _told(alarm) not in known
        ]
        pushes = self.state / "pushes.jsonl"
        for line in pushes.read_bytes().splitlines() if pushes.exists() else ():
            self.found.told += 1
            notices = json.loads(line)["notices"]
            self.found.unwritten += [f"push of {each}" for each in notices if each not in raised]


def _marks(path: Path) -> dict[int, Mark]:
    """Every reading of a counter in a log, by the number of its row."""
    try:
        file = ReadingsFile(path, read_only=True)
    except StoreError:  # killed before its tables were made
        return {}
    with closing(file):
        rows = file.groups.read_after(0, None, 2**31)
    found = {}
    for row in rows:
        if COUNTER in row.points:
            value = row.values[row.points.index(COUNTER)]
            if isinstance(value, int):  # nothing stands there while the device is silent
                found[row.seq] = (int(row.equipment[1:]), value)
    return found


def _row_of(alarm: dict[str, Any]) -> dict[str, Any]:
    """An alarm of the journal as it is shown outside: times to the ms."""
    return {**alarm, "raised": iso(alarm["raised_ns"] or 0), "cleared": iso(alarm["cleared_ns"] or 0)}


def _told(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["id"], row["state"], row["occurrence"], row["raised"], row["cleared"]


def _cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def kill_often(
    folder: Path,
    broker: int,
    times: int,
    seed: int,
    *,
    devices: int = 20,
    period_ms: int = 100,
    plan: Plan | None = None,
) -> Counted:
    """Kill a daemon so many times, let the last one catch up, stop it, and count.

    With a `plan` the box has no clock chip: it is asked after each kill what becomes of its time, unknown at first.
    """
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(Devices().serve())
        proxy = await stack.enter_async_context(Proxy(broker).serve())
        ears = await stack.enter_async_context(Ears().listen(broker))
        console = free_port()
        site = write_site(folder, devices, made.port, console, proxy.port, period_ms, chip=plan is None)
        box = BoxTime(folder / "time.json") if plan else None
        daemon = Killed(folder, site, console, made, box=box)
        stack.push_async_callback(daemon.close)
        async with doing(flap(proxy, chance), toggle(made, chance)):
            for number in range(times):
                early = chance.uniform(0.02, 0.9) if number % 8 == 7 else None
                if await daemon.start(early):
                    await asyncio.sleep(chance.uniform(0.05, 2.5))
                    await daemon.look()
                    await asyncio.sleep(chance.uniform(0, 0.5))
                else:
                    daemon.found.kills_at_start += 1
                await daemon.kill()
                if box and plan:
                    plan(number + 1, box)
        if box:
            box.learn()
        proxy.mend()
        await daemon.start()
        await asyncio.sleep(2)
        made.mute = True
        await within(60, daemon.caught_up)
        await daemon.stop()
        found = daemon.found
        found.cuts = proxy.cuts
        await within(20, lambda: _arrived(found, ears))
        daemon.check_told(ears)
        found.missing = _missing(found, ears)
        marks = {(unit, counter) for unit, counters in ears.readings.items() for counter in counters}
        found.arrived, found.beyond = len(marks), len(marks - found.stored)
        if box:
            found.stamps = stamps(daemon.state / READINGS, box, made.answered)
        with closing(sqlite3.connect(daemon.state / READINGS)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert max(Counter(found.stored).values(), default=1) == 1
    return found


async def _arrived(found: Counted, ears: Ears) -> bool:
    return not _missing(found, ears)


def _missing(found: Counted, ears: Ears) -> int:
    return sum(counter not in ears.readings[unit] for unit, counter in found.stored)
