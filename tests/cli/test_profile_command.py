"""The profile library from a terminal, without a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.data import PROFILES
from tests.cli.conftest import Run

PUMP = """\
profile: pump/acme-p1
name: {zh: 水泵, en: Pump}
protocol: modbus
source: ACME P1 manual, p. 12
points:
  pressure: {name: {zh: 压力, en: Pressure}, unit: MPa, register: input, address: 0, scale: 0.001}
alarms:
  low: {code: P-01, name: {zh: 低, en: Low}, advice: {zh: 看, en: Look}, priority: high, point: pressure, below: 1}
"""


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words in English whatever the shell speaks."""
    monkeypatch.setenv("LC_ALL", "en_GB.UTF-8")


def own(folder: Path, text: str) -> Path:
    """A profile file of one's own."""
    path = folder / "pump" / "acme-p1.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_list_names_all_profiles_and_says_which_are_synthetic(run: Run) -> None:
    code, out, err = run("profile", "list")
    assert (code, err) == (0, "")
    lines = {line.split("\t")[0]: line for line in out.splitlines()[1:]}
    assert set(lines) == {f"{path.parent.name}/{path.stem}" for path in PROFILES.glob("*/*.yaml")}
    assert "synthetic profile" in lines["pump/generic-vfd-booster"]
    assert "synthetic" not in lines["meter/eastron-sdm630"]


def test_list_of_one_class_as_json(run: Run) -> None:
    rows = json.loads(run("profile", "list", "--class", "pump", "--json")[1])
    assert {row["class"] for row in rows} == {"pump"}
    assert all(row["synthetic"] == ("synthetic" in row["source"]) for row in rows)


def test_show_has_the_points_as_on_the_sheet(run: Run, tmp_path: Path) -> None:
    own(tmp_path, PUMP)
    code, out, _ = run("profile", "show", "pump/acme-p1", "--profiles", str(tmp_path), "--lang", "zh")
    assert code == 0
    assert "ACME P1 manual, p. 12" in out
    assert "pressure\t压力\tMPa\tregister=input address=0 scale=0.001" in out
    assert "alarms: low" in out


def test_show_of_a_synthetic_profile_says_so_plainly(run: Run) -> None:
    out = run("profile", "show", "elevator/generic-controller")[1]
    assert "! synthetic profile, no vendor's register map" in out


def test_show_of_none(run: Run) -> None:
    code, out, err = run("profile", "show", "pump/none")
    assert (code, out) == (2, "")
    assert "profile list" in err


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_our_own_profiles_pass_the_check(run: Run, path: Path) -> None:
    assert run("profile", "check", str(path)) == (0, "1 checked: all well\n", "")


def test_check_places_every_mistake_those_of_rules_too(run: Run, tmp_path: Path) -> None:
    path = own(tmp_path, PUMP)
    assert run("profile", "check", str(path))[0] == 0
    own(tmp_path, PUMP.replace("below: 1", "belwo: 1").replace("priority: high", "priority: hihg"))
    code, out, err = run("profile", "check", str(path))
    assert (code, out) == (1, "")
    assert f"{path}:8:" in err
    assert len(err.splitlines()) >= 2
    found = json.loads(run("profile", "check", str(path), "--json")[1])
    assert found["ok"] is False
    assert {fault["line"] for fault in found["faults"]} == {8}


def test_check_of_a_file_that_is_not_there(run: Run, tmp_path: Path) -> None:
    code, _, err = run("profile", "check", str(tmp_path / "none.yaml"))
    assert code == 1
    assert "cannot be read" in err


def test_a_broken_profile_does_not_hide_the_others(run: Run, tmp_path: Path) -> None:
    own(tmp_path, "profile: [")
    code, out, err = run("profile", "list", "--profiles", str(tmp_path))
    assert code == 1
    assert "meter/eastron-sdm630" in out
    assert "acme-p1.yaml" in err
    assert run("profile", "list", "--profiles", str(tmp_path / "none"))[0] == 2
