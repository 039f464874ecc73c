"""Device profiles: a product as data.

What comes in: one YAML file for each product, `<class>/<maker>-<model>.yaml`, with a row for each point
that can be compared with the maker's sheet by eye. What goes out: a `Profile`, whose points the protocol's
own models have checked. The sections `alarms`, `meters`, `upkeep` and `simulate` are kept as they stand
and checked by those who own them, with `profile.document` to place their mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.document import Document, keys_of, load, nearest
from drivers.driver import Driver, Keys, driver_of_protocol, drivers
from drivers.guard import READ_ONLY, GuardSpec
from drivers.point import EquipmentClass, Point, Text
from drivers.units import Seconds

CLASSES: tuple[str, ...] = get_args(EquipmentClass)
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,63}/[A-Za-z0-9][\w.-]{0,127}\Z")
"""`class/maker-model`."""
GLANCE = 5
"""So many points are shown at a glance where a profile does not choose them."""
SYNTHETIC = "synthetic profile"
"""What `source` begins with where the register map is our own and no vendor's."""


class Strict(BaseModel):
    """Base of every model that a file is checked against: unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextSpec(Strict):
    """Both languages of a text that staff read."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)

    def text(self) -> Text:
        """As the plain value that the rest of the house uses."""
        return Text(self.zh, self.en)


class PointSpec(Strict):
    """The keys of a point that all protocols share; the protocol's own stand beside them."""

    name: TextSpec
    kind: Literal["bool", "int", "float", "text"] = "float"
    unit: str = ""
    period: Seconds | None = None
    """How often a polled point is read; the profile's `period` where it says nothing."""
    deadband: float = Field(default=0, ge=0)
    low: float | None = None
    high: float | None = None
    counter: bool = False
    writable: bool = False
    guard: GuardSpec | None = None
    """How it may be commanded, where its range alone does not say enough."""
    labels: dict[int, TextSpec] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> PointSpec:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}; swap or widen them")
        if self.kind in ("bool", "text") and (self.deadband or self.counter):
            raise ValueError(f"a {self.kind} point has no deadband and is no counter; remove them")
        if self.guard is not None and not self.writable:
            raise ValueError("guard is for points that are written; add writable: true, or remove it")
        return self


class ProfileSpec(Strict):
    """The top level of a profile file."""

    profile: str
    name: TextSpec
    protocol: str
    source: str = Field(min_length=8)
    """The maker's sheet and page, or `synthetic profile: ...`."""
    period: Seconds = 1.0
    stale_after: Seconds = 0.0
    limits: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    fingerprint: list[dict[str, Any]] = []
    """What `courtyard scan` recognises the product by: values that it alone has."""
    points: dict[str, Any]
    shown: list[str] = []
    """Names of the points that say how it is at a glance; the first few where it is left out."""
    alarms: dict[str, Any] = {}
    meters: dict[str, Any] = {}
    upkeep: dict[str, Any] = {}
    simulate: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One product, checked."""

    id: str
    equipment_class: EquipmentClass
    name: Text
    protocol: str
    source: str
    period_s: float
    stale_after_s: float
    options: Keys
    points: Mapping[str, tuple[PointSpec, Keys]]
    document: Document
    alarms: Mapping[str, Any] = field(default_factory=dict)
    meters: Mapping[str, Any] = field(default_factory=dict)
    upkeep: Mapping[str, Any] = field(default_factory=dict)
    simulate: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    """Points that pages show without being asked for all."""
    fingerprint: tuple[Keys, ...] = ()
    """All of it must be true of a device that is taken for this product. Empty: it cannot be recognised."""

    @property
    def synthetic(self) -> bool:
        """Whether the register map is our own invention, which is said wherever the profile is shown."""
        return self.source.lower().startswith(SYNTHETIC)

    def points_of(self, equipment: str) -> tuple[Point, ...]:
        """The points of one equipment of this product."""
        return tuple(self._point(equipment, name, *spec) for name, spec in self.points.items())

    def _point(self, equipment: str, name: str, spec: PointSpec, address: Keys) -> Point:
        return Point(
            id=f"{equipment}.{name}",
            equipment=equipment,
            name=name,
            title=spec.name.text(),
            kind=spec.kind,
            unit=spec.unit,
            period_s=self.period_s if spec.period is None else spec.period,
            deadband=spec.deadband,
            low=spec.low,
            high=spec.high,
            counter=spec.counter,
            writable=spec.writable,
            labels={code: text.text() for code, text in spec.labels.items()} if spec.labels else None,
            address=address,
        )


def load_profile(path: Path) -> tuple[Profile | None, Document]:
    """One file as a profile; None where it has mistakes, which stand in the document."""
    document = load(path)
    if document.faults:
        return None, document
    spec = document.validate(ProfileSpec, document.data or {}, ())
    if spec is None:
        return None, document
    equipment_class = spec.profile.partition("/")[0]
    if equipment_class not in CLASSES:
        document.add(("profile",), f"class {equipment_class!r} is none of {', '.join(CLASSES)}")
    elif spec.profile != f"{path.parent.name}/{path.stem}":
        document.add(("profile",), f"is {spec.profile!r}, but the file lies at {path.parent.name}/{path.stem}")
    driver = driver_of_protocol(spec.protocol)
    if driver is None:
        names = {each.protocol for each in drivers().values()}
        document.add(("protocol",), f"no driver speaks {spec.protocol!r}{nearest(spec.protocol, names)}")
        return None, document
    options = document.validate(driver.options, getattr(spec, driver.section), (driver.section,))
    for other in {"limits", "messages"} - {driver.section}:
        if getattr(spec, other):
            document.add((other,), f"does not belong to protocol {spec.protocol}; its section is {driver.section}")
    points = _points(document, driver)
    shown = _shown(document, spec.shown, points)
    fingerprint = _fingerprint(document, driver, spec)
    _check_commands(document, equipment_class, {name: point for name, (point, _) in points.items()})
    if driver.plan:
        _check_unread(document, spec.period, {name: point for name, (point, _) in points.items()})
    _check_together(document, driver, options, points)
    if document.faults or options is None:
        return None, document
    return (
        Profile(
            id=spec.profile,
            equipment_class=equipment_class,  # type: ignore[arg-type]  # checked above
            name=spec.name.text(),
            protocol=spec.protocol,
            source=spec.source,
            period_s=spec.period,
            stale_after_s=spec.stale_after,
            options=options,
            points=points,
            document=document,
            alarms=spec.alarms,
            meters=spec.meters,
            upkeep=spec.upkeep,
            simulate=spec.simulate,
            shown=shown,
            fingerprint=fingerprint,
        ),
        document,
    )


def _shown(document: Document, names: Sequence[str], points: Mapping[str, Any]) -> tuple[str, ...]:
    """The points to show at a glance, in the profile's order."""
    for index, name in enumerate(names):
        if name not in points:
            document.add(("shown", index), f"no point {name!r}{nearest(name, points)}")
    return tuple(names or list(points)[:GLANCE])


def _check_together(document: Document, driver: Driver, options: Keys | None, points: Mapping[str, Any]) -> None:
    """Note the mistakes that no single row shows."""
    if driver.check and options is not None:
        for where, message in driver.check(options, points):
            document.add(where, message)


def _fingerprint(document: Document, driver: Driver, spec: ProfileSpec) -> tuple[Keys, ...]:
    """What a device is recognised by, checked by the protocol's own model."""
    if spec.fingerprint and driver.fingerprint is None:
        document.add(("fingerprint",), f"does not belong to protocol {spec.protocol}, which has no scan; remove it")
        return ()
    if driver.fingerprint is None:
        return ()
    model, rows = driver.fingerprint, enumerate(spec.fingerprint)
    found = [document.validate(model, row, ("fingerprint", at)) for at, row in rows]
    return tuple(row for row in found if row is not None)


def _points(document: Document, driver: Driver) -> dict[str, tuple[PointSpec, Keys]]:
    """Every point, its keys shared out between the common model and the protocol's."""
    points: dict[str, tuple[PointSpec, Keys]] = {}
    common, own = keys_of(PointSpec), keys_of(driver.point)
    for name, row in document.mapping("points").items():
        where = ("points", name)
        if not name.replace("_", "").isalnum() or not name.isascii() or name != name.lower():
            document.add(where, "is no point name; use a-z, 0-9 and _")
        if not isinstance(row, dict):
            document.add(where, "write a mapping of the point's keys")
            continue
        spec = document.validate(PointSpec, {k: v for k, v in row.items() if k in common}, where)
        rest = {k: v for k, v in row.items() if k not in common}
        address = document.validate(driver.point, rest, where, known=common | own)
        if spec and address:
            points[name] = (spec, address)
    return points


def _check_commands(document: Document, equipment_class: str, points: Mapping[str, PointSpec]) -> None:
    """Note what may never be written, and guards that do not fit their points."""
    for name, spec in points.items():
        if spec.writable and equipment_class in READ_ONLY:
            document.add(
                ("points", name, "writable"),
                f"equipment of class {equipment_class} is read only, always: nothing here is written; remove it",
            )
        guard = ("points", name, "guard")
        for key, why in spec.guard.mistakes(spec) if spec.guard else ():
            document.add((*guard, key), why)
        for index, lock in enumerate(spec.guard.interlocks if spec.guard else ()):
            where = (*guard, "interlocks", index)
            other = points.get(lock.point)
            if other is not None:
                for key, why in lock.mistakes(spec, other):
                    document.add((*where, key), why)
            elif lock.point not in document.mapping("points"):  # else its own mistake is shown already
                near = nearest(lock.point, points) or "; points of other equipment belong into the site file"
                document.add((*where, "point"), f"no point {lock.point!r} in this profile{near}")


def _check_unread(document: Document, period_s: float, points: Mapping[str, PointSpec]) -> None:
    """Note what cannot be because a polled point without a period is never read."""
    unread = [name for name, spec in points.items() if not (period_s if spec.period is None else spec.period)]
    for name in unread:
        spec, where = points[name], ("points", name)
        if not spec.writable:
            document.add((*where, "period"), "is 0: it is never read, and cannot be written; give it a period")
        if spec.guard is not None and spec.guard.max_step is not None:
            document.add(
                (*where, "guard", "max_step"),
                "counts from where the point stands, and that is never read, its period is 0; give it a period",
            )
    for name, spec in points.items():
        for index, lock in enumerate(spec.guard.interlocks if spec.guard else ()):
            if lock.point in unread:
                document.add(
                    ("points", name, "guard", "interlocks", index, "point"),
                    f"{lock.point} is never read, its period is 0, so that no command would ever be allowed; "
                    "give it a period",
                )


class Library:
    """The profiles under one or several folders, loaded when asked for; later folders win."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(folders)
        self._loaded: dict[str, tuple[Profile | None, Document]] = {}

    def ids(self) -> list[str]:
        """All that there is, by id."""
        found = {f"{p.parent.name}/{p.stem}" for folder in self._folders for p in folder.glob("*/*.yaml")}
        return sorted(found)

    def path(self, profile_id: str) -> Path | None:
        """The file of a profile; None also for what cannot be the id of one."""
        if not _ID.match(profile_id):
            return None
        paths = (folder / f"{profile_id}.yaml" for folder in reversed(self._folders))
        return next((path for path in paths if path.is_file()), None)

    def get(self, profile_id: str) -> tuple[Profile | None, Document | None]:
        """The profile and its document. (None, None): no such file. (None, document): it has mistakes."""
        if profile_id not in self._loaded:
            path = self.path(profile_id)
            if path is None:
                return None, None
            self._loaded[profile_id] = load_profile(path)
        return self._loaded[profile_id]
