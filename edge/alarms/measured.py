"""A number that a rule makes of points, as staff read it: an outlet 0.28 MPa below its setpoint is no pressure of it.

What comes in: the measure, its number, and what its first point reads. What goes out: one line in both languages.
"""

from __future__ import annotations

from drivers.point import Language, Point, Text, Value
from edge.alarms.measure import Change, Count, Difference, Measure
from edge.texts import label, shown, span


def measured(what: Measure, number: float, own: Value, *, at_least: bool = False) -> Text:
    """The number with what it is made of. `own`: what the first point reads; None where that is not known.

    `at_least`: it may be more, since not all of its past is known.
    """
    return Text(_line(what, number, own, "zh", at_least), _line(what, number, own, "en", at_least))


def _line(what: Measure, number: float, own: Value, language: Language, at_least: bool) -> str:
    zh = language == "zh"
    if isinstance(what, Count):
        return _count(what, number, language, at_least)
    if isinstance(what, Change | Difference):
        tail = _change(what, number, language) if isinstance(what, Change) else _difference(what, number, language)
        name = what.point.title.get(language)
        if own is None:
            return f"{name}{'' if zh else ' '}{tail}"
        return f"{name}{'：' if zh else ': '}{shown(what.point, own, language)}{'，' if zh else ', '}{tail}"
    names = ("、" if zh else ", ").join(point.title.get(language) for point in what.points)
    return f"{names} 不平衡 {number:.4g} %" if zh else f"Unbalance of {names}: {number:.4g} %"


def _count(what: Count, number: float, language: Language, at_least: bool) -> str:
    zh, name = language == "zh", what.point.title.get(language)
    least = ("至少" if zh else "at least ") if at_least else ""
    if what.over_s is None:
        over = "今天" if zh else "today"
    else:
        over = f"{span(what.over_s, 'zh')}内" if zh else f"in {span(what.over_s, 'en')}"
    if not what.into:
        return f"{name} {over}{least}增加 {number:g}" if zh else f"{name}: {least}{number:g} more {over}"
    values = ("或" if zh else " or ").join(_value(what.point, value, language) for value in what.into)
    if zh:
        return f"{name} {over}{least} {number:g} 次变为“{values}”"
    return f"{name} became {values} {least}{number:g} times {over}"


def _change(what: Change, number: float, language: Language) -> str:
    amount = _amount(what.point, number)
    per = span(what.over_s * what.factor, language) if what.factor != 1 else ""
    if language == "zh":
        way = "上升" if what.rise else "下降"
        return f"每{per}{way} {amount}" if per else f"{span(what.over_s, 'zh')}内{way} {amount}"
    way = "up" if what.rise else "down"
    return f"{way} by {amount} per {per}" if per else f"{way} by {amount} in {span(what.over_s, 'en')}"


def _difference(what: Difference, number: float, language: Language) -> str:
    zh = language == "zh"
    other = what.other.title.get(language) if isinstance(what.other, Point) else _amount(what.point, what.other)
    amount = f"{abs(number):.4g} %" if what.percent else _amount(what.point, number)
    if what.either_way:
        return f"与{other}相差 {amount}" if zh else f"{amount} off {other}"
    if zh:
        return f"比{other}{'低' if number < 0 else '高'} {amount}"
    return f"{amount} {'below' if number < 0 else 'above'} {other}"


def _amount(point: Point, number: float) -> str:
    return f"{abs(number):.4g} {point.unit}".strip()


def _value(point: Point, value: Value, language: Language) -> str:
    name = label(point, value)
    return name.get(language) if name else str(value)
