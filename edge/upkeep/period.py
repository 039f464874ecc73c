"""Calendar periods of upkeep: ISO 8601 durations in days or longer, e.g. P15D, P2W, P1M, P1Y6M."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from dateutil.relativedelta import relativedelta

from drivers.point import Text

_ISO = re.compile(r"P(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?\Z")
LONGEST_YEARS = 100


@dataclass(frozen=True, slots=True)
class Period:
    """A number of months and a number of days."""

    months: int
    days: int

    def after(self, start: dt.date, times: int = 1) -> dt.date:
        """The day that is `times` periods after `start`.

        Counted from `start` in one step, so that the 31st of January is followed by the end of February and then
        by the 31st of March: a month with fewer days moves nothing that comes after it.
        """
        return start + relativedelta(months=self.months * times, days=self.days * times)

    @property
    def about_days(self) -> float:
        """Its length, with months of the average length."""
        return self.months * 30.436875 + self.days

    @property
    def text(self) -> Text:
        """As people say it."""
        zh, en = [], []
        for number, unit_zh, unit_en in (
            (self.months // 12, "年", "year"), (self.months % 12, "个月", "month"), (self.days, "天", "day"),
        ):  # fmt: skip
            if number:
                zh.append(f"{number}{unit_zh}")
                en.append(f"{number} {unit_en}{'s' if number > 1 else ''}")
        return Text("".join(zh), " ".join(en))


def parse_period(text: object) -> Period:
    """A period as people write it; ValueError says how."""
    match = _ISO.match(text) if isinstance(text, str) else None
    years, months, weeks, days = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    period = Period(years * 12 + months, weeks * 7 + days)
    if not period.about_days:
        raise ValueError(f"{text!r} is no period; write it like P15D, P2W, P1M, P1Y")
    if period.about_days > LONGEST_YEARS * 366:
        raise ValueError(f"{text!r} is longer than {LONGEST_YEARS} years")
    return period
