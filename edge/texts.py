"""How values, times and happenings read for staff, in Chinese and English."""

from __future__ import annotations

from datetime import UTC, datetime

from drivers.point import Language, Point, Text, Value

CLASSES: dict[str, Text] = {
    "elevator": Text("电梯", "elevators"),
    "pump": Text("水泵", "pumps"),
    "bin": Text("垃圾桶", "bins"),
    "light": Text("照明", "lights"),
    "perimeter": Text("周界", "perimeter"),
    "meter": Text("仪表", "meters"),
    "environment": Text("环境", "environment"),
    "fire": Text("消防", "fire"),
    "power": Text("供电", "power"),
}
"""Equipment classes as staff call them."""

YES_NO = {True: Text("是", "yes"), False: Text("否", "no")}


def iso(time_ns: int) -> str | None:
    """Unix time in ns as ISO 8601 in UTC with milliseconds; None for 0, which means never."""
    if not time_ns:
        return None
    moment = datetime.fromtimestamp(time_ns / 1e9, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def label(point: Point, value: Value) -> Text | None:
    """The name of a value of an enumeration or of a yes-or-no signal; None where the value speaks for itself."""
    if value is None:
        return None
    if point.labels is not None and isinstance(value, int):
        return point.labels.get(int(value))
    return YES_NO[value] if isinstance(value, bool) else None


def shown(point: Point, value: Value, language: Language) -> str:
    """A value as staff read it, with its unit."""
    if value is None:
        return "—"
    name = label(point, value)
    if name is not None:
        return name.get(language)
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{text} {point.unit}" if point.unit else text


def seen(point: Point | None, value: Value, measured: Text | None) -> Text | None:
    """What an alarm saw when it was raised, in one line; None where there is nothing to show."""
    if measured is not None or point is None or value is None:
        return measured
    return Text(f"{point.title.zh}：{shown(point, value, 'zh')}", f"{point.title.en}: {shown(point, value, 'en')}")


def span(seconds: float, language: Language) -> str:
    """A duration as people say it, in at most two units."""
    whole = max(round(seconds), 0)
    units = ("天", "小时", "分钟", "秒") if language == "zh" else (" d", " h", " min", " s")
    parts: list[tuple[int, str]] = []
    for size, unit in zip((86_400, 3_600, 60, 1), units, strict=True):
        amount, whole = divmod(whole, size)
        if amount or (parts and len(parts) < 2):
            parts.append((amount, unit))
    between = "" if language == "zh" else " "
    return between.join(f"{amount}{unit}" for amount, unit in parts[:2] if amount) or f"0{units[-1]}"
