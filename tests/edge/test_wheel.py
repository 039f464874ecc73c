"""The wheel carries all that Courtyard needs to run in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built and unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("courtyard_edge-*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What is on PYTHONPATH goes before the checkout that this environment may have installed.
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_data_and_unit_travel_in_it(unpacked: Path, tmp_path: Path) -> None:
    script = "import edge.data as d; print(d.PROFILES); print(d.SYSTEMD / 'courtyard.service'); print(d.SCENARIOS)"
    found = [Path(line) for line in run(unpacked, tmp_path, "-c", script).stdout.splitlines()]
    assert len(found) == 3
    for path in found:
        assert path.is_relative_to(unpacked)
        assert path.exists()


def test_nothing_but_the_three_packages_goes_into_the_environment(unpacked: Path) -> None:
    assert sorted(p.name for p in unpacked.iterdir() if not p.name.endswith(".dist-info")) == [
        "drivers",
        "edge",
        "simulators",
    ]


def test_the_demo_runs_from_it(unpacked: Path, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    done = run(unpacked, tmp_path, "-m", "edge", "demo", "--for", "8s", "--port", "0", "--state", state)
    assert (done.returncode, done.stderr) == (0, "")
    assert "354/354 points good" in done.stdout
