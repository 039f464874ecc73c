"""Incidents, their evidence and the figures of the alarms from a terminal."""

from __future__ import annotations

import json

from tests.cli.conftest import Daemon, Run


def test_incidents_come_before_their_alarms(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("alarms")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith("incident\tpriority\tstate")
    assert lines[1].startswith("INC-000001\tcritical\topen\tPassenger trapped")
    assert any(line.startswith("elevator-3.trapped\tcritical") for line in lines)
    code, out, _ = run("alarms", "list", "--json")
    assert json.loads(out)[0]["id"] == "elevator-3.trapped"


def test_an_incident_is_acknowledged_by_its_id(daemon: Daemon, run: Run) -> None:
    assert run("alarms", "ack", "INC-000001", "--who", "li")[:2] == (
        0, "INC-000001: acknowledged (Passenger trapped)\n",
    )  # fmt: skip
    code, _, error = run("alarms", "ack", "INC-000001", "--who", "li")
    assert code == 1
    assert "there is nothing to acknowledge" in error


def test_evidence_says_who_and_when_in_the_communitys_time(daemon: Daemon, run: Run) -> None:
    assert run("alarms", "onsite", "INC-000001", "--who", "zhang")[0] == 0
    code, out, _ = run("alarms", "evidence", "INC-000001")
    assert code == 0
    assert out.startswith("Incident INC-000001 · Passenger trapped\n")
    assert "First out: Passenger trapped (elevator-3.trapped)" in out
    assert "+08:00\tOn site  zhang" in out
    assert run("alarms", "evidence", "INC-000001", "--lang", "zh")[1].startswith("事件 INC-000001 · 电梯困人")
    assert run("alarms", "evidence", "INC-000077")[0] == 2
    assert json.loads(run("alarms", "evidence", "INC-000001", "--json")[1])["onsite_by"] == "zhang"


def test_figures_stand_beside_what_is_recommended(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("alarms", "kpi", "--month", "2026-02")
    assert code == 0
    assert "Chattering alarms\t0\t0\t✓" in out
    assert "bin-4.full\tFull\tlow\t7\t70 %" in out
    assert "bin-4.full\tFull\t7\tSuggested: off_delay: 30s" in out
    assert "平均每 10 分钟" in run("alarms", "kpi", "--lang", "zh")[1]
    assert json.loads(run("alarms", "kpi", "--json")[1])["incidents"] == 3
    assert run("alarms", "kpi", "--month", "2026-02", "--from", "2026-02-01")[0] == 2
    assert run("alarms", "kpi", "--month", "February")[0] == 1


def test_the_journal_reads_as_a_timeline(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("alarms", "journal", "--as", "timeline")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split("\t")[0] == "since"
    assert lines[1].startswith("+0.0 s\talarm\traised")
