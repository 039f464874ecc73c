"""Incidents of the fake desk, made of its alarms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def incident(number: int, rows: Sequence[Row], **more: Any) -> Row:
    """One incident row of some alarms, the first of which leads."""
    lead = rows[0]
    wanting = [row for row in rows if row["state"] in ("unacknowledged", "returned", "latched_unacknowledged")]
    return {
        "id": f"INC-{number:06d}", "title": lead["name"], "root": lead["equipment"],
        "root_name": lead["equipment_name"], "location": lead["location"], "lead": lead["id"],
        "first_out": lead["id"], "priority": lead["priority"], "state": "open" if wanting else "acknowledged",
        "opened": lead["raised"], "changed": lead["raised"], "closed": None,
        "active": sum(row["active"] for row in rows), "unacknowledged": len(wanting),
        "alarms": [row["id"] for row in rows], "alarm_count": len(rows), "affected": [], "affected_count": 0,
        "rescue": False, "acknowledged": lead["acknowledged"], "acked_by": lead["acked_by"],
        "onsite": None, "onsite_by": None, "released": None, "released_by": None,
        "caused_by": None, "merged_into": None, **more,
    }  # fmt: skip


def timeline(row: Row, alarms: Sequence[Row]) -> list[Row]:
    """Detected, pushed, and what people did."""
    lines = [_line(each["raised"], "raised", each["id"], "", "检测到报警", "Alarm detected", each) for each in alarms]
    lines.append(_line(row["opened"], "pushed", row["lead"], "desk", "已推送", "Pushed", alarms[0]))
    for event, zh, en in (("onsite", "人员到场", "On site"), ("released", "人员已解救", "Released")):
        if row[event]:
            lines.append(_line(row[event], event, "", row[f"{event}_by"], zh, en, None))
    return lines


def _line(time: str, event: str, alarm: str, who: str, zh: str, en: str, row: Row | None) -> Row:
    name = row["name"] if row else {"zh": "", "en": ""}
    text = {"zh": f"{zh} {name['zh']} {who}".strip(), "en": f"{en} {name['en']} {who}".strip()}
    return {"time": time, "event": event, "alarm": alarm, "who": who, "note": "", "text": text}
