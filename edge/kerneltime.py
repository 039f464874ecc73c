"""What the kernel says about the time: whether something keeps it right, and which boot this is."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

_STA_UNSYNC = 0x0040
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>, as far as it is looked at; the kernel writes no more than 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def synchronised() -> bool:
    """Whether the kernel's clock is kept by NTP, PTP or GPS. False where this system does not tell.

    Asks only (`modes` 0), which needs no privilege.
    """
    ask = _adjtimex()
    if ask is None:
        return False
    timex = _Timex()
    return bool(ask(ctypes.byref(timex)) >= 0 and not timex.status & _STA_UNSYNC)


def boot_id() -> str:
    """The same until the box starts again; empty where this system does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@cache
def _adjtimex() -> ctypes._NamedFuncPointer | None:
    try:
        return ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):  # no libc of this name, or one without it
        return None
