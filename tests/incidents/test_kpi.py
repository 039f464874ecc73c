"""Figures of the alarms of a period, each beside what is recommended."""

from __future__ import annotations

from typing import Any

from edge.incidents.dossier import Trait
from edge.incidents.kpi import Report

START_NS = 1_770_000_000_000_000_000
HOUR_S = 3600.0


def at(seconds: float) -> int:
    return START_NS + round(seconds * 1e9)


class Journal:
    """Entries as the ledger has them; times are seconds from the start of the report."""

    def __init__(self, hours: float, **traits: Trait) -> None:
        self.report = Report(START_NS, at(hours * HOUR_S), traits)
        self.raised_s: dict[str, float] = {}

    def add(self, seconds: float, name: str, event: str, priority: str = "low") -> None:
        if event == "raised":
            self.raised_s[name] = seconds
        row = {
            "id": name, "priority": priority, "name": {"zh": name, "en": name}, "respond_s": 300.0,
            "raised_ns": at(self.raised_s.get(name, seconds)), "value": None,
        }  # fmt: skip
        self.report.add(at(seconds), {"event": event, "alarm": row})

    def figures(self, standing: list[tuple[str, int]] | None = None) -> dict[str, Any]:
        return {each.key: each.value for each in self.report.figures(standing or [])}

    def well(self, key: str) -> bool | None:
        return next(each.ok for each in self.report.figures() if each.key == key)


def test_an_empty_period_has_figures_without_division_by_nothing() -> None:
    journal = Journal(24)
    figures = journal.figures()
    assert figures["alarms"] == 0
    assert figures["top_ten"] is None
    assert figures["in_flood"] == 0
    assert journal.well("chattering") is True


def test_rates_and_the_share_of_each_priority() -> None:
    journal = Journal(24)
    for n in range(96):
        journal.add(n * 900, f"a{n % 20}", "raised", "low" if n % 4 else "high")
    figures = journal.figures()
    assert figures["alarms"] == 96
    assert figures["per_hour"] == 4
    assert figures["per_10_min"] == 0.67
    assert figures["urgent_per_day"] == 24
    assert (figures["share_high"], figures["share_low"]) == (25, 75)
    assert (journal.well("per_10_min"), journal.well("urgent_per_day"), journal.well("share_high")) == (
        True, False, False,
    )  # fmt: skip
    assert figures["top_ten"] == 52.08


def test_a_flood_begins_with_more_than_ten_and_ends_below_five_in_ten_minutes() -> None:
    journal = Journal(24)
    for n in range(11):
        journal.add(1000 + n * 10, f"a{n}", "raised")
    for n in range(4):  # keeps it going: 5 within ten minutes
        journal.add(1650 + n * 20, f"b{n}", "raised")
    assert journal.report.floods() == [(at(1100), at(1670))]
    assert journal.report.peak() == (11, at(1000))
    assert journal.figures()["in_flood"] == round(100 * 570 / 86_400, 2)
    journal.add(1691, "c", "raised")
    assert len(journal.report.floods()) == 1


def test_chattering_and_fleeting_come_with_what_would_have_calmed_them() -> None:
    journal = Journal(1, **{"pump.low": Trait(on_delay_s=5)})
    for n in range(4):
        journal.add(100 + n * 15, "pump.low", "raised")
        journal.add(104 + n * 15, "pump.low", "cleared")
    (chatter,) = journal.report.chattering()
    assert chatter["suggestion"]["off_delay_s"] == 15  # pauses of 11 s
    (fleeting,) = journal.report.fleeting()
    assert (fleeting["fleeting"], fleeting["suggestion"]["on_delay_s"]) == (4, 10)  # 5 s delay and 4 s stood
    assert "on_delay: 10s" in fleeting["suggestion"]["text"]["zh"]


def test_stale_is_what_has_stood_for_over_a_day() -> None:
    journal = Journal(72)
    journal.add(0, "old", "raised")
    journal.add(0, "short", "raised")
    journal.add(50_000, "short", "cleared")
    journal.add(40 * HOUR_S, "old", "cleared")
    assert journal.figures()["stale"] == 1
    assert journal.figures([("standing", at(-HOUR_S)), ("new", at(71 * HOUR_S))])["stale"] == 2


def test_time_to_acknowledge() -> None:
    journal = Journal(1)
    for n, took in enumerate((10, 60, 400)):
        journal.add(n * 500, f"a{n}", "raised", "high")
        journal.add(n * 500 + took, f"a{n}", "acknowledged", "high")
    figures = journal.figures()
    assert figures["to_acknowledge"] == 60
    assert figures["in_time"] == 66.67
    assert journal.report.answers()["high"] == {"count": 3, "median_s": 60, "p90_s": 400}


def test_a_clock_that_was_set_back_spoils_no_figure() -> None:
    journal = Journal(24)
    for seconds in (7200, 7201, 3600, 3601):
        journal.add(seconds, "a", "raised")
    assert journal.report.peak()[0] == 2
    assert journal.figures()["alarms"] == 4
