"""From the site file to a `Site`: names followed, rules compiled, every mistake noted where it stands.

What comes in: one YAML file and the profile library. What goes out: a `Site`, or `Faulty` with all mistakes
at once. `courtyard check` and `courtyard run` share this code.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel

from drivers.document import Document, Faulty, keys_of, load, merge, nearest
from drivers.driver import Driver, Keys, Settings, drivers
from drivers.guard import InterlockSpec
from drivers.point import Device
from drivers.profile import Library, Profile
from edge.acquisition.guards import Guard, compile_guards
from edge.alarms.families import apart
from edge.alarms.terms import UTC
from edge.data import PROFILES
from edge.load import load_of
from edge.parents import Above, follow_parents, parents_of
from edge.relief import advice
from edge.response.duty import DutySpec
from edge.secrets import reveal
from edge.site import (
    ID,
    LOOPBACK,
    BackupSpec,
    Connection,
    ConsoleSpec,
    Equipment,
    EquipmentSpec,
    Site,
    SiteInfo,
    StorageSpec,
    TimeSpec,
)
from edge.site_rules import SiteRules
from edge.upkeep.meters import MeterSpec, compile_meters
from edge.upkeep.plans import Plan, compile_plans
from edge.uplinks import UPLINKS, UplinkSettings

TOP = (
    "site", "connections", "equipment", "rules", "uplinks", "duty", "console",
    "storage", "backup", "time", "profiles",
)  # fmt: skip


def load_site(path: Path, overrides: Mapping[str, Any] | None = None) -> Site:
    """The site of a file, or `Faulty` with all its mistakes.

    `overrides` is laid over the file's data before it is checked: the demo puts its free ports there.
    """
    document = load(path)
    if not document.faults and not isinstance(document.data, dict):
        document.add((), "is empty; a site file has at least site, connections and equipment")
    if document.faults:
        raise Faulty(document.faults)
    if overrides:
        document.data = merge(document.data, overrides)
    reveal(document, path.parent)
    return _Loader(document, path.parent).site()


class _Loader:
    """Follows the names of one site file, noting every mistake on the way."""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.library = Library([PROFILES, *self._own_profiles(folder)])
        self.profiles: dict[str, Document] = {}
        self.rules = SiteRules(document, self._zone())
        self.meters: list[MeterSpec] = []
        self.plans: list[Plan] = []
        self.interlocks: dict[str, Mapping[str, Sequence[InterlockSpec]]] = {}
        """What each equipment adds to its profile's own; followed when the points of all are known."""
        self.parents: dict[str, tuple[str, tuple[str, ...]]] = {}
        """Of each equipment its connection, and what it hangs on besides."""

    def _zone(self) -> ZoneInfo:
        """The site's time zone; UTC where the file has none that is right, which is told elsewhere."""
        name = self.document.get("site", "timezone")
        return ZoneInfo(name) if isinstance(name, str) and name in available_timezones() else UTC

    def _own_profiles(self, folder: Path) -> list[Path]:
        """The folder of the site's own profiles, beside the site file."""
        own = self.document.get("profiles")
        if own is None:
            return []
        if isinstance(own, str) and (folder / own).is_dir():
            return [folder / own]
        self.document.add(("profiles",), f"is {own!r}; write the folder of your own profiles, beside this file")
        return []

    def site(self) -> Site:
        for key in self.document.data:
            if key not in TOP:
                self.document.unknown_key((key,), TOP)
        info = self._section("site", SiteInfo, required=True)
        chosen = self._connections()
        equipment = self._equipment(chosen)
        above = self._above(chosen)
        guards = self._guards(equipment)
        connections = self._planned(chosen, equipment)
        console = self._section("console", ConsoleSpec) or ConsoleSpec()
        self._check_console(console)
        duty = self._section("duty", DutySpec) or DutySpec()
        duty.check(self.document, ("duty",))
        storage = self._section("storage", StorageSpec) or StorageSpec()
        backup = self._section("backup", BackupSpec)
        time = self._section("time", TimeSpec) or TimeSpec()
        uplinks = self._uplinks()
        rules = self.rules.all(connections, uplinks)
        documents = (self.document, self.rules.gateway, *self.profiles.values())
        faults = [fault for each in documents for fault in each.faults]
        if faults or info is None:
            raise Faulty(faults)
        return Site(
            info,
            connections,
            equipment,
            rules,
            self.meters,
            self.plans,
            guards,
            above,
            uplinks,
            duty,
            console,
            storage,
            self.rules.uplink_limits,
            time,
            backup,
            tuple(self._files()),
        )

    def _files(self) -> Iterator[tuple[str, Path]]:
        """The site file, and the profiles of its own folder."""
        path = Path(self.document.file)
        yield path.name, path
        own = self.document.get("profiles")
        if isinstance(own, str):
            for profile in sorted((self.folder / own).glob("*/*.yaml")):
                yield f"profiles/{profile.parent.name}/{profile.name}", profile

    def _section(self, name: str, model: Any, *, required: bool = False) -> Any:
        data = self.document.mapping(name)
        if name not in self.document.data and not required:
            return None
        return self.document.validate(model, data, (name,))

    def _connections(self) -> dict[str, tuple[Driver, Settings | None] | None]:
        """Type and settings of each connection; None for what has mistakes, so that its name is still known."""
        found: dict[str, tuple[Driver, Settings | None] | None] = {}
        owners: dict[str, str] = {}
        for name, row in self.document.mapping("connections").items():
            where = ("connections", name)
            found[name] = None
            if not self._good_row(where, name, row, ("type",)):
                continue
            driver = drivers().get(str(row["type"]))
            if driver is None:
                near = nearest(str(row["type"]), drivers())
                self.document.add((*where, "type"), f"no connection type {row['type']!r}{near}")
                continue
            settings = self.document.validate(driver.settings, row, where)
            found[name] = (driver, settings)
            if settings is not None and settings.owned and owners.setdefault(settings.owned, name) != name:
                self.document.add(
                    (*where, "port"),
                    f"{settings.owned} is the port of {owners[settings.owned]} already; put the devices of one line "
                    "under one connection",
                )
        return found

    def _good_row(self, where: tuple[str, ...], name: str, row: Any, keys: Sequence[str]) -> bool:
        if not ID.match(name):
            self.document.add(where, "is no id; use letters, digits, - and _, at most 64")
        if not isinstance(row, dict):
            self.document.add(where, "write a mapping of keys")
            return False
        missing = [key for key in keys if key not in row]
        for key in missing:
            self.document.add((*where, key), "is missing; add it")
        return not missing

    def _equipment(self, connections: Mapping[str, tuple[Driver, Settings | None] | None]) -> dict[str, Equipment]:
        found: dict[str, Equipment] = {}
        taken: dict[tuple[str, BaseModel], str] = {}
        for name, row in self.document.mapping("equipment").items():
            equipment = self._one(name, row, connections)
            if equipment is None:
                continue
            found[name] = equipment
            place = (equipment.connection, equipment.device.address)
            if place in taken:
                self.document.add(
                    ("equipment", name), f"has the same address as {taken[place]} on {place[0]}; change one"
                )
            taken.setdefault(place, name)
        return found

    def _above(self, chosen: Mapping[str, tuple[Driver, Settings | None] | None]) -> Above:
        """What hangs on what."""
        settings = {name: pair[1] if pair else None for name, pair in chosen.items()}
        return follow_parents(
            self.document,
            self.parents,
            {name: parents_of(each.parent if each else "") for name, each in settings.items()},
        )

    def _one(
        self, name: str, row: Any, connections: Mapping[str, tuple[Driver, Settings | None] | None]
    ) -> Equipment | None:
        where = ("equipment", name)
        if not self._good_row(where, name, row, ()):
            return None
        common = keys_of(EquipmentSpec)
        spec = self.document.validate(EquipmentSpec, {k: v for k, v in row.items() if k in common}, where)
        profile = self._profile(row.get("profile"), where)
        way = row.get("connection")
        if isinstance(way, str) and way not in connections:
            self.document.add((*where, "connection"), f"no connection {way!r}{nearest(way, connections)}")
        chosen = connections.get(way) if isinstance(way, str) else None
        # Without the right driver the equipment's own keys are checked against any that speaks the
        # profile's protocol, so that every mistake shows at once.
        driver = (
            chosen[0]
            if chosen
            else next((d for d in drivers().values() if profile and d.protocol == profile.protocol), None)
        )
        rest = {k: v for k, v in row.items() if k not in common}
        if driver is None:
            self._unknown_keys(where, rest, common)
            return None
        if profile and driver.protocol != profile.protocol:
            self.document.add(
                (*where, "profile"),
                f"{profile.id} speaks {profile.protocol}, but {way} carries {driver.protocol}; change one",
            )
            return None
        keys = self.document.validate(driver.device, rest, where, known=common | keys_of(driver.device))
        if spec is None or profile is None or keys is None or chosen is None:
            return None
        return self._build(name, spec, profile, keys)

    def _unknown_keys(self, where: tuple[str, ...], rest: Mapping[str, Any], common: set[str]) -> None:
        known = common.union(*(keys_of(driver.device) for driver in drivers().values()))
        for key in rest:
            if key not in known:
                self.document.unknown_key((*where, key), known)

    def _profile(self, wanted: Any, where: tuple[str, ...]) -> Profile | None:
        if not isinstance(wanted, str):
            return None
        profile, document = self.library.get(wanted)
        if document is None:
            self.document.add((*where, "profile"), f"no profile {wanted!r}{nearest(wanted, self.library.ids())}")
        elif wanted not in self.profiles:
            self.profiles[wanted] = document
        return profile

    def _build(self, name: str, spec: EquipmentSpec, profile: Profile, keys: Keys) -> Equipment:
        points = profile.points_of(name)
        self.interlocks[name] = spec.interlocks
        self.parents[name] = spec.connection, parents_of(spec.parent)
        device = Device(name, keys, profile.options, points, profile.stale_after_s)
        self.rules.equipment(name, spec.connection, points, profile, spec.alarms)
        meters = compile_meters(name, points, profile.meters, profile.document, ("meters",), spec.meters)
        self.meters += meters
        for meter in spec.meters:
            if meter not in profile.meters:
                self.document.unknown_key(("equipment", name, "meters", meter), profile.meters)
        own_place = (self.document, ("equipment", name, "upkeep", "last"))
        self.plans += compile_plans(
            name,
            profile.upkeep,
            profile.document,
            ("upkeep",),
            profile.meters,
            apart(profile.alarms, profile.document, ("alarms",)),
            self._last_done(name, spec, profile),
            own_place,
        )
        return Equipment(
            id=name,
            equipment_class=profile.equipment_class,
            profile=profile,
            connection=spec.connection,
            name=spec.name or name,
            location=spec.location,
            device=device,
            simulate=merge(profile.simulate, spec.simulate),
        )

    def _last_done(self, name: str, spec: EquipmentSpec, profile: Profile) -> dict[str, Any]:
        where = ("equipment", name, "upkeep")
        for key in spec.upkeep:
            if key != "last":
                self.document.unknown_key((*where, key), ("last",))
        last = spec.upkeep.get("last", {})
        if not isinstance(last, dict):
            self.document.add((*where, "last"), "write a mapping of plan to date, e.g. {half_month: 2026-11-10}")
            return {}
        for plan in last:
            if plan not in profile.upkeep:
                self.document.unknown_key((*where, "last", plan), profile.upkeep)
        return last

    def _guards(self, equipment: Mapping[str, Equipment]) -> dict[str, Guard]:
        points = {point.id: point for each in equipment.values() for point in each.device.points}
        guards: dict[str, Guard] = {}
        for name, each in equipment.items():
            specs = {point: spec.guard for point, (spec, _) in each.profile.points.items()}
            where = ("equipment", name, "interlocks")
            guards |= compile_guards(each.device.points, specs, self.interlocks[name], points, self.document, where)
        return guards

    def _planned(
        self, chosen: Mapping[str, tuple[Driver, Settings | None] | None], equipment: Mapping[str, Equipment]
    ) -> dict[str, Connection]:
        """Connections with their devices and planned requests; one that cannot fit its wire is a mistake."""
        found: dict[str, Connection] = {}
        for name, pair in chosen.items():
            driver, settings = pair or (None, None)
            if driver is None or settings is None:
                continue
            devices = tuple(each.device for each in equipment.values() if each.connection == name)
            try:
                requests = tuple(driver.plan(settings, devices)) if driver.plan else ()
            except ValueError as error:
                self.document.add(("connections", name), str(error))
                continue
            connection = Connection(name, driver, settings, devices, requests)
            if connection.load > 1:
                dearest = load_of(driver, requests, (), settings.at_once).dearest()
                self.document.add(
                    ("connections", name),
                    f"needs {connection.load:.0%} of its wire's time ({dearest}); for a "
                    f"load of 70 % {advice(driver, settings, devices, requests)}",
                )
            found[name] = connection
        return found

    def _uplinks(self) -> dict[str, UplinkSettings]:
        found: dict[str, UplinkSettings] = {}
        taken: dict[Hashable, str] = {}
        for name, row in self.document.mapping("uplinks").items():
            where = ("uplinks", name)
            if not self._good_row(where, name, row, ("type",)):
                continue
            uplink = UPLINKS.get(str(row["type"]))
            if uplink is None:
                self.document.add(
                    (*where, "type"), f"no uplink type {row['type']!r}{nearest(str(row['type']), UPLINKS)}"
                )
                continue
            settings = self.document.validate(uplink, row, where)
            if settings is not None:
                note = partial(self._note_below, where)
                found[name] = settings.placed(self.folder, note)
                self._check_own(name, settings, taken.setdefault(settings.own(), name))
                settings.suits(self.document.mapping("equipment"), note)
        return found

    def _check_own(self, name: str, settings: UplinkSettings, other: str) -> None:
        if settings.own() is not None and other != name:
            self.document.add(
                ("uplinks", name),
                f"says the same on the same broker as {other}, and each would write over the other; "
                "remove one, or give it another prefix, group, node or device",
            )

    def _note_below(self, where: tuple[str, ...], keys: tuple[str | int, ...], message: str) -> None:
        self.document.add((*where, *keys), message)

    def _check_console(self, console: ConsoleSpec) -> None:
        try:
            host, _ = console.address()
        except ValueError as error:
            self.document.add(("console", "listen"), str(error))
            return
        if host not in LOOPBACK and console.token is None:
            self.document.add(
                ("console", "listen"),
                f"{host} can be reached from the network, and there is no console.token; "
                "set token: ${file:console-token}, or listen on 127.0.0.1",
            )
