"""The unit file, judged by the real systemd-analyze."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.data import SYSTEMD
from tests.support import need

UNIT = SYSTEMD / "courtyard.service"
EXPOSURE = 2.0
"""Below this."""


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = need("systemd-analyze", "systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)


def settings() -> dict[str, list[str]]:
    """All `Key=value` of the unit, repeated keys in order."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.service
def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    here = shutil.which("true")
    assert here is not None
    # Only the daemon itself is not installed here; any program stands for it.
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/courtyard/bin/courtyard", here), encoding="utf-8")
    judged = analyze("verify", "--man=no", str(copy))
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


@pytest.mark.service
def test_the_exposure_of_the_unit_is_low() -> None:
    judged = analyze("security", "--offline=true", "--no-pager", f"--threshold={round(EXPOSURE * 10)}", str(UNIT))
    level = re.search(r"Overall exposure level for courtyard\.service: (\d+\.\d+)", judged.stdout)
    assert level is not None, judged.stderr
    assert float(level[1]) < EXPOSURE
    assert judged.returncode == 0


def test_the_unit_is_watched_and_always_comes_back() -> None:
    unit = settings()
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert int(unit["WatchdogSec"][0]) > 0
    assert int(unit["TimeoutStopSec"][0]) > 5  # what the daemon itself allows itself


def test_the_serial_ports_stay_reachable() -> None:
    unit = settings()
    assert "PrivateDevices" not in unit
    assert {allowed.split()[0] for allowed in unit["DeviceAllow"]} == {
        "char-ttyUSB",
        "char-ttyACM",
        "char-ttyAMA",
        "char-ttyS",
    }
    assert unit["SupplementaryGroups"] == ["dialout"]


def test_every_key_stands_in_a_section_that_systemd_knows() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.read(UNIT, encoding="utf-8")
    assert parser.sections() == ["Unit", "Service", "Install"]
