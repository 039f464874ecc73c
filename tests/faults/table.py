"""One line for each fault: how often it was done, and what was counted at both ends."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One kind of fault, done many times."""

    name: str
    times: int
    counted: tuple[tuple[str, str], ...]
    """What was counted, and what was found."""
    well: bool
    """Whether all that is promised was kept."""


def show(fault: Fault) -> None:
    """Print one fault, a line for each count."""
    print(f"{fault.name} · {fault.times} times · {'kept' if fault.well else 'NOT KEPT'}")
    width = max(len(what) for what, _ in fault.counted)
    for what, found in fault.counted:
        print(f"  {what:{width}}  {found}")
    print(flush=True)
