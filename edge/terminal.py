"""What `courtyard demo` shows in the terminal: a calm live summary, pushes as they go out, figures at the end.

On a terminal one table that refreshes itself; elsewhere (a file, a pipe) plain lines, a summary now and then.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import time
from collections import Counter, deque
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text as Rich

from edge.house import House
from edge.texts import CLASSES

PUSHES_SHOWN = 8
REFRESH_S = 1.0
PLAIN_SUMMARY_S = 15.0
_STYLE = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
WORDS = {
    "zh": ("设备", "点位", "正常", "报警", "工单", "最近推送", "按 Ctrl-C 结束"),
    "en": ("equipment", "points", "good", "alarms", "orders", "latest pushes", "Ctrl-C ends it"),
}


class _Pushes(logging.Handler):
    """Takes what the `log` channel sends."""

    def __init__(self, take: Terminal) -> None:
        super().__init__(logging.INFO)
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        self._take.push(record.getMessage())


class Terminal:
    """The demo's face; a context manager around the run."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._console = Console(highlight=False)
        self._house: House | None = None
        self._url = ""
        self._pushes: deque[str] = deque(maxlen=PUSHES_SHOWN)
        self._count = 0
        self._began = time.monotonic()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._task: asyncio.Task[None] | None = None
        self._handler = _Pushes(self)

    def begin(self, house: House, url: str, endpoints: int) -> None:
        """The daemon runs: show it."""
        self._house, self._url = house, url
        info = house.site.info
        self._console.print(
            f"{info.name} ({info.id}): {endpoints} simulated endpoints; console {url}; state {self._state}",
            soft_wrap=True,
        )
        self._task = asyncio.get_running_loop().create_task(self._refresh(), name="terminal")

    def push(self, line: str) -> None:
        """A push has gone out."""
        self._count += 1
        self._pushes.append(line)
        if not self._console.is_terminal:
            self._console.print(line, soft_wrap=True, markup=False)

    def complain(self, line: str) -> None:
        """It cannot go on."""
        print(f"courtyard: {line}", file=sys.stderr)

    def __enter__(self) -> Terminal:
        pushes = logging.getLogger("courtyard.push")
        pushes.addHandler(self._handler)
        pushes.propagate = False
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._live.is_started:
            if self._house is not None:
                self._live.update(self._picture(self._house), refresh=True)
            self._live.stop()
        logging.getLogger("courtyard.push").removeHandler(self._handler)
        if self._house is not None and kind is None:
            self._console.print(self._figures(self._house), soft_wrap=True)

    async def _refresh(self) -> None:
        house = self._house
        if house is None:
            return
        while True:
            if self._live.is_started:
                self._live.update(self._picture(house), refresh=True)
                await asyncio.sleep(REFRESH_S)
            else:
                await asyncio.sleep(PLAIN_SUMMARY_S)
                self._console.print(self._summary(house), soft_wrap=True)

    def _picture(self, house: House) -> Group:
        language = house.site.info.language
        equipment, points, good, alarms, orders, pushes, end = WORDS[language]
        table = Table(box=None, pad_edge=False, header_style="dim")
        for head in ("", equipment, points, good, alarms, orders):
            table.add_column(head, justify="left" if not head else "right")
        for name, row in _by_class(house).items():
            quality = Rich(str(row["good"]), style="green" if row["good"] == row["points"] else "yellow")
            alarm = Rich(str(row["alarms"]), style="red" if row["alarms"] else "dim")
            title = CLASSES[name].get(language)
            table.add_row(title, str(row["equipment"]), str(row["points"]), quality, alarm, str(row["orders"]))
        lines = Group(
            *(Rich(line, style=_style_of(line), no_wrap=True, overflow="ellipsis") for line in self._pushes)
        )
        return Group(
            Rich(f"{self._summary(house)}   {self._url}   {end}", style="bold", no_wrap=True, overflow="ellipsis"),
            table,
            Rich(pushes, style="dim"),
            lines,
        )

    def _summary(self, house: House) -> str:
        health = house.desk.health()
        elapsed = time.monotonic() - self._began
        return (
            f"{elapsed:4.0f} s  {health['points_good']}/{health['points']} points good, "
            f"{health['readings'] / max(elapsed, 1):.0f} readings/s, "
            f"{health['recorded'] / max(elapsed, 1):.1f} recorded/s, "
            f"{health['alarms']} alarms, {self._count} pushes, {health['orders_open']} orders open"
        )

    def _figures(self, house: House) -> str:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        elapsed = time.monotonic() - self._began
        cpu = (usage.ru_utime + usage.ru_stime) / max(elapsed, 1)
        return f"{self._summary(house)}; CPU {cpu:.1%} of a core, memory {usage.ru_maxrss / 1024:.0f} MB at most"


def _style_of(line: str) -> str:
    marks = {"紧急": "critical", "重要": "high", "CRITICAL": "critical", "HIGH": "high"}
    return next((_STYLE[level] for mark, level in marks.items() if mark in line), "")


def _by_class(house: House) -> dict[str, Counter[str]]:
    """Counts for each equipment class."""
    rows: dict[str, Counter[str]] = {}
    classes = {each.id: each.equipment_class for each in house.site.equipment.values()}
    for each in house.site.equipment.values():
        row = rows.setdefault(each.equipment_class, Counter())
        row["equipment"] += 1
        for point in each.device.points:
            row["points"] += 1
            row["good"] += house.engine.live(point).quality.level == "good"
    for alarm in house.engine.alarms.alarms():
        if alarm.equipment in classes:
            rows[classes[alarm.equipment]]["alarms"] += 1
    for order in house.engine.upkeep.orders():
        if order.pending and order.equipment in classes:
            rows[classes[order.equipment]]["orders"] += 1
    return rows
