"""Times and spans of time as people write them in a query."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_NUMBER = re.compile(r"\d{1,19}(\.\d+)?\Z", re.ASCII)
_FRACTION = re.compile(r"[.,](\d{1,9})\d*")
_LOST_PLUS = re.compile(r"(?<=\d) (?=\d\d:?\d\d\Z)")
"""`+08:00` in a query string that nobody quoted arrives with a blank for the plus."""
_SCALES = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3))
"""A Unix time below the limit is in s, ms, µs: what divides the years 1973 to 5138 by a factor of 1,000."""


def parse_time_ns(text: str, zone: str) -> int:
    """Unix time in ns of an ISO 8601 time (without an offset: in `zone`) or of a Unix time in s, ms, µs or ns.

    Raises ValueError with what is allowed.
    """
    text = text.strip()
    if _NUMBER.match(text):
        return _unix_ns(text)
    wrong = f"{text[:60]!r} is no time; write 2026-03-02T18:31:05+08:00, 2026-03-02, or Unix seconds"
    fraction = _FRACTION.search(text)
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub("+", _FRACTION.sub("", text, count=1)))
    except ValueError:
        raise ValueError(wrong) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    try:
        whole_s = int((moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    except OverflowError:  # a day that only begins or ends in the years that there are
        raise ValueError(wrong) from None
    return whole_s * 10**9 + (int(fraction[1].ljust(9, "0")) if fraction else 0)


def parse_month(text: str, zone: str) -> tuple[int, int]:
    """Begin and end of a month like `2026-11` in Unix ns, in `zone`; ValueError says how to write it."""
    try:
        begin = datetime.strptime(text.strip(), "%Y-%m").replace(tzinfo=ZoneInfo(zone))
        end = (begin + timedelta(days=32)).replace(day=1)
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:20]!r} is no month; write it like 2026-11") from None
    return round(begin.timestamp()) * 10**9, round(end.timestamp()) * 10**9


def _unix_ns(text: str) -> int:
    whole, _, fraction = text.partition(".")
    scale = next((factor for limit, factor in _SCALES if int(whole) < limit), 1)
    return int(whole) * scale + round(float(f"0.{fraction or 0}") * scale)
