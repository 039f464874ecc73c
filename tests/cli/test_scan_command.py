"""`courtyard scan` and `courtyard probe` on simulated devices, as somebody at a terminal uses them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.site_file import load_site
from tests.cli.conftest import Daemon, Run, Wires
from tests.support import free_port


@pytest.fixture
def site(wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site file with the pump room's line, of which one pump and a device that is not there are known."""
    monkeypatch.delenv("COURTYARD_URL", raising=False)
    rows = {
        "pump-1": {"profile": "pump/generic-vfd-booster", "connection": "pump-room", "unit_id": 1},
        "gone": {"profile": "pump/generic-sump-pit", "connection": "pump-room", "unit_id": 9},
    }
    line = {"type": "modbus-rtu", "port": wires.port, "timeout": "300ms"}
    path = tmp_path / "site.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "site": {"id": "maple-garden", "name": "S", "timezone": "Asia/Shanghai"},
                "connections": {"pump-room": line, "lora": {"type": "mqtt"}},
                "equipment": rows,
                "console": {"listen": f"127.0.0.1:{free_port()}"},
            }
        )
    )
    return path


def test_a_serial_line_is_scanned_by_url_and_gives_lines_for_the_site_file(
    wires: Wires, run: Run, tmp_path: Path
) -> None:
    code, out, err = run("scan", f"serial://{wires.port}", "--units", "1-3,20-22", "--timeout", "300ms")
    assert code == 0
    assert re.search(r"units at 9600/19200/.* \(18 settings\), 0.3 s each; at most \S", err)
    assert err.index("at most") < err.index("unit 1 answers")
    assert "unit 21 answers with exception 0x02: meter/eastron-sdm630" in err
    assert re.search(r"21\t9600\tN\t\d+\tanswers with exception 0x02\tmeter/eastron-sdm630\t", out)
    lines = out[out.index("connections:") :]
    (tmp_path / "site.yaml").write_text("site: {id: s, name: S, timezone: Asia/Shanghai}\n" + lines, encoding="utf-8")
    found = load_site(tmp_path / "site.yaml")  # the lines are ready to use
    assert list(found.equipment) == ["pump-1", "pump-2", "pump-3", "meter-21"]
    assert found.connections["line"].settings.model_dump()["parity"] == "N"


def test_what_no_fingerprint_fits_is_left_for_the_engineer_to_name(
    wires: Wires, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.cli.scan._fingerprints", lambda *_: {})
    code, out, _ = run("scan", f"modbus-tcp://{wires.host}", "--units", "4", "--timeout", "500ms")
    assert code == 0
    assert "# no fingerprint fits these; choose a profile for each (courtyard profile list)" in out
    assert "# device-4: {profile: CLASS/MODEL, connection: line, unit_id: 4}" in out


def test_a_scan_as_json(wires: Wires, run: Run) -> None:
    code, out, _ = run("scan", f"modbus-tcp://{wires.host}", "--units", "4-5", "--timeout", "500ms", "--json")
    (only,) = json.loads(out)
    assert code == 0
    assert only["unit_id"] == 4
    assert only["answer"] == "answers"


def test_a_connection_of_the_site_file_is_scanned_as_it_is_set(site: Path, run: Run) -> None:
    code, out, err = run("scan", "pump-room", "--config", str(site), "--units", "1,2,9,21")
    assert code == 0
    assert "at 9600 baud, parity N, 0.3 s each" in err
    assert "gone of the site file was not asked or did not answer" in err
    assert re.search(r"\n1\t9600\tN\t\d+\tanswers with exception 0x02\tpump/generic-vfd-booster\tpump-1\n", out)
    assert "meter-21: {profile: meter/eastron-sdm630, connection: pump-room, unit_id: 21}" in out
    assert "pump-1:" not in out  # it is in the site file already
    assert "connections:" not in out


def test_where_nobody_answers_the_exit_code_says_so(wires: Wires, run: Run) -> None:
    code, out, err = run("scan", f"modbus-tcp://{wires.host}", "--units", "9", "--timeout", "50ms")
    assert (code, out) == (3, "")
    assert "0 answer" in err


def test_a_line_that_is_not_there(run: Run) -> None:
    code, out, err = run("scan", "serial:///dev/no-such-port", "--units", "1")
    assert (code, out) == (3, "")
    assert "/dev/no-such-port: there is no such device" in err.splitlines()[-1]
    code, out, err = run("scan", "/dev/no-such-port", "--units", "1")  # a serial port needs no URL
    assert (code, out) == (3, "")
    assert "/dev/no-such-port: there is no such device" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["pump-room"], "add --config"), (["modbus://h"], "did you mean modbus-tcp"),
        (["modbus-tcp://h:99999"], "no URL of a line"), (["rtu-tcp://h"], "port"),
        (["modbus-tcp://h", "--baud", "9600"], "serial server"), (["modbus-tcp://h", "--units", "300"], "no unit id"),
        (["serial:///dev/x", "--units", "x"], "no list of numbers"), (["serial:///d", "--parity", "X"], "parities"),
    ],
)  # fmt: skip
def test_bad_usage_is_told_in_one_line(run: Run, words: list[str], why: str) -> None:
    code, out, err = run("scan", *words)
    assert (code, out) == (2, "")
    assert why in err


def test_names_that_the_site_file_does_not_have(site: Path, run: Run) -> None:
    code, _, err = run("scan", "pumproom", "--config", str(site))
    assert code == 2
    assert "did you mean pump-room" in err
    code, _, err = run("scan", "lora", "--config", str(site))
    assert code == 2
    assert "nothing to scan" in err


def test_a_port_that_the_daemon_holds_is_not_scanned(wires: Wires, run: Run) -> None:
    import serial

    with serial.Serial(wires.port, exclusive=True):
        code, out, err = run("scan", f"serial://{wires.port}", "--units", "1")
    assert (code, out) == (3, "")
    last = err.splitlines()[-1]
    assert "is in use by another program" in last
    assert "if it is the daemon that uses it, stop that first" in last


def test_a_connection_that_a_running_daemon_uses_is_refused(
    daemon: Daemon, site: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURTYARD_URL", daemon.url)
    for command in (["scan", "pump-room"], ["probe", "pump-room", "--unit", "1"]):
        code, out, err = run(*command, "--config", str(site))
        assert (code, out) == (1, "")
        line = f"the daemon at {daemon.url} uses pump-room; stop it first, two masters disturb each other"
        assert err == f"courtyard: {line}\n"


def test_a_range_is_probed_with_every_meaning_side_by_side(wires: Wires, run: Run) -> None:
    words = ["probe", f"serial://{wires.port}", "--unit", "21", "--register", "input", "--from", "70", "--count", "3"]
    code, out, err = run(*words, "--baud", "9600", "--parity", "N")
    assert (code, err) == (0, "")
    assert "address\thex\tbits\tuint16\tint16\tbcd16\ttext\n70\t42" in out
    assert re.search(
        r"address\tfloat32 ABCD\tfloat32 CDAB\tfloat32 BADC\tfloat32 DCBA\n70\t(49|50)\.\d+\t\S+ \?\t", out
    )
    assert "address\tuint32 ABCD" in out
    assert "address\tint32 ABCD" in out
    rows: list[dict[str, Any]] = json.loads(run(*words, "--json")[1])
    assert [row["address"] for row in rows] == ["70", "71", "72"]


@pytest.mark.parametrize(
    ("more", "code", "why"),
    [
        (["--unit", "3", "--from", "9000"], 1, "exception 0x02"), (["--unit", "99"], 3, "does not answer"),
        (["--unit", "3", "--count", "0"], 2, "1 to 125"), (["--unit", "3", "--register", "coils"], 2, "is none of"),
    ],
)  # fmt: skip
def test_what_cannot_be_probed_says_why(wires: Wires, run: Run, more: list[str], code: int, why: str) -> None:
    got, out, err = run("probe", f"modbus-tcp://{wires.host}", *more)
    assert (got, out) == (code, "")
    assert why in err
    assert err.count("\n") == 1
