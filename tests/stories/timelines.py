"""The timeline of every scenario of the demo: which alarm comes when, in which incident, and of what people are told.

Written into docs/scenarios.md by `python -m tests.stories.timelines`; a test sees that the page is of today. Seed 1,
without wires, and nobody answers: what waits for people stays open.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.alarms.alarm import Transition
from edge.incident_desk import trait_of
from edge.incidents.engine import IncidentEngine
from edge.incidents.incident import IncidentEvent
from edge.parents import ancestors
from edge.site import Site
from tests.stories.behaviour import Behaviour, demo_site, names, scenario_of

PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"
HEAD = """\
# The demo's scenarios, as timelines

What each file of `simulators/scenarios/` makes of the demo community, second by second, until it is over: the alarms,
the incident that each belongs to, and when people are told. Written by `python -m tests.stories.timelines`, seed 1,
without wires (a real line adds up to a poll period), and nobody answers. Run one: `courtyard demo --scenario FILE`;
the same of your own history: `courtyard alarms journal --as timeline`.
"""
_TOLD = {"called": "推送 / pushed", "cleared": "推送恢复 / told that it is over", "merged": "并入 / merged into"}


class Timeline(Behaviour):
    """A scenario with its incidents."""

    def __init__(self, site: Site, name: str) -> None:
        super().__init__(site, name, 1)
        self.rows: list[tuple[float, str, str, str]] = []
        self._incidents = IncidentEngine(ancestors(site.above), {rule.id: trait_of(rule) for rule in site.rules})

    def live(self, until_s: float) -> None:
        """Let time pass; what was gathered is told."""
        while self.now_s < until_s:
            super().live(self.now_s + 0.5)
            for event in self._incidents.tick(self.now_s, self.wall_ns):
                self._told(event)

    def _note(self, transitions: list[Transition]) -> None:
        super()._note(transitions)
        for each in transitions:
            alarm, events = each.alarm, self._incidents.take(each, self.now_s)
            title = f"{alarm.name.zh} / {alarm.name.en} `{alarm.id}`"
            if each.event in ("raised", "re-raised"):
                joined = self._incidents.incident_id(alarm.id) or ""
                critical = "，推送 / pushed" if alarm.priority.value == "critical" else ""
                what = "报警 / alarm" if each.event == "raised" else "再次报警 / again"
                self.rows.append((self.now_s, f"{what}（{alarm.priority.value}）{critical}", title, joined))
            elif each.event == "cleared":
                self.rows.append(
                    (self.now_s, "条件恢复 / condition gone", title, self._incidents.incident_id(alarm.id) or "")
                )
            for event in events:
                self._told(event)

    def _told(self, event: IncidentEvent) -> None:
        what = _TOLD.get(event.event)
        if what is None or (event.event == "cleared" and event.incident.called_ns is None):
            return
        incident = event.incident
        more = f" {event.note}" if event.note else ""
        title = f"{incident.title.zh} / {incident.title.en}（{len(incident.alarms)}）"
        self.rows.append((self.now_s, f"{what}{more}", title, incident.id))


def page() -> Iterator[str]:
    """The page, line by line."""
    yield from HEAD.splitlines()
    site = demo_site()
    for name in names():
        scenario = scenario_of(site, name)
        told = Timeline(site, name)
        told.live(scenario.lasts_s)
        yield from ("", f"## {scenario.name.zh} / {scenario.name.en} (`{name}`)", "")
        if not told.rows:
            yield "没有报警。No alarm."
            continue
        yield from ("| s | 经过 / what | 报警 / alarm | 事件 / incident |", "|---|---|---|---|")
        yield from (f"| {at:g} | {what} | {alarm} | {incident} |" for at, what, alarm, incident in told.rows)


if __name__ == "__main__":
    PAGE.write_text("\n".join(page()) + "\n", encoding="utf-8")
