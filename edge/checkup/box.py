"""The box itself: programs, clock, memory, temperature. Only looks."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from edge import __version__
from edge.checkup.finding import Finding, doubtful, well, wrong
from edge.kerneltime import synchronised

PYTHON, SQLITE = (3, 11), (3, 37, 0)
"""The oldest that Courtyard runs on."""
BUILT = 1_767_225_600
"""Start of 2026: no box is older than its program."""
LITTLE_KB, TOO_LITTLE_KB = 150 << 10, 50 << 10
"""Of memory that is free: what the daemon may need; what no program starts in."""
WARM_C, HOT_C = 75, 85
"""Where the processor of a small board slows down, and where it stops."""


def look_at_box(
    proc: Path = Path("/proc"), sys_: Path = Path("/sys"), now_s: float | None = None, *, kept: bool | None = None
) -> Iterator[Finding]:
    """Everything. The arguments stand for the box in tests: its /proc and /sys, its time and whether that is kept."""
    yield _programs()
    yield _clock(time.time() if now_s is None else now_s, synchronised() if kept is None else kept)
    yield _memory(proc)
    yield _temperature(sys_)


def _programs() -> Finding:
    versions = f"Courtyard {__version__}, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    if sys.version_info < PYTHON or sqlite3.sqlite_version_info < SQLITE:
        needed = f"Python {'.'.join(map(str, PYTHON))}, SQLite {'.'.join(map(str, SQLITE))}"
        return wrong("versions", (versions, versions), (f"至少需要 {needed}", f"at least {needed} are needed"))
    return well("versions", versions, versions)


def _clock(now_s: float, kept: bool) -> Finding:
    shown = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    todo = (
        "启用对时：sudo timedatectl set-ntp true，并检查到时间服务器的网络",
        "switch time keeping on: sudo timedatectl set-ntp true, and look whether a time server can be reached",
    )
    if now_s < BUILT:
        return wrong("clock", (f"时钟为 {shown}，不可能", f"it says {shown}, which cannot be"), todo)
    if not kept:
        return doubtful("clock", (f"{shown}，未与时间源同步", f"{shown}, kept by nothing"), todo)
    return well("clock", f"{shown}，已同步", f"{shown}, synchronised")


def _memory(proc: Path) -> Finding:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        free_kb = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return well("memory", "本系统不提供", "this system does not tell")
    found = (f"可用 {free_kb >> 10} MB", f"{free_kb >> 10} MB are free")
    todo = (
        "看看是什么占用了内存：ps aux --sort=-rss | head",
        "look at what takes it: ps aux --sort=-rss | head",
    )
    if free_kb < TOO_LITTLE_KB:
        return wrong("memory", found, todo)
    return doubtful("memory", found, todo) if free_kb < LITTLE_KB else well("memory", *found)


def _temperature(sys_: Path) -> Finding:
    degrees = []
    for zone in sorted((sys_ / "class" / "thermal").glob("thermal_zone*/temp")):
        try:
            degrees.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    if not degrees:
        return well("temperature", "没有温度传感器", "there is no sensor")
    found = (f"最高 {max(degrees):.0f} °C", f"{max(degrees):.0f} °C at the most")
    todo = ("改善通风，或把网关移离热源", "give it air, or take it away from what heats it")
    if max(degrees) >= HOT_C:
        return wrong("temperature", found, todo)
    return doubtful("temperature", found, todo) if max(degrees) >= WARM_C else well("temperature", *found)
