"""A changed rule and a proposed limit on what a real log of readings holds, from a terminal."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest

from edge.__main__ import main
from edge.store.readings import open_readings

START_S = 1_767_225_600
SITE = """
site: {id: s, name: S, timezone: Asia/Shanghai}
connections: {pump-room: {type: modbus-tcp, host: 127.0.0.1}}
equipment:
  pump-1: {profile: pump/generic-vfd-booster, connection: pump-room, unit_id: 1}
rules:
  both:
    {code: S-1, name: {zh: 试, en: Test}, advice: {zh: 看, en: Look}, priority: low, equipment: pump-1,
     point: pump-1.bearing_temperature, above: 100}
"""


async def record(path: Path) -> None:
    """Six hours of a pump: a bearing that goes up and down, twice over 80 °C, once only for a minute."""
    async with open_readings(path) as store:
        for second in range(0, 6 * 3600, 10):
            value = round(60 + 10 * math.sin(second / 1200), 1)
            value = 86.0 if 7200 <= second < 7800 else 81.0 if 14_400 <= second < 14_460 else value
            store.append("pump-1", ("bearing_temperature",), (value,), None, (START_S + second) * 10**9)
        await store.flush()


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """A site, and what was recorded of it."""
    (tmp_path / "site.yaml").write_text(SITE, encoding="utf-8")
    asyncio.run(record(tmp_path / "readings.db"))
    return ["--state", str(tmp_path), "--config", str(tmp_path / "site.yaml"), *span(0, 6 * 3600)]


def span(begin: float, end: float) -> list[str]:
    return ["--from", str(START_S + begin), "--to", str(START_S + end)]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["alarms", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_which_alarms_would_have_come_gone_and_moved(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, "backtest", "pump-1.bearing_hot", *place, "--set", "on_delay=2m")
    assert [each["raised"] for each in told["gone"]] == ["2026-01-01T12:00:30+08:00"]
    (moved,) = told["moved"]
    assert (moved["was"]["raised"][11:19], moved["now"]["raised"][11:19]) == ("10:00:30", "10:02:00")
    assert (told["came"], told["same"]) == ([], [])

    told = run(capsys, "backtest", "pump-1.bearing_hot", *place, "--set", "above=68", "--set", "deadband=1")
    assert len(told["came"]) >= 2


def test_the_table_says_it_in_a_line(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alarms", "backtest", "pump-1.bearing_*", *place, "--set", "on_delay=2m", "--lang", "en"]) == 0
    out = capsys.readouterr().out
    assert "moved\tpump-1.bearing_hot\t2026-01-01T10:02:00+08:00" in out
    assert "present rule: 2  changed rule: 1  (came 0, gone 1, moved 1, same 0)" in out


def test_a_file_changes_rules_of_the_site_too(
    place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = tmp_path / "changes.yaml"
    changes.write_text("pump-1.both: {above: 84}\n", encoding="utf-8")
    told = run(capsys, "backtest", "pump-1.both", *place, "--file", str(changes))
    assert len(told["came"]) == 1

    changes.write_text("pump-1.both: {abov: 84}\n", encoding="utf-8")
    assert main(["alarms", "backtest", "pump-1.both", *place, "--file", str(changes)]) == 1
    assert "changes.yaml:1:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rule", "setting", "code", "said"),
    [
        ("pump-1.bearing_hott", "above=70", 2, "did you mean pump-1.bearing_hot?"),
        ("pump-1.bearing_hot", "abov=70", 1, "unknown key; did you mean above?"),
        ("pump-1.bearing_hot", "above=900", 1, "never passes"),
        ("connection:pump-room.line_offline", "on_delay=70s", 2, "does not look at readings"),
    ],
)
def test_what_cannot_be_tried_is_told_in_a_line(
    place: list[str], rule: str, setting: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alarms", "backtest", rule, *place, "--set", setting]) == code
    assert said in capsys.readouterr().err


def test_a_limit_is_proposed_with_what_it_would_have_given(
    place: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, "propose", "pump-1.bearing_temperature", *place, "--side", "above")
    (proposal,) = told["proposals"]
    assert proposal["above"] > 86
    assert proposal["alarms"] == 0
    assert told["quantiles"]["50%"] == pytest.approx(60, abs=2)
    assert told["known_share"] == pytest.approx(1, abs=0.01)
    present = {each["alarm"]: each["alarms"] for each in told["present"]}
    assert present["pump-1.bearing_hot"] == 2

    assert main(["alarms", "propose", "pump-1.bearing_temperature", *place, "--lang", "zh"]) == 0
    assert "请对照设备资料" in capsys.readouterr().out


def test_a_span_without_readings_is_told(place: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    where = [*place[:4], *span(-9000, -8000)]
    assert main(["alarms", "propose", "pump-1.bearing_temperature", *where]) == 1
    assert "nothing usable" in capsys.readouterr().err
