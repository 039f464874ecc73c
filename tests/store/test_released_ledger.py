"""What an earlier Courtyard kept in the ledger goes on: alarms, orders, incidents, escalations, overrides, eras.

`released/ledger-2.sql` was written with bodies that the classes of that time made of what `kept` says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from drivers.point import Text
from edge.acquisition.commands import Override
from edge.alarms.alarm import Alarm, Priority
from edge.alarms.machine import State
from edge.clock import ManualClock
from edge.eras import Era
from edge.incidents.incident import Incident
from edge.incidents.incident import Line as IncidentLine
from edge.response.case import Case
from edge.response.ladder import Climb
from edge.response.notice import Notice
from edge.store.ledger import open_ledger
from edge.upkeep.orders import Line, Order, OrderState

RELEASED = Path(__file__).parent / "released" / "ledger-2.sql"
T = 1_772_445_600_000_000_000
S = 10**9
CLOCK = ManualClock(T + 600 * S, 2_000.0)
DRY = Text("缺水；'保护'", "Dry; 'protected'")
PLACE = Text("泵房", "Pump room")

Place = tuple[str, str]
"""Kind and key."""


def kept() -> Mapping[Place, Any]:
    """One of each, with everything said that can be."""
    alarm = Alarm(
        "pump-2.dry", "pump-2", "dry", "PMP-03", Priority.HIGH, State.UNACKNOWLEDGED, DRY, PLACE, PLACE, None,
        1800.0, shelvable=True, active=True, occurrence=3, seq=17, raised_ns=T, cleared_ns=T - S, acked_ns=T - 2 * S,
        acked_by="li", point="pump-2.level", value=0.3, shelved_until_ns=T + S, cls="service",
    )  # fmt: skip
    order = Order(
        "WO-000002", "pump-2", "bearings", DRY, PLACE, "medium", DRY, T, T + 86_400 * S, OrderState.STARTED,
        2000.5, 1999.75, None, (Line("opened", T, "", ""), Line("accepted", T + S, "王", "on my way; 5 min")),
    )  # fmt: skip
    incident = Incident(
        "INC-20260302-001", DRY, "pump-2", "pump-2.dry", "pump-2.dry", "high", "acknowledged", T, T + S, 1, 0,
        False, ["pump-2.dry"],
        [IncidentLine(T, "opened", "pump-2.dry"), IncidentLine(T + S, "push failed", "", "li", "desk: timed out")],
        2, T, "high", T + S, "li", T + 2 * S, "王", None, None, None, "INC-20260302-000", None,
    )  # fmt: skip
    notice = Notice("pump-2.dry", "alarm", "high", DRY, PLACE, "2# pump", "B1", T, resolved=False, respond_s=1800)
    climb = Climb((), 1_700.0, taken=0, round=2, stopped=True)
    case = Case(notice, 1_500.0, climb, {(1, "li", "desk")}, {"王": None}, {0}, None)
    override = Override("pump-2.speed", 42.5, None, T + 900 * S, 1200.0, "li", "flushing; 'B1'", 2_300.0)
    return {
        ("alarm", alarm.id): alarm,
        ("order", order.id): order,
        ("incident", incident.id): incident,
        ("ladder", notice.id): case,
        ("override", override.point): override,
        ("era", "4711"): Era(4711, "boot-1", 5 * S, 12.5, True),
    }


def body(of: Any) -> dict[str, Any]:
    """As the ledger keeps it."""
    if isinstance(of, Era):
        return asdict(of)
    found: dict[str, Any] = of.to_body(CLOCK) if isinstance(of, Case) else of.to_body()
    return found


READ: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "alarm": Alarm.from_body,
    "order": Order.from_body,
    "incident": Incident.from_body,
    "ladder": lambda body: Case.from_body(body, (), CLOCK),
    "override": lambda body: Override.from_body(body, CLOCK.mono_s(), CLOCK.wall_ns()),
    "era": Era.of,
}


@pytest.mark.parametrize("place", kept())
async def test_what_was_kept_is_taken_up_as_it_was(tmp_path: Path, place: Place) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(RELEASED.read_text())
    kind, key = place
    async with open_ledger(path) as book:
        found = READ[kind]((await book.load(kind))[key])
        assert book.trouble is None
    assert body(found) == body(kept()[place])
