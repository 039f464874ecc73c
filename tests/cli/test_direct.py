"""`read` and `write` without a daemon, on simulated devices; and that a daemon is asked where there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from edge.site_file import load_site
from tests.cli.conftest import Daemon, Run, Wires
from tests.support import free_port


@pytest.fixture
def site(wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site of a pump, a lift and two lights on the simulated wires; its daemon does not run."""
    monkeypatch.delenv("COURTYARD_URL", raising=False)
    monkeypatch.setenv("LC_ALL", "en_GB.UTF-8")
    host, _, port = wires.host.partition(":")
    light = {"profile": "light/generic-relay-circuit", "connection": "lighting", "unit_id": 1}
    rows = {
        "site": {"id": "maple-garden", "name": "S", "timezone": "Asia/Shanghai"},
        "connections": {
            "pump-room": {"type": "modbus-rtu", "port": wires.port, "timeout": "500ms"},
            "elevators": {"type": "modbus-tcp", "host": host, "port": int(port)},
            "lighting": {"type": "modbus-tcp", "host": "127.0.0.1", "port": wires.lights},
            "away": {"type": "modbus-tcp", "host": "127.0.0.1", "port": free_port()},
        },
        "equipment": {
            "pump-1": {"profile": "pump/generic-vfd-booster", "connection": "pump-room", "unit_id": 1},
            "lift-1": {"profile": "elevator/generic-controller", "connection": "elevators", "unit_id": 1},
            "light-01": light | {"base": 0},
            "light-02": light | {"base": 1, "interlocks": {"on": [{"point": "lift-1.floor", "above": 90}]}},
            "light-03": light | {"connection": "away"},
        },
        "console": {"listen": f"127.0.0.1:{free_port()}"},
    }
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(rows), encoding="utf-8")
    return path


def test_points_are_read_straight_from_their_devices(site: Path, run: Run) -> None:
    code, out, err = run("read", "pump-1.outlet_pressure", "lift-1.floor", "--config", str(site))
    assert code == 0
    assert "straight from the device" in err
    lines = out.splitlines()
    assert lines[1].startswith("pump-1.outlet_pressure\t0.")
    assert "MPa\tgood\t" in lines[1]
    assert lines[2].startswith("lift-1.floor\t")


def test_the_rows_are_those_of_the_daemon(site: Path, run: Run) -> None:
    (row,) = json.loads(run("read", "lift-1.moving", "--config", str(site), "--json")[1])
    assert {"id", "equipment", "name", "title", "value", "label", "unit", "quality", "reason", "time"} <= set(row)
    assert row["label"]["en"]
    assert row["quality"] == "good"


def test_a_silent_device_is_told_and_its_points_are_bad(site: Path, run: Run, wires: Wires) -> None:
    wires.silent.add("pump-1")
    try:
        found = load_site(site).connections["pump-room"].requests
        assert len(found) > 1
        points = {point.id for request in found for point in request.block.points}
        code, out, err = run("read", *sorted(points), "lift-1.floor", "--config", str(site))
    finally:
        wires.silent.discard("pump-1")
    assert code == 3
    assert "pump-1.frequency\t-\t! bad no answer" in out
    assert "lift-1.floor\t" in out
    assert err.count("unit 1 on pump-room does not answer within 0.5 s") == 1, "it is waited for once"


def test_a_connection_that_cannot_be_opened_ends_with_what_to_do(site: Path, run: Run) -> None:
    code, out, err = run("read", "light-03.on", "--config", str(site))
    assert (code, out) == (3, "")
    assert "refuses the connection; check the port" in err.splitlines()[-1]


def test_a_writable_point_is_written_read_back_and_said_to_be_in_no_journal(site: Path, run: Run) -> None:
    for word, after in (("on", True), ("off", False)):
        code, out, err = run("write", "light-01.on", word, "--reason", "try", "--config", str(site))
        assert code == 0
        assert f"-> {after} (done)" in out
        assert "not in the journal" in err
    done = json.loads(run("write", "light-01.on", "on", "--reason", "x", "--config", str(site), "--json")[1])
    assert done["result"] == "done"
    assert done["before"] is False
    assert done["journalled"] is False


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["lift-1.floor", "3"], 1, "read only"), (["pump-1.frequency", "30"], 1, "is not writable"),
        (["light-02.on", "on"], 1, "it may only be while lift-1.floor"), (["light-01.on", "7"], 1, "true or false"),
        (["light-01.on", "on", "--for", "5s"], 2, "needs the daemon"), (["light-01.no", "on"], 2, "did you mean"),
        (["light-03.on", "on"], 3, "refuses the connection"),
    ],
)  # fmt: skip
def test_what_the_daemon_would_refuse_is_refused_here_too(
    site: Path, run: Run, words: list[str], code: int, why: str
) -> None:
    got, out, err = run("write", *words, "--reason", "try", "--config", str(site))
    assert (got, out) == (code, "")
    assert why in err.splitlines()[-1]


def test_where_the_daemon_runs_it_is_asked(
    daemon: Daemon, site: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURTYARD_URL", daemon.url)
    code, _, err = run("write", "light-1.on", "off", "--reason", "dawn", "--who", "li", "--config", str(site))
    assert (code, err) == (0, "")
    assert daemon.desk.asked[0][:3] == ("write", "light-1.on", False)
    assert "0.421 MPa" in run("read", "pump-1.outlet_pressure", "--config", str(site))[1]


def test_the_daemon_of_another_site_is_not(
    daemon: Daemon, site: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write_text(site.read_text(encoding="utf-8").replace("maple-garden", "oak-yard"), encoding="utf-8")
    monkeypatch.setenv("COURTYARD_URL", daemon.url)
    code, _, err = run("read", "lift-1.floor", "--config", str(site))
    assert code == 0
    assert f"the daemon at {daemon.url} is that of maple-garden: straight from the device" in err


def test_without_daemon_and_site_file_the_way_out_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURTYARD_URL", f"http://127.0.0.1:{free_port()}")
    code, out, err = run("read", "pump-1.frequency")
    assert (code, out) == (3, "")
    assert "--config SITE.yaml" in err
