"""`make faults`: every `fault_*.py` beside this file, or those named: `python -m tests.faults kill9 powercut`.

A number among the names is how often each is done (default 200). Ends with exit code 1 where a promise was not kept.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.faults.table import Fault, show

HERE = Path(__file__).parent
TIMES = 200


def main(words: list[str]) -> int:
    """Run the named faults, or all."""
    known = [path.stem.removeprefix("fault_") for path in sorted(HERE.glob("fault_*.py"))]
    times = next((int(word) for word in words if word.isdigit()), TIMES)
    names = [word for word in words if not word.isdigit()]
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no fault {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    well = True
    for name in names or known:
        faults: list[Fault] = importlib.import_module(f"tests.faults.fault_{name}").run(times)
        for fault in faults:
            show(fault)
            well = well and fault.well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
