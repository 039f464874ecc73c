"""Durations and sizes as people write them in site files and profiles."""

from __future__ import annotations

import re
from math import inf
from typing import Annotated, Any

from pydantic import BeforeValidator

LONGEST_S = 36_500 * 86_400.0
"""100 years: in ns, and before or after now, it still fits 64 bits."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d)")


def parse_seconds(value: Any) -> float:
    """`500ms`, `10s`, `5m`, `2h`, `1d`, `1h30m`, or a plain number of seconds.

    Raises ValueError with what is allowed.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if value <= LONGEST_S else inf
    elif isinstance(value, str) and _PART.sub("", value).strip() == "" and value.strip():
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    else:
        raise ValueError(f"{value!r} is no duration; write it like 500ms, 10s, 5m, 2h, 1d")
    if seconds < 0:
        raise ValueError(f"{value!r} is negative; a duration is 0 or more")
    if not seconds <= LONGEST_S:
        raise ValueError(f"{str(value)[:40]!r} is too long; a duration is at most {LONGEST_S / 86_400:g}d")
    return seconds


Seconds = Annotated[float, BeforeValidator(parse_seconds)]
"""A duration in seconds, written like `500ms`, `10s`, `5m`, `2h`, `1d`."""

_SIZES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_LARGEST = 10**18
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?b|b)", re.IGNORECASE)


def parse_bytes(value: Any) -> int:
    """`500MB`, `2GB`, `1.5 GiB`, or a plain number of bytes. Raises ValueError with what is allowed."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2].lower() not in _SIZES:
        raise ValueError(f"{value!r} is no size; write it like 500MB, 2GB, 1GiB")
    size = float(match[1]) * _SIZES[match[2].lower()]
    if size > _LARGEST:
        raise ValueError(f"{value[:40]!r} is too much; no disk is larger than {_LARGEST // 10**12} TB")
    return round(size)


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
"""A size in bytes, written like `500MB`, `2GB`, `1GiB`."""
