"""A state directory on a disk that fills up, or that fails every write: everything else goes on.

The disk is a real one of a few megabytes in memory, which takes the right to mount it. That it fails every write is
brought about by a limit on the size of all files that the daemon writes.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.faults.killed_site import COUNTER, Devices, Ears, write_site
from tests.faults.killing import Killed
from tests.support import free_port

SIZE = 3 << 20


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of `SIZE` bytes."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Watch:
    """What goes on while the disk takes nothing."""

    def __init__(self, console: int, ears: Ears, pushes: Path) -> None:
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{console}", trust_env=False, timeout=5)
        self._ears, self._pushes = ears, pushes

    async def get(self, path: str) -> Any:
        """An answer of the daemon."""
        return (await self._client.get(path)).json()

    async def well(self) -> bool:
        """Whether the daemon says that all is well."""
        with suppress(httpx.HTTPError):
            return bool((await self.get("/healthz"))["status"] == "ok")
        return False

    async def counter(self) -> int:
        """What the first device has counted, as the daemon has it now."""
        return int((await self.get(f"/api/v1/points/e1.{COUNTER}"))["value"] or 0)

    def pushed(self) -> int:
        """How many pushes went out."""
        return len(self._pushes.read_bytes().splitlines()) if self._pushes.exists() else 0

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()


async def until(predicate: Any, within_s: float = 30.0) -> None:
    """Wait for it to become true, or fail."""
    deadline = time.monotonic() + within_s
    while True:
        found = predicate()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, f"{predicate} is still not true"
        await asyncio.sleep(0.1)


async def goes_on(watch: Watch, ears: Ears, devices: Devices, *, pushing: bool) -> None:
    """Polling, sending and alarming go on, and where an alarm is new, pushing."""
    counter, heard, told, pushed = await watch.counter(), ears.messages, len(ears.alarms), watch.pushed()
    devices.switch = not devices.switch
    await until(lambda: len(ears.alarms) > told)
    await until(lambda: ears.messages > heard + 20)
    assert await watch.counter() > counter
    if pushing:
        await until(lambda: watch.pushed() > pushed)


async def not_well(watch: Watch) -> bool:
    return not await watch.well()


class Trouble:
    """What is wrong with the disk, and how it is mended."""

    def __init__(self, how: str, disk: Path, pid: int) -> None:
        self._how, self._disk, self._pid = how, disk, pid

    def begin(self) -> None:
        """From here on nothing more can be written."""
        if self._how == "failing":
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        if self._how == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", str(self._disk)], check=True)
            return
        with suppress(OSError), (self._disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def end(self) -> None:
        """All is well again."""
        if self._how == "failing":
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        elif self._how == "read-only":
            subprocess.run(["mount", "-o", "remount,rw", str(self._disk)], check=True)
        else:
            (self._disk / "filler").unlink()


class Box(NamedTuple):
    """A daemon that is well, with its state on a small disk of its own."""

    disk: Path
    devices: Devices
    ears: Ears
    daemon: Killed
    watch: Watch


@asynccontextmanager
async def standing(folder: Path, broker: int) -> AsyncIterator[Box]:
    """The daemon with its devices, the broker's subscriber and whoever watches it."""
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk"))
        devices = await stack.enter_async_context(Devices().serve())
        ears = await stack.enter_async_context(Ears().listen(broker))
        console, pushes = free_port(), folder / "pushes.jsonl"
        site = write_site(folder, 6, devices.port, console, broker, 100, str(pushes))
        daemon = Killed(folder, site, console, devices, state=disk / "state")
        stack.push_async_callback(daemon.close)
        watch = Watch(console, ears, pushes)
        stack.push_async_callback(watch.close)
        await daemon.start()
        await until(watch.well)
        yield Box(disk, devices, ears, daemon, watch)


@pytest.mark.service
@pytest.mark.timeout(150)
@pytest.mark.parametrize("how", ["full", "failing"])
async def test_a_disk_that_takes_nothing_leaves_polling_alarming_and_pushing_alive(
    tmp_path: Path, mosquitto: tuple[str, int], how: str
) -> None:
    async with standing(tmp_path, mosquitto[1]) as (disk, devices, ears, daemon, watch):
        await until(lambda: ears.messages > 100)
        trouble = Trouble(how, disk, daemon.pid)
        trouble.begin()
        await until(lambda: not_well(watch), 40)
        assert any("readings store" in reason for reason in (await watch.get("/healthz"))["reasons"])
        # Pushes go into a file: on another disk, but not beyond the limit.
        for new in (True, False, False):
            await goes_on(watch, ears, devices, pushing=new and how == "full")
        trouble.end()
        await until(watch.well, 60)
        await goes_on(watch, ears, devices, pushing=False)
        await daemon.stop()
        assert daemon.found.lost == [], "what waited in memory is written: no hole"
        assert daemon.found.doubled == []
        assert len(daemon.found.stored) > 100
        daemon.check_told(ears)
        assert daemon.found.unwritten == [], "what was told meanwhile is in the ledger now"


@pytest.mark.service
@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("end", "how"), [(signal.SIGKILL, "full"), (signal.SIGTERM, "full"), (signal.SIGKILL, "read-only")]
)
async def test_a_daemon_that_is_started_on_a_disk_that_takes_nothing_polls_alarms_and_pushes(
    tmp_path: Path, mosquitto: tuple[str, int], end: signal.Signals, how: str
) -> None:
    async with standing(tmp_path, mosquitto[1]) as (disk, devices, ears, daemon, watch):
        trouble = Trouble(how, disk, daemon.pid)
        if how == "full":
            trouble.begin()
            await until(lambda: not_well(watch), 40)
        os.kill(daemon.pid, end)
        await daemon.ended()
        trouble.begin()  # what the end has given free is taken by others
        await daemon.start()
        for _ in range(2):
            counter, pushed = await watch.counter(), watch.pushed()
            devices.switch = not devices.switch
            await until(lambda pushed=pushed: watch.pushed() > pushed)
            assert await watch.counter() > counter
        assert not await watch.well()
        trouble.end()
        await until(watch.well, 60)
        await goes_on(watch, ears, devices, pushing=True)
        journal = await watch.get("/api/v1/journal?kind=alarm&limit=1000")
        assert len(journal) >= watch.pushed() > 3, "what was pushed meanwhile is in the ledger now"
