"""`courtyard scan`: which addresses answer on a line, how it is set, what the devices look like.

The result goes to standard output with lines for the site file; progress and the worst case to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from drivers.driver import ConnectionDown, Found, Scan, ScanWish
from drivers.profile import Library
from drivers.units import parse_seconds
from edge import loop
from edge.cli.command import (
    OK,
    UNREACHABLE,
    USAGE,
    Ended,
    Subparsers,
    as_json,
    clean,
    command,
    options,
    print_json,
    print_table,
)
from edge.cli.line import Line, argument, line_of, refuse_if_owned
from edge.clock import SystemClock
from edge.data import PROFILES


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "scan", help="which devices answer on a line, and what they look like",
        epilog="exit code: 0 somebody answers, 3 nobody does or the line cannot be opened",
    )  # fmt: skip
    argument(parser)
    parser.add_argument("--units", type=numbers, default=(), metavar="1-32", help="addresses (default: 1-32)")
    parser.add_argument("--baud", type=numbers, default=(), metavar="9600,19200", help="only these baud rates")
    parser.add_argument("--parity", type=parities, default=(), metavar="N,E,O", help="only these parities")
    parser.add_argument(
        "--timeout", type=_seconds, default=None, metavar="DURATION", help="how long an address may take to answer"
    )
    parser.add_argument("--profiles", type=Path, default=None, metavar="DIR", help="a folder of your own profiles")
    options(parser)
    parser.set_defaults(act=_scan)


def numbers(text: str) -> tuple[int, ...]:
    """`1-32`, `1,2,7` or both."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or not (last or first).isdigit() or int(last or first) - int(first) not in range(256):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers; write like 1-32 or 1,2,7")
        found += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(found))


def parities(text: str) -> tuple[str, ...]:
    """`N,E,O`, some of them."""
    found = tuple(part.strip().upper() for part in text.split(","))
    if not set(found) <= {"N", "E", "O"}:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of parities; write N, E, O or some of them")
    return found


def _seconds(text: str) -> float:
    try:
        return parse_seconds(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@command
def _scan(arguments: argparse.Namespace) -> int:
    line = line_of(arguments)
    if line.driver.scan is None:
        raise Ended(USAGE, f"devices of type {line.settings.type} speak by themselves; there is nothing to scan")
    refuse_if_owned(arguments, line)
    wish = ScanWish(arguments.units, arguments.baud, arguments.parity, arguments.timeout, fixed=line.fixed)
    try:
        scan = line.driver.scan(line.settings, wish, _fingerprints(line, arguments.profiles))
    except ValueError as error:
        raise Ended(USAGE, str(error)) from None
    _tell(f"{arguments.line}: {scan.what}; at most {_span(scan.worst_s)}")
    clock = SystemClock()
    began_s = clock.mono_s()
    found = _run(scan, clock, arguments.line)
    _tell(f"done in {_span(clock.mono_s() - began_s)}: {len(found)} answer")
    if as_json(arguments):
        print_json([_row(line, each) for each in found])
    elif found:
        _show(line, found)
    _missing(line, wish.units, found)
    return OK if found else UNREACHABLE


def _run(scan: Scan, clock: SystemClock, text: str) -> Sequence[Found]:
    try:
        return loop.run(scan.run(clock, lambda said: _tell(f"  {said}")))
    except ConnectionDown as down:
        hint = "; if it is the daemon that uses it, stop that first" if "in use" in str(down) else ""
        raise Ended(UNREACHABLE, f"{text} is not scanned: {down}{hint}") from None


def _fingerprints(line: Line, own: Path | None) -> dict[str, tuple[Any, Sequence[Any]]]:
    """The profiles that can be recognised on this line, those of a folder of one's own and of the site included."""
    library = Library([PROFILES, *([own] if own else [])])
    profiles = {name: library.get(name)[0] for name in library.ids()}
    if line.site is not None:
        profiles |= {each.profile.id: each.profile for each in line.site.equipment.values()}
    return {
        name: (each.options, each.fingerprint)
        for name, each in sorted(profiles.items())
        if each is not None and each.protocol == line.driver.protocol and each.fingerprint
    }


def _known(line: Line, found: Found) -> list[str]:
    """The equipment of the site file at an address."""
    if line.site is None or not line.fixed:
        return []
    devices = line.site.connections[line.name].devices
    return [each.id for each in devices
            if all(getattr(each.address, key, None) == value for key, value in found.keys.items())]  # fmt: skip


def _row(line: Line, found: Found) -> dict[str, Any]:
    return {
        **found.keys, **found.line, "answer": found.how, "response_ms": round(found.response_s * 1000, 1),
        "profiles": list(found.profiles), "equipment": _known(line, found),
    }  # fmt: skip


def _show(line: Line, found: Sequence[Found]) -> None:
    """What was found, then what of it belongs into the site file."""
    head = (*found[0].keys, *found[0].line, "ms", "answer", "looks like", "in the site file")
    rows = (
        (
            *each.keys.values(), *each.line.values(), f"{each.response_s * 1000:.0f}", each.how,
            ", ".join(each.profiles), ", ".join(_known(line, each)),
        )
        for each in found
    )  # fmt: skip
    print_table("", head, rows)
    new = [each for each in found if not _known(line, each)]
    if not new and line.fixed:
        return
    print()
    if not line.fixed:
        keys = line.settings.model_dump(by_alias=True, exclude_unset=True) | dict(found[0].line)
        print(f"connections:\n  {line.name}: {_flow(keys.items())}")
    print("equipment:")
    for each in (each for each in new if each.profiles):
        print(f"  {_site_line(line, each)}")
    unknown = [each for each in new if not each.profiles]
    if unknown:
        print("  # no fingerprint fits these; choose a profile for each (courtyard profile list)")
    for each in unknown:
        print(f"  # {_site_line(line, each)}")


def _site_line(line: Line, found: Found) -> str:
    """One equipment as it stands in a site file."""
    first, *others = found.profiles or ("CLASS/MODEL",)
    kind = first.partition("/")[0] if found.profiles else "device"
    number = "-".join(str(value) for value in found.keys.values())
    keys = _flow([("profile", first), ("connection", line.name), *found.keys.items()])
    return f"{kind}-{number}: {keys}" + (f"  # or {', '.join(others)}" if others else "")


def _flow(pairs: Iterable[tuple[str, object]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


def _missing(line: Line, units: Sequence[int], found: Sequence[Found]) -> None:
    """Equipment of the site file that was asked and did not answer."""
    if line.site is None or not line.fixed:
        return
    there = {name for each in found for name in _known(line, each)}
    away = [each.id for each in line.site.connections[line.name].devices if each.id not in there]
    if away:
        asked = "was not asked or did not answer" if units else "did not answer"
        _tell(f"{', '.join(away)} of the site file {asked}")


def _tell(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
