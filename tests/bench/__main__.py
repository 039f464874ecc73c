"""`make bench`: runs every `bench_*.py` beside this file, or those named: `make bench ARGS="store alarms"`.

Each prints a table with the limit measured in the same run beside the figure: ratios travel from machine to
machine, seconds do not.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    files = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    unknown = [name for name in names if name not in files]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(files)}", file=sys.stderr)
        return 2
    for name in names or files:
        print(f"== {name}")
        runpy.run_path(str(files[name]), run_name="__main__")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
