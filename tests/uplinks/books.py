"""A ledger and its clerk that keep everything in memory, for uplinks under test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support import eventually

WRONG_PLACES = (
    ("Client sent an HTTP request to an HTTPS server.", "write https: in the url"),
    ("<h1>400</h1><center>The plain HTTP request was sent to HTTPS port</center>", "write https: in the url"),
    ("Reason: You're speaking plain HTTP to an SSL-enabled server port.", "write https: in the url"),
    ('requestURI: /x; unsupported path requested: "/x"', "check the url"),
)
"""What Go's servers, nginx, Apache and VictoriaMetrics answer with 400, whatever they are sent, and what to do."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened."""

    kind: str
    subject: str
    time_ns: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)


class Books:
    """Both at once."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, Entry]] = []
        self.state: dict[tuple[str, str], dict[str, Any] | None] = {}

    def add(self, kind: str, subject: str, time_ns: int = 0) -> int:
        """Something happens; its number."""
        number = len(self.entries) + 1
        self.entries.append((number, Entry(kind, subject, time_ns)))
        return number

    async def load(self, kind: str) -> dict[str, dict[str, Any]]:
        return {key: body for (of, key), body in self.state.items() if of == kind and body is not None}

    async def journal(
        self,
        kind: str | None = None,
        subject: str | None = None,
        after: int = 0,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> list[tuple[int, Entry]]:
        found = [
            (number, entry)
            for number, entry in self.entries
            if number > after and kind in (None, entry.kind) and subject in (None, entry.subject)
        ]
        return (found[::-1] if newest_first else found)[:limit]

    async def note(self, kind: str, subject: str, body: dict[str, Any], state: Any = None) -> None:
        self.entries.append((len(self.entries) + 1, Entry(kind, subject, 0, body)))
        self.state.update(state or {})

    async def keep(self, state: Mapping[tuple[str, str], dict[str, Any] | None]) -> None:
        self.state.update(state)


class Asked(list[dict[str, Any]]):
    """The alarms that there are, and how often somebody went through them."""

    times = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.times += 1
        return super().__iter__()


async def alarms_are_counted_together(gateway: Any) -> None:
    """An uplink that shows how many alarms there are asks the desk now and then, not at each change of a storm."""
    gateway.alarms = asked = Asked()
    async with gateway.up() as uplink:
        before = asked.times
        for _ in range(200):
            uplink.announce("alarm", "pump-1.dry", {"equipment": "pump-1", "state": "normal"})
            await asyncio.sleep(0.001)
        await eventually(lambda: asked.times > before)
        assert asked.times < before + 5
