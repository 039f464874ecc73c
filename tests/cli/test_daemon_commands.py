"""Commands that ask a running daemon, against a console on loopback."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Daemon, Run
from tests.support import free_port


def test_status_shows_everything_at_a_glance(daemon: Daemon, run: Run) -> None:
    code, out, err = run("status")
    assert (code, err) == (0, "")
    assert "枫林小区 (maple-garden): the gateway is working" in out
    assert "elevator-3.trapped\tcritical\tunacknowledged\tPassenger trapped" in out
    assert "pump\t3\t1\t1" in out
    assert "pump-room\tmodbus-rtu\tup\t71%\t74%\t212\t3\t0\t6\tpump-1 40%\t" in out
    assert "pump-2\tpump-room\tsilent\t20%\t3%\t212\t0\t0\tunit 2 does not answer" in out
    assert "sump-1\tpump-room\tanswering\t13%\t31%\t0\t3\t0\tunit 11 answers with exception 0x02" in out
    assert "pump-1\tpump-room" not in out
    shares = "pump-1 40% (planned 38%), sump-1 31% (planned 13%), pump-2 3% (planned 20%)"
    assert f"pump-room: of this bus take {shares}\n" in out
    assert "10.0.0.7:502 refuses the connection" in out
    assert "north\tmqtt\tdown\t5412\t20113\t0.0\t4\tbroker.example.org does not answer" in out
    assert "cloud\tinfluxdb\tup\t1\t12\t41.5\t2\trejected: 422: field type conflict" in out
    assert "WO-000004" not in out  # verified: nothing left to do
    assert "12.3 MB" in out
    assert "packed 5, light 7" in out


def test_status_in_chinese_and_with_the_reasons_of_bad_health(daemon: Daemon, run: Run) -> None:
    daemon.desk.faults.append("readings store: disk full")
    code, out, _ = run("status", "--lang", "zh")
    assert code == 0
    assert "网关有故障: readings store: disk full" in out
    assert "电梯困人" in out
    assert "pump-room: 线路占用 pump-1 40% (计划 38%)" in out


def test_status_as_json(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("status", "--json")
    found = json.loads(out)
    assert code == 0
    lists = {"equipment", "incidents", "alarms", "orders", "connections", "uplinks"}
    assert set(found) == {"site", "health", "storage", *lists}


@pytest.mark.parametrize(
    ("point", "code", "words"),
    [
        ("pump-1.outlet_pressure", 0, "0.421 MPa\tgood"),
        ("elevator-1.door", 0, "open\tgood"),
        ("elevator-2.speed", 0, "1.74823 m/s\t! uncertain stale"),
        ("bin-2.temperature", 1, "-\t! bad sensor fault"),
        ("pump-3.running", 3, "-\t! bad no answer"),
    ],
)
def test_read_says_how_far_a_value_may_be_trusted(
    daemon: Daemon, run: Run, point: str, code: int, words: str
) -> None:
    got, out, err = run("read", point)
    assert (got, err) == (code, "")
    assert f"{point}\t{words}" in out


def test_read_of_a_point_that_there_is_not(daemon: Daemon, run: Run) -> None:
    code, out, err = run("read", "no.such/one")
    assert (code, out) == (2, "")
    assert err == "courtyard: there is no point 'no.such/one'\n"


def test_write_is_read_back(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("write", "light-1.on", "off", "--reason", "dawn", "--who", "王师傅")
    assert (code, out) == (0, "light-1.on: True -> False (done)\n")
    assert daemon.desk.asked == [("write", "light-1.on", False, "王师傅", "dawn")]


@pytest.mark.parametrize(
    ("text", "value"), [("on", True), ("7", 7), ("-0.5", -0.5), ("auto", "auto"), ("nan", "nan")]
)
def test_a_typed_value_becomes_what_it_looks_like(daemon: Daemon, run: Run, text: str, value: object) -> None:
    # `--` as for any program: a negative number is no option.
    assert run("write", "--reason", "try", "--who", "a", "--", "light-1.on", text)[0] == 0
    assert daemon.desk.asked[0][2] == value
    assert type(daemon.desk.asked[0][2]) is type(value)


@pytest.mark.parametrize(
    ("point", "code", "words"),
    [("pump-1.running", 1, "not writable"), ("no.such", 2, "no point"), ("light-9.on", 3, "does not answer")],
)
def test_a_refused_write_says_why_in_one_line(daemon: Daemon, run: Run, point: str, code: int, words: str) -> None:
    got, out, err = run("write", point, "on", "--reason", "try")
    assert (got, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_command_for_a_time_says_when_it_returns_and_a_wrong_time_is_bad_usage(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("write", "light-1.on", "on", "--reason", "repair", "--who", "li", "--for", "1h30m")
    assert code == 0
    assert out.startswith("light-1.on: True -> True (done), returns to True at ")
    assert daemon.desk.asked == [("write", "light-1.on", True, "li", "repair", 5400.0)]
    code, _, err = run("write", "light-1.on", "on", "--reason", "repair", "--for", "soon")
    assert code == 2
    assert "'soon' is no duration; write it like" in err
    assert len(daemon.desk.asked) == 1


def test_write_without_a_reason_is_bad_usage(daemon: Daemon, run: Run) -> None:
    code, _, err = run("write", "light-1.on", "off")
    assert code == 2
    assert "--reason" in err


def test_the_alarm_desk(daemon: Daemon, run: Run) -> None:
    assert "bin-4.full" in run("alarms")[1]
    assert "bin-4.full" not in run("alarms", "list", "--state", "shelved")[1]
    code, out, _ = run("alarms", "ack", "elevator-3.trapped", "bin-4.full", "--who", "李")
    assert code == 0
    assert out == "elevator-3.trapped: acknowledged (Passenger trapped)\nbin-4.full: acknowledged (Bin full)\n"
    again = run("alarms", "ack", "elevator-3.trapped")
    assert again[0] == 1
    assert "nothing to acknowledge" in again[2]
    shelved = run("alarms", "shelve", "bin-4.full", "--minutes", "30", "--reason", "emptied at noon", "--who", "李")
    assert shelved[:2] == (0, "bin-4.full: shelved (Bin full)\n")
    assert daemon.desk.asked[-1] == ("shelve", "bin-4.full", "李", "emptied at noon", 30.0)
    assert run("alarms", "unshelve", "bin-4.full")[0] == 0
    assert run("alarms", "reset", "perimeter-2.intrusion")[0] == 0
    assert run("alarms", "shelve", "bin-4.full")[0] == 2


def test_the_journal(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("alarms", "journal", "--kind", "all", "--after", "17", "--json")
    assert code == 0
    assert [row["seq"] for row in json.loads(out)] == [18, 19, 20]
    lines = run("alarms", "journal", "--limit", "2")[1].splitlines()
    assert [line.split("\t")[0] for line in lines] == ["no", "4", "8"]


def test_the_journal_counts_the_rows_of_an_uplink(daemon: Daemon, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = (
        {"event": "removed", "rows_given_up": 41},
        {"event": "set aside", "rows": 7, "rows_ever": 9, "example": "pump a=1", "reason": "422: no"},
    )

    async def journal(kind: str | None, after: int, limit: int, /) -> list[dict[str, object]]:
        assert kind == "uplink"
        return [{"seq": 1, "kind": kind, "subject": "cloud", "time": None, "body": body} for body in bodies]

    monkeypatch.setattr(daemon.desk, "journal", journal)
    lines = run("alarms", "journal", "--kind", "uplink")[1].splitlines()
    assert [line.split("\t")[-1] for line in lines[1:]] == ["rows given up 41", "rows 7 · 422: no · pump a=1"]


def test_no_alarms_is_said(daemon: Daemon, run: Run) -> None:
    assert run("alarms", "list", "--state", "suppressed")[1] == "no alarms\n"


@pytest.mark.parametrize("words", [("alarms", "--json"), ("alarms", "--json", "list"), ("alarms", "list", "--json")])
def test_json_may_be_asked_for_before_and_after_the_step(daemon: Daemon, run: Run, words: tuple[str, ...]) -> None:
    assert len(json.loads(run(*words)[1])) == 5


def test_work_orders(daemon: Daemon, run: Run) -> None:
    out = run("orders")[1]
    assert "WO-000001\tmedium\topen\tPump service, 2,000 h" in out
    assert "WO-000004" not in out
    assert "WO-000004" in run("orders", "list", "--all")[1]
    shown = run("orders", "show", "WO-000002", "--lang", "zh")[1]
    assert "检查轴承" in shown
    assert "王师傅" in shown
    for step, state in [("accept", "accepted"), ("start", "started"), ("done", "done"), ("verify", "verified")]:
        code, out, _ = run("orders", step, "WO-000001", "--note", "fine")
        assert (code, out) == (0, f"WO-000001: {state} (Pump service, 2,000 h)\n")
    assert run("orders", "verify", "WO-000002")[0] == 1
    assert run("orders", "show", "WO-999999")[0] == 2
    assert run("orders", "cancel", "WO-000002")[0] == 2
    assert run("orders", "cancel", "WO-000002", "--note", "pump is gone")[0] == 0


SPAN = ("--from", "2026-03-02T10:00:00Z", "--to", "2026-03-02T10:01:00Z")


def test_export_as_csv_asks_until_there_is_no_more(daemon: Daemon, run: Run) -> None:
    code, out, _ = run("export", "readings", "--point", "bin-1.fill", "--point", "light-1.on", *SPAN)
    rows = list(csv.reader(io.StringIO(out)))
    assert code == 0
    assert rows[0] == ["time", "point", "value", "unit", "quality", "reason"]
    assert rows[1] == ["2026-03-02T10:00:00.000Z", "bin-1.fill", "63", "%", "bad", "comm"]
    # The fake desk gives five readings a request; the span has six, ten seconds apart.
    assert [row[0][14:19] for row in rows if row[1] == "bin-1.fill"] == [f"00:{s:02}" for s in range(0, 60, 10)]
    assert rows[-1][1:3] == ["light-1.on", "true"]


def test_export_as_json_lines_and_line_protocol(daemon: Daemon, run: Run) -> None:
    lines = run("export", "readings", "--point", "bin-1.fill", "--format", "jsonl", *SPAN)[1].splitlines()
    assert json.loads(lines[1]) == {
        "time": "2026-03-02T10:00:10.000Z", "point": "bin-1.fill", "value": 63, "unit": "%", "quality": "good",
        "reason": None,
    }  # fmt: skip
    lines = run("export", "readings", "--point", "bin-1.fill", "--format", "lp", *SPAN)[1].splitlines()
    tags = r"equipment=bin-1,location=1号楼\ 东门,profile=bin/milesight-em400-mud,site=maple-garden"
    assert lines[0] == f'bin,{tags} fill=63i,fill_quality="bad/comm" 1772445600000000000'
    assert lines[1] == f"bin,{tags} fill=63i 1772445610000000000"


def test_export_to_a_file_that_cannot_be(daemon: Daemon, run: Run, tmp_path: Path) -> None:
    target = str(tmp_path / "none" / "x.csv")
    code, _, err = run("export", "readings", "--point", "bin-1.fill", "--output", target)
    assert code == 2
    assert "cannot be written" in err


def test_a_wrong_span_is_told(daemon: Daemon, run: Run) -> None:
    code, _, err = run("export", "readings", "--point", "bin-1.fill", "--from", "yesterday")
    assert code == 2
    assert "2026-03-02T18:31:05+08:00" in err


@pytest.mark.parametrize(
    "words", [("status",), ("read", "a.b"), ("alarms",), ("orders", "list"), ("write", "a.b", "1", "--reason", "x")]
)
def test_where_no_daemon_answers(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words, "--url", f"http://127.0.0.1:{free_port()}")
    assert (code, out) == (3, "")
    assert "courtyard run" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("url", "code"), [("nonsense", 2), ("ftp://x", 2), ("http://", 2), ("http://[::1", 2)])
def test_an_address_that_is_none(run: Run, url: str, code: int) -> None:
    got, _, err = run("status", "--url", url)
    assert got == code
    assert err.count("\n") == 1


def test_a_page_that_is_no_courtyard(daemon: Daemon, run: Run) -> None:
    code, _, err = run("status", "--url", f"{daemon.url}/static/style.css?")
    assert code == 3
    assert err.count("\n") == 1


@pytest.mark.parametrize("daemon", ["correct-horse-battery"], indirect=True)
def test_the_token_comes_from_the_environment(daemon: Daemon, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("alarms")
    assert code == 3
    assert "COURTYARD_TOKEN" in err
    monkeypatch.setenv("COURTYARD_TOKEN", "correct-horse-battery")
    assert run("alarms")[0] == 0


def test_names_with_escape_sequences_do_not_reach_the_terminal(daemon: Daemon, run: Run) -> None:
    daemon.desk.alarms()[0]["location"] = "\x1b[2J\tx\ny"
    out = run("alarms")[1]
    assert "\x1b" not in out
    assert " [2J x y" in out


def test_the_installed_command_works_as_a_program(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "edge", "read", "pump-1.current", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["value"] == 11.2
