"""Which units answer on a line, at which baud rate and parity, and what they look like.

What comes in: the settings of a connection, what to try, and the fingerprints of profiles. What goes out: the units
that answered. Settings are tried one after the other, each on all wished units, until any unit answers: a line has
one setting. Every unit is asked for one register; an exception is an answer too. The time that it can take at most
is known before it begins. Serial settings after Modbus over Serial Line V1.02, 2.5.1, the usual ones first.
"""

from __future__ import annotations

import contextlib
import re
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from drivers.driver import Clock, ConnectionDown, Found, PolledLink, ScanWish
from drivers.modbus.fingerprint import FingerprintKeys
from drivers.modbus.keys import Limits, RtuSettings, TcpSettings
from drivers.modbus.planner import ModbusSettings, ReadRequest, line_of
from drivers.modbus.raw import range_request, read_range

BAUDRATES = (9600, 19200, 4800, 2400, 38400, 115200)
PARITIES = ("N", "E", "O")
UNITS = tuple(range(1, 33))
"""A segment of RS-485 carries 32 devices, and installers number them from 1."""
SERIAL_TIMEOUT_S = 0.3
"""Meters take up to 100 ms, slow ones 300 ms."""
TCP_TIMEOUT_S = 3.0
"""A gateway waits for its own line before it answers for a device that is not there, many of them for 1 s or more;
what it is asked meanwhile waits too, and a device that is there would be missed."""
_OPEN_S = 0.1
"""What opening a port takes at most."""
_PATIENT_S = 1.0
"""What opening may take however short the time-out of the units, and for how long a late answer is waited for."""
_ANEW = 4
"""A network connection is made anew after as many units in a row that do not answer."""
_SAY_EACH = 8
"""Units between two lines of progress."""

Known = Mapping[str, tuple[Limits, Sequence[FingerprintKeys]]]
"""Profiles that can be recognised."""


@dataclass(slots=True)
class ModbusScan:
    """A scan, ready to begin."""

    variants: Sequence[ModbusSettings]
    units: Sequence[int]
    known: Known
    garbled: list[str] = field(default_factory=list)
    """Units that answered something that is no answer."""

    @property
    def what(self) -> str:
        """What will be tried."""
        serial = [each for each in self.variants if isinstance(each, RtuSettings)]
        lines = f" at {_names(serial)}" if serial else ""
        return f"{_units(self.units)}{lines}, {self.variants[0].timeout:g} s each"

    @property
    def worst_s(self) -> float:
        """Where nobody answers at any setting but the last, and all do there, but to no question that would tell
        what they are: after each of those its late answer is waited for."""
        total = 0.0
        for settings in self.variants:
            connect_s = _OPEN_S
            if not isinstance(settings, RtuSettings):
                connect_s = max(settings.timeout, _PATIENT_S) * (1 + len(self.units) // _ANEW)
            total += connect_s + len(self.units) * _longest_s(settings)
        recognise_s = max(max(each.timeout, _PATIENT_S) + _longest_s(each) for each in self.variants)
        return total + len(self.units) * len(self.known) * recognise_s

    async def run(self, clock: Clock, told: Callable[[str], None]) -> Sequence[Found]:
        """Try the settings until a unit answers; recognise those that do. Raises `ConnectionDown`."""
        for number, settings in enumerate(self.variants, 1):
            if len(self.variants) > 1:
                told(f"{number}/{len(self.variants)}: {_name(settings)}")
            try:
                async with _open(settings, clock) as link:
                    found = await self._at(link, settings, clock, told)
            except termios.error:
                told(f"{_name(settings)}: this port cannot be set so; left out")
                continue
            if found:
                return found
        return ()

    async def _at(
        self, link: PolledLink, settings: ModbusSettings, clock: Clock, told: Callable[[str], None]
    ) -> list[Found]:
        found: list[Found] = []
        for number, unit in enumerate(self.units, 1):
            try:
                each = await self._unit(link, settings, unit, clock, told)
            except ConnectionDown as down:
                if not found:
                    raise
                told(f"unit {unit} and those after it were not asked: {down}")
                break
            if each:
                told(f"unit {unit} {each.how}" + (f": {', '.join(each.profiles)}" if each.profiles else ""))
                found.append(each)
            if number % _SAY_EACH == 0 and number < len(self.units):
                told(f"{number} of {len(self.units)} units asked, {len(found)} answered")
        return found

    async def _unit(
        self, link: PolledLink, settings: ModbusSettings, unit: int, clock: Clock, told: Callable[[str], None]
    ) -> Found | None:
        began_s, broken = clock.mono_s(), link.tally.bad_frames
        late = link.tally.detail.get("late", 0)
        answer = await read_range(link, range_request(settings, unit, "holding", 0, 1), settings.timeout)
        response_s = clock.mono_s() - began_s
        if not answer.answered:
            if link.tally.detail.get("late", 0) > late:
                told(
                    f"unit {unit}: what came answers an earlier request: this gateway needs more than "
                    f"{settings.timeout:g} s, and devices may be missed; scan anew with a longer --timeout"
                )
            elif link.tally.bad_frames > broken:
                told(f"unit {unit}: something comes back that is no answer: {answer.said}")
                self.garbled.append(f"{_name(settings)} unit {unit}")
            return None
        how = "answers" if answer.values is not None else f"answers with {_exception(answer.said)}"
        line: dict[str, str | int] = {}
        if isinstance(settings, RtuSettings):
            line = {"baudrate": settings.baudrate, "parity": settings.parity}
        profiles = tuple([name for name in self.known if await self._is(link, settings, unit, name)])
        return Found({"unit_id": unit}, line, how, response_s, profiles)

    async def _is(self, link: PolledLink, settings: ModbusSettings, unit: int, profile: str) -> bool:
        """Whether the unit shows all that the profile's fingerprint names."""
        rows = self.known[profile][1]
        for row in rows:
            request = range_request(settings, unit, row.register, row.address, row.width)
            answer = await read_range(link, request, settings.timeout)
            if not answer.answered or not row.fits(answer.values):
                return False
        return bool(rows)


def scan(settings: ModbusSettings, wish: ScanWish, known: Known) -> ModbusScan:
    """What a wish means on this kind of connection. Raises ValueError where it cannot be."""
    units = tuple(wish.units) or UNITS
    if wrong := [unit for unit in units if not 0 <= unit <= 255]:
        raise ValueError(f"there is no unit id {wrong[0]}; they go from 1 to 247 (0 and 248 to 255 on TCP only)")
    serial = isinstance(settings, RtuSettings)
    if not serial and (wish.baudrates or wish.parities):
        raise ValueError("baud rate and parity belong to the serial server behind the network; set them there")
    default_s = TCP_TIMEOUT_S if isinstance(settings, TcpSettings) else SERIAL_TIMEOUT_S
    said = wish.fixed and "timeout" in settings.model_fields_set
    timeout_s = wish.timeout_s or (settings.timeout if said else default_s)
    settings = settings.model_copy(update={"timeout": timeout_s})
    if not isinstance(settings, RtuSettings):
        return ModbusScan([settings], units, known)
    if 0 in units:
        raise ValueError("unit id 0 speaks to all devices of a serial line at once; scan from 1")
    own = (settings.baudrate,) if wish.fixed else BAUDRATES
    own_parity = (settings.parity,) if wish.fixed else PARITIES
    variants = [
        RtuSettings.model_validate(settings.model_dump() | {"baudrate": baudrate, "parity": parity})
        for baudrate in wish.baudrates or own
        for parity in wish.parities or own_parity
    ]
    return ModbusScan(variants, units, known)


@contextlib.asynccontextmanager
async def _open(settings: ModbusSettings, clock: Clock) -> AsyncIterator[PolledLink]:
    """The daemon's own connection; imported here because its driver names this module."""
    from drivers.modbus.connection import open_connection

    patient = settings.model_copy(update={"timeout": max(settings.timeout, _PATIENT_S)})
    async with open_connection("scan", patient, (), clock) as link:
        yield link


def _exception(said: str) -> str:
    """`exception 0x02`, of the connection's message; it is an answer as good as any here."""
    found = re.search(r"exception 0x[0-9a-f]{2}", said)
    return found[0] if found else "an exception"


def _longest_s(settings: ModbusSettings) -> float:
    """What a unit that does not answer costs."""
    request = range_request(settings, 1, "holding", 0, 1)
    waited_s = settings.timeout
    if isinstance(settings, TcpSettings):  # its gateway may still wait for the one before
        waited_s = max(waited_s, _PATIENT_S)
    return waited_s + request.wire_s + line_of(settings).silence_s


def _name(settings: ModbusSettings) -> str:
    if isinstance(settings, RtuSettings):
        return f"{settings.baudrate} baud 8{settings.parity}{settings.stopbits}"
    return f"{settings.host}:{settings.port}"


def _names(variants: Sequence[RtuSettings]) -> str:
    rates = list(dict.fromkeys(str(each.baudrate) for each in variants))
    parities = list(dict.fromkeys(each.parity for each in variants))
    several = f" ({len(variants)} settings)" if len(variants) > 1 else ""
    return f"{'/'.join(rates)} baud, parity {'/'.join(parities)}{several}"


def _units(units: Sequence[int]) -> str:
    if len(units) == 1:
        return f"unit {units[0]}"
    if list(units) == list(range(units[0], units[-1] + 1)):
        return f"units {units[0]}-{units[-1]}"
    return f"{len(units)} units"


def describe(request: ReadRequest) -> Mapping[str, str | int]:
    """What a planned request asks for."""
    return {
        "unit": request.unit_id,
        "table": request.table,
        "address": request.address,
        "count": request.count,
    }
