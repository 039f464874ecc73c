"""Where the files that travel with Courtyard lie: beside the packages in a checkout, inside `edge` in a wheel."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    packed = _HERE / "_data" / name
    return packed if packed.is_dir() else _HERE.parent / name


CONFIG = _folder("config")
PROFILES = CONFIG / "profiles"
SCENARIOS = _HERE.parent / "simulators" / "scenarios"
SYSTEMD = _folder("systemd")
