"""One thing that was looked at, and how it is."""

from __future__ import annotations

from typing import Literal, NamedTuple

from drivers.point import Text

Verdict = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One line of the doctor's."""

    what: str
    """`clock`, `disk`, `port` ..."""
    verdict: Verdict
    found: Text
    todo: Text | None = None
    """What to do about it, where it is not well."""


def well(what: str, zh: str, en: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", Text(zh, en))


def doubtful(what: str, found: tuple[str, str], todo: tuple[str, str]) -> Finding:
    """It works, and should be looked after. Texts in zh and en."""
    return Finding(what, "warn", Text(*found), Text(*todo))


def wrong(what: str, found: tuple[str, str], todo: tuple[str, str]) -> Finding:
    """It does not work. Texts in zh and en."""
    return Finding(what, "fail", Text(*found), Text(*todo))
