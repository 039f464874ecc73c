"""The site file: one residential community as typed data.

The models that the file is checked against, and the `Site` that the daemon works with, in which every name has
been followed and every rule compiled. `site_file` makes the one from the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, SecretStr, model_validator

from drivers.document import nearest
from drivers.driver import Driver, Request, Settings
from drivers.guard import InterlockSpec
from drivers.point import Device, EquipmentClass, Language, Point
from drivers.profile import Profile, Strict
from drivers.units import Bytes, Seconds
from edge.acquisition.guards import Guards
from edge.alarms.rule import Rule
from edge.gateway import UplinkLimits
from edge.load import total_of
from edge.parents import Above
from edge.response.duty import DutySpec
from edge.timekeeping import Source
from edge.upkeep.meters import MeterSpec
from edge.upkeep.plans import Plan
from edge.uplinks import UplinkSettings

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_LISTEN = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})\Z")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone{nearest(name, available_timezones())}")
    return name


def _identifier(name: str) -> str:
    if not ID.match(name):
        raise ValueError(f"{name!r} is no id; use letters, digits, - and _, at most 64")
    return name


def parse_listen(text: str) -> tuple[str, int]:
    """`HOST:PORT` as its two parts; ValueError says how to write it."""
    match = _LISTEN.match(text)
    if not match or int(match[2]) > 65535:
        raise ValueError(f"{text!r} is no address to listen on; write HOST:PORT, e.g. 127.0.0.1:8080")
    return match[1].strip("[]"), int(match[2])


class SiteInfo(Strict):
    """Who and where the community is."""

    id: Annotated[str, AfterValidator(_identifier)]
    name: str = Field(min_length=1)
    timezone: Annotated[str, AfterValidator(_zone)]
    language: Language = "zh"


class ConsoleSpec(Strict):
    """Where pages and API are served. Beyond loopback only with a token."""

    listen: str = "127.0.0.1:8080"
    token: SecretStr | None = None

    def address(self) -> tuple[str, int]:
        """Host and port."""
        return parse_listen(self.listen)


class SummariesSpec(Strict):
    """How long downsampled history is kept, from the time of the readings."""

    minutes: Annotated[Seconds, Field(ge=86_400)] = 365 * 86_400.0
    """Least, greatest, mean, last and count of 5 minutes."""
    hours: Annotated[Seconds, Field(ge=86_400)] = 1_826 * 86_400.0
    """The same of hours."""


class StorageSpec(Strict):
    """How readings are kept."""

    commit: Annotated[Seconds, Field(ge=0.1, le=300)] = 1.0
    """Under load, readings are written to disk in groups this often."""
    commit_longest: Annotated[Seconds, Field(ge=0.1, le=300)] = 30.0
    """When little is recorded, the groups are written at longer intervals, up to this: what a crash may cost. At
    least `commit`. Alarms and orders are written at once in any case."""
    journal: Annotated[Seconds, Field(ge=86_400)] = 1830 * 86_400.0
    """How long alarms, commands, orders and pushes are remembered: records of lifts must be kept for four years."""
    heartbeat: Annotated[Seconds, Field(ge=1, le=86_400)] = 600.0
    """A point is recorded at least this often, changed or not."""
    pack_after: Annotated[Seconds, Field(ge=60, le=604_800)] = 3_600.0
    """Readings older than this, which every uplink has, are packed into compressed chunks by and by."""
    keep: Annotated[Seconds, Field(ge=86_400)] = 90 * 86_400.0
    """So long every reading is kept; afterwards summaries of 5 minutes, then of hours."""
    keep_summaries: SummariesSpec = SummariesSpec()
    budget: Annotated[Bytes, Field(ge=32_000_000)] = 4_000_000_000
    """Most that the state directory may take. What goes where it does not suffice: docs/storage.md."""

    @model_validator(mode="after")
    def _longer_and_longer(self) -> StorageSpec:
        if not self.keep <= self.keep_summaries.minutes <= self.keep_summaries.hours:
            raise ValueError(
                "keep is for every reading, keep_summaries.minutes for what is left of them afterwards, "
                "keep_summaries.hours for the rest: write none shorter than the one before"
            )
        return self


class BackupSpec(Strict):
    """When the state directory is copied to `<state>/backups/`, and what of it."""

    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "03:30"
    """Each day, by the community's clocks."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 7
    """How many are kept; older ones go."""
    readings: bool = False
    """The log of readings as well; it is the greatest part by far, and each copy is written to the same card."""


class TimeSpec(Strict):
    """When the box's clock is believed. What is read before that is stamped anew afterwards."""

    source: Source = "auto"
    """`kernel`: once the kernel's clock is synchronised (NTP, PTP, GPS). `clock`: the box has a clock chip, its time
    is believed unless it is earlier than what was recorded before. `auto`: `kernel` on a box whose clock was seen
    synchronised once, `clock` until then."""
    trust_after: Annotated[Seconds, Field(ge=0, le=86_400)] = 600.0
    """So long after the start readings wait for the time at most; then the box's clock is believed if it may be, and
    readings go out as they are if it may not."""


class EquipmentSpec(Strict):
    """The keys of one equipment that all protocols share; the protocol's own stand beside them."""

    profile: str
    connection: str
    name: str = ""
    location: str = ""
    parent: str | tuple[str, ...] = ""
    """What this one hangs on besides its connection: one or several of equipment ids (its panel, controller or
    supply) and `connection:NAME`. An alarm there explains what goes wrong here."""
    simulate: dict[str, Any] = {}
    """Laid over the profile's `simulate` by the simulators; the daemon does not look at it."""
    alarms: dict[str, dict[str, Any]] = {}
    """Laid over the profile's rules of the same name."""
    meters: dict[str, float] = {}
    """What each meter read on commissioning, in the meter's unit."""
    upkeep: dict[str, Any] = {}
    """`last: {PLAN: DATE}`: when each calendar task was done last before Courtyard came."""
    interlocks: dict[str, list[InterlockSpec]] = {}
    """By a writable point of this equipment: what must be true of points of any equipment before it is commanded."""


@dataclass(frozen=True, slots=True, eq=False)
class Connection:
    """One physical way to devices, checked."""

    name: str
    driver: Driver
    settings: Settings
    devices: tuple[Device, ...]
    requests: tuple[Request, ...]
    """Planned, for polled connections; empty for listening ones."""

    @property
    def load(self) -> float:
        """The share of the wire's time that the configuration needs; above 1 it cannot fit."""
        return total_of(self.requests, self.settings.at_once)


@dataclass(frozen=True, slots=True, eq=False)
class Equipment:
    """One asset of the community, checked."""

    id: str
    equipment_class: EquipmentClass
    profile: Profile
    connection: str
    name: str
    location: str
    device: Device
    simulate: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One community, every name followed and every rule compiled."""

    info: SiteInfo
    connections: Mapping[str, Connection]
    equipment: Mapping[str, Equipment]
    rules: Sequence[Rule]
    meters: Sequence[MeterSpec]
    plans: Sequence[Plan]
    guards: Guards
    above: Above
    """What each equipment and connection hangs on directly."""
    uplinks: Mapping[str, UplinkSettings]
    duty: DutySpec
    console: ConsoleSpec
    storage: StorageSpec
    uplink_limits: UplinkLimits
    """From when on something about an uplink is alarmed."""
    time: TimeSpec
    backup: BackupSpec | None = None
    files: Sequence[tuple[str, Path]] = ()
    """The site file and the site's own profiles: each one's name beside the site file, and where it is."""

    @property
    def zone(self) -> ZoneInfo:
        """The community's time zone."""
        return ZoneInfo(self.info.timezone)

    @property
    def points(self) -> Iterator[Point]:
        """Every point of the community."""
        return (point for each in self.equipment.values() for point in each.device.points)


Check = Literal["ok", "high", "over"]


def load_grade(load: float) -> Check:
    """How full a wire is: `high` above 70 %, where a retry no longer fits (domain practice), `over` above 100 %."""
    return "over" if load > 1 else "high" if load > 0.7 else "ok"
