"""The catalogue of all alarms that profiles carry: one table in both languages, as Markdown.

What comes in: the rules of every profile and of the gateway. What goes out: text. Its order is that of the codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from drivers.point import Text
from edge.alarms.rule import Rule
from edge.alarms.wording import span, worded

_PRIORITY = {"critical": "紧急 critical", "high": "高 high", "medium": "中 medium", "low": "低 low"}
_HEAD = """# Alarm catalogue

Every alarm that the profiles of the library and the gateway itself carry, written by `courtyard profile catalogue`.
A site changes any of it, or switches it off, under `alarms:` of an equipment; limits here are starting values.

| code | 报警 / alarm | profile | condition | delay on / off | priority | respond | 原因 / cause \
| 后果 / consequence | 处置 / advice |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """One rule of one profile."""

    profile: str
    rule: Rule
    on: bool = True
    """Whether it is switched on where the site says nothing."""


def catalogue(rules: Iterable[Listed]) -> str:
    """The whole document."""
    ordered = sorted(rules, key=lambda each: (*_code(each.rule.code), each.profile, each.rule.name))
    return _HEAD + "".join(_row(each) for each in ordered)


def _code(code: str) -> tuple[str, int]:
    match = re.match(r"(.*?)-?(\d+)\Z", code)
    return (match[1], int(match[2])) if match else (code, 0)


def _row(each: Listed) -> str:
    rule = each.rule
    delays = f"{span(rule.on_delay_s)} / {span(rule.off_delay_s)}"
    marks = [mark for mark, so in (("latching", rule.latching), ("off by default", not each.on)) if so]
    cells = [
        rule.code,
        f"{_both(rule.title)} `{rule.name}`",
        each.profile,
        _condition(rule),
        ", ".join([delays, *marks]),
        _PRIORITY[rule.priority.value],
        span(rule.respond_s),
        _both(rule.cause),
        _both(rule.consequence),
        _both(rule.advice),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _condition(rule: Rule) -> str:
    text = worded(rule.condition, rule.equipment)
    return text if rule.gate is None else f"{text}; suppressed while {worded(rule.gate, rule.equipment)}"


def _both(text: Text | None) -> str:
    return "" if text is None else f"{text.zh}<br>{text.en}"
