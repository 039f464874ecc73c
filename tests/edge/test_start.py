"""A daemon that was killed is back soon: nothing is loaded before the first poll that can come after it."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATE = ("httpx", "fastapi", "uvicorn", "prometheus_client", "edge.cli", "edge.console.api", "edge.demo", "simulators")
LOADED = """
import sys
from edge.__main__ import parser
assert parser("run").parse_args(["run", "--config", "s", "--state", "d"]).command == "run"
import edge.app
print(*(name for name in sys.argv[1:] if name in sys.modules))
"""


def test_neither_the_console_nor_other_commands_are_loaded_before_a_daemon_runs() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *LATE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("asked", [None, "status", "rnu", "--help"])
def test_all_commands_are_there_for_whoever_asks_for_anything_else(asked: str | None) -> None:
    from edge.__main__ import parser

    said = parser(asked).format_help()
    assert all(name in said for name in ("run", "status", "backup", "scan"))
