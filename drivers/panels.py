"""Alarm panels and their zones: which points of which equipment an event concerns.

What comes in: events by account and zone, and signs of life, from the serial line and from DC-09. What goes out:
readings into the `Intake`. A panel tells changes only, so what it last said holds for as long as it speaks:
after silence or a damaged message the last values are confirmed by its next good one. A point that it has never
mentioned is taken to be at rest, and said to be uncertain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from drivers.contact_id import RESTORE, Event
from drivers.document import Where
from drivers.driver import Keys
from drivers.listening import Intake, Speaker
from drivers.point import Device, Quality, Value


def _account(value: Any) -> Any:
    """YAML reads 0012 as a number, whose zeros are known, and 12E4 as another, whose digits are gone."""
    if isinstance(value, float):
        raise ValueError(f"is the number {value!r}; write the account in quotes")  # pydantic collects ValueError
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:04}"
    return value.upper() if isinstance(value, str) else value


class PanelKeys(Keys):
    """Where an equipment is, seen from a DC-09 receiver."""

    account: Annotated[str, BeforeValidator(_account), Field(pattern=r"^[0-9A-F]{3,16}$")]
    """As the panel sends it, hex; leading zeros do not matter."""
    zone: int | None = Field(default=None, ge=0, le=999)
    """Absent: the panel itself."""


class LinePanelKeys(PanelKeys):
    """The same on a serial line, whose Contact ID has four digits."""

    account: Annotated[str, BeforeValidator(_account), Field(pattern=r"^[0-9B-F]{4}$")]


class PanelPoint(Keys):
    """Which events a point follows."""

    codes: list[Annotated[int, Field(ge=0, le=999)]] = []
    """Contact ID event codes."""
    on_new: bool = True
    """The value at a new event (and `still present`); a restore gives the opposite."""
    heartbeat: bool = False
    """True with every valid message of the account."""

    @model_validator(mode="after")
    def _consistent(self) -> PanelPoint:
        if self.heartbeat == bool(self.codes):
            raise ValueError("write either codes: [...] or heartbeat: true")
        return self


TESTS = frozenset({601, 602, 603, 607, 608})
"""Contact ID test reports (SIA DC-05, 600 range): signs of life, for which no equipment needs a point."""


class PanelOptions(Keys):
    """Nothing to choose: the protocol says it all."""


def check(_options: Keys, points: Mapping[str, tuple[Any, Keys]]) -> Iterator[tuple[Where, str]]:
    """Mistakes of a profile that no single row shows."""
    for name, (spec, _) in points.items():
        if spec.kind != "bool":
            yield ("points", name), f"is of kind {spec.kind}; a panel tells yes or no: write kind: bool"
        if spec.writable:
            yield ("points", name), "is writable, but Contact ID only tells; remove writable"


def same(account: str) -> str:
    """An account without the leading zeros that makers add as they like."""
    return account.upper().lstrip("0") or "0"


class _Place:
    """One equipment: its points by event code."""

    def __init__(self, speaker: Speaker) -> None:
        self.speaker = speaker
        self.by_code: dict[int, list[tuple[int, bool]]] = {}
        self.beats: list[int] = []
        self.told: list[tuple[int, bool]] = []
        for position, point in enumerate(speaker.device.points):
            keys = point.address
            if not isinstance(keys, PanelPoint):
                continue
            if keys.heartbeat:
                self.beats.append(position)
                continue
            self.told.append((position, keys.on_new))
            for code in keys.codes:
                self.by_code.setdefault(code, []).append((position, keys.on_new))

    def alive(self) -> dict[int, tuple[Value, Quality]]:
        """What a sign of life says about this equipment."""
        readings: dict[int, tuple[Value, Quality]] = dict.fromkeys(self.beats, (True, Quality.GOOD))
        speaker = self.speaker
        if speaker.heard and not speaker.stale and not speaker.doubted:
            return readings
        for position, on_new in self.told:
            last = speaker.last[position]
            if last is not None:
                readings[position] = (last, Quality.GOOD)
            elif on_new:  # the rest of `armed` is not "armed": points that are false when new are not guessed
                readings[position] = (False, Quality.UNCERTAIN_STALE)
        return readings


class Panels:
    """All equipment behind the panels of one connection."""

    def __init__(self, intake: Intake, devices: Sequence[Device]) -> None:
        self._intake = intake
        self._accounts: dict[str, list[_Place]] = {}
        self._zones: dict[tuple[str, int | None], list[_Place]] = {}
        for device in devices:
            keys = device.address
            if not isinstance(keys, PanelKeys):
                continue
            place = _Place(intake.speakers[device.id])
            self._accounts.setdefault(same(keys.account), []).append(place)
            self._zones.setdefault((same(keys.account), keys.zone), []).append(place)

    def knows(self, account: str) -> bool:
        """Whether the site file names the account."""
        return same(account) in self._accounts

    async def take(self, account: str, event: Event | None, source_time_ns: int | None = None) -> None:
        """A valid message of an account that the site file names; without an event a sign of life only."""
        concerned = self._concerned(account, event) if event else {}
        if event and not concerned and event.code not in TESTS:
            user = "user" if event.has_user else "zone"
            self._intake.unknown(
                ("event", same(account), event.code, event.zone),
                f"account {account} tells event {event.code} of {user} {event.zone}, for which no equipment"
                " has a point; add the zone to the site file or the code to its profile",
            )
        for place in self._accounts[same(account)]:
            readings = place.alive()
            readings.update(concerned.get(place, {}))
            await self._intake.take(place.speaker, [(p, v, q) for p, (v, q) in readings.items()], source_time_ns)

    def _concerned(self, account: str, event: Event) -> dict[_Place, dict[int, tuple[Value, Quality]]]:
        """The zone's equipment where it has a point for the code, else the panel's."""
        zones: tuple[int | None, ...] = (None,) if event.has_user else (event.zone, None)
        for zone in zones:
            places = [p for p in self._zones.get((same(account), zone), ()) if event.code in p.by_code]
            if places:
                restored = event.qualifier == RESTORE
                return {
                    place: {p: (on_new != restored, Quality.GOOD) for p, on_new in place.by_code[event.code]}
                    for place in places
                }
        return {}

    async def doubt(self, accounts: Iterable[str] | None = None) -> None:
        """A message was damaged that one of these accounts (None: any) may have sent."""
        for account in list(self._accounts) if accounts is None else [same(a) for a in accounts]:
            for place in self._accounts.get(account, ()):
                await self._intake.doubt(place.speaker, [position for position, _ in place.told])
