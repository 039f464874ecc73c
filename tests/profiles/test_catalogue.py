"""The catalogue of alarms in docs is what the profiles say today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.__main__ import main

PAGE = Path(__file__).parents[2] / "docs" / "alarm-catalogue.md"


def test_the_catalogue_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "catalogue"]) == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8"), (
        "write it anew: courtyard profile catalogue --output docs/alarm-catalogue.md"
    )


def test_the_catalogue_has_every_alarm_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "catalogue", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)

    assert {"LIFT-01", "WPMP-07", "FIRE-05", "BIN-02", "PWR-03", "PERI-06", *(f"GW-0{n}" for n in range(1, 9))} <= {
        r["code"] for r in rows
    }
    for row in rows:
        for key in ("name", "advice"):
            assert row[key]["zh"]
            assert row[key]["en"]


def test_one_code_means_one_thing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "catalogue", "--json"]) == 0
    names: dict[str, set[str]] = {}
    for row in json.loads(capsys.readouterr().out):
        names.setdefault(row["code"], set()).add(row["name"]["en"])

    assert {code: each for code, each in names.items() if len(each) > 1} == {}
