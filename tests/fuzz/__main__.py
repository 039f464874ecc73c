"""`make fuzz`: a million frames against the Modbus path, and the other inputs; `make fuzz ARGS="100000 7"` for less.

Arguments: number of Modbus frames (default 1,000,000), seed (default: by the time, and printed). Ends with exit code
1 and the exchange that went wrong. Where atheris is installed, its coverage looks for more in the gates and parsers.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.files import fuzz_files
from tests.fuzz.gates import Outcome, fuzz_gate
from tests.fuzz.parsers import fuzz_contact_id, fuzz_dc09, fuzz_payloads
from tests.fuzz.several import fuzz_several
from tests.fuzz.wires import Lies, fuzz_pty, fuzz_sockets, fuzz_virtual

MILLION = 1_000_000


def main(arguments: list[str]) -> int:
    """Everything, one after the other."""
    frames = int(arguments[0]) if arguments else MILLION
    seed = int(arguments[1]) if len(arguments) > 1 else int(time.time())
    print(f"seed {seed}; again by: make fuzz ARGS='{frames} {seed}'\n")
    print(f"{'':26}{'frames':>10} {'a second':>9} {'accepted':>9} {'memory':>9}")
    gate, link, real = frames * 3 // 10, frames * 2 // 10, max(200, frames // 1000)
    _row("gate, TCP", lambda: fuzz_gate(gate, seed, over_tcp=True))
    _row("gate, RTU", lambda: fuzz_gate(gate, seed, over_tcp=False))
    _row("gate, TCP, several out", lambda: fuzz_several(gate, seed))
    _row("link, TCP", lambda: fuzz_virtual(link, seed, over_tcp=True))
    _row("link, RTU", lambda: fuzz_virtual(link, seed, over_tcp=False))
    _row("sockets, TCP", lambda: asyncio.run(fuzz_sockets(real, seed, over_tcp=True)))
    _row("sockets, RTU over TCP", lambda: asyncio.run(fuzz_sockets(real, seed, over_tcp=False)))
    _row("pseudo-terminal, RTU", lambda: asyncio.run(fuzz_pty(real, seed)))
    print("each accepted frame was the true answer to its request; nothing else was raised or kept\n")
    for fuzz in (fuzz_dc09, fuzz_contact_id, fuzz_payloads):
        print(f"{fuzz.__name__.removeprefix('fuzz_'):26}{_counts(fuzz(max(100, frames // 20), seed))}")
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'site files and profiles':26}{_counts(fuzz_files(max(50, frames // 500), seed, Path(folder)))}")
    return 0


def _row(name: str, campaign: Callable[[], Outcome | Lies]) -> None:
    began = time.perf_counter()
    done = campaign()
    rate = done.frames / (time.perf_counter() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:26}{done.frames:>10,} {rate:>9,.0f} {done.accepted:>9,} {memory:>6.0f} MB", flush=True)
    print(f"{'':26}{_counts(done.kinds)}", flush=True)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if name != "|")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except AssertionError as error:
        print(f"\nwrong: {error}", file=sys.stderr)
        sys.exit(1)
