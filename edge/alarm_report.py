"""The report on alarms of a period, from the journal: what `courtyard alarms kpi` and the console show.

What comes in: the ledger, the alarms that stand, a span of time. What goes out: plain data, in both languages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from edge.alarms.engine import AlarmEngine
from edge.incidents.dossier import Trait
from edge.incidents.kpi import Report
from edge.store.ledger import Ledger
from edge.texts import iso

NOW_NS = 60 * 10**9
"""A span that ends at most so long ago ends now."""
PAGE = 500
"""Entries that are read at a time; others work in between."""


async def alarm_report(
    ledger: Ledger, alarms: AlarmEngine, traits: Mapping[str, Trait], from_ns: int, to_ns: int, now_ns: int
) -> dict[str, Any]:
    """The figures of a span; it begins where the journal does, if that is later. Raises StoreError."""
    oldest = await ledger.journal(limit=1)
    began_ns = min(oldest[0][1].time_ns if oldest else now_ns, to_ns)
    report = Report(max(from_ns, began_ns), min(to_ns, max(now_ns, began_ns)), traits)
    after = 0
    while True:
        rows = await ledger.journal(kind="alarm", after=after, limit=PAGE, from_ns=from_ns, to_ns=to_ns)
        for number, entry in rows:
            report.add(entry.time_ns, entry.body)
            after = number
        if len(rows) < PAGE:
            break
        await asyncio.sleep(0)
    incidents, pushes = await _told(ledger, from_ns, to_ns)
    ends_now = to_ns >= now_ns - NOW_NS
    standing = [(each.id, each.raised_ns or now_ns) for each in alarms.alarms() if each.active] if ends_now else []
    figures = report.figures(standing)
    peak, peak_ns = report.peak()
    return {
        "from": iso(report.from_ns),
        "to": iso(report.to_ns),
        "figures": [each.to_body() for each in figures],
        "peak": {"count": peak, "from": iso(peak_ns)},
        "floods": [{"from": iso(began), "to": iso(ended)} for began, ended in report.floods()],
        "top": report.top(),
        "chattering": report.chattering(),
        "fleeting": report.fleeting(),
        "stale": [name for name, since_ns in standing if now_ns - since_ns > 24 * 3600 * 10**9],
        "acknowledged": report.answers(),
        "incidents": incidents,
        "pushes": pushes,
    }


async def _told(ledger: Ledger, from_ns: int, to_ns: int) -> tuple[int, int]:
    """How many incidents were opened and how many pushes went out."""
    counts = []
    for kind, wanted in (("incident", {"event": "opened"}), ("push", {"ok": True})):
        count, after = 0, 0
        while rows := await ledger.journal(kind=kind, after=after, limit=PAGE, from_ns=from_ns, to_ns=to_ns):
            count += sum(wanted.items() <= {k: entry.body.get(k) for k in wanted}.items() for _, entry in rows)
            after = rows[-1][0]
            await asyncio.sleep(0)
        counts.append(count)
    return counts[0], counts[1]
