"""The doctor finds what is wrong with a box, and says what to do."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edge.checkup import files
from edge.checkup.box import look_at_box
from edge.checkup.files import look_at_secrets, look_at_state
from edge.checkup.finding import Finding
from edge.checkup.reach import look_at_far_ends, look_at_ports
from edge.site import Site
from edge.site_file import load_site
from edge.store import readings_file
from edge.store.database import connect
from edge.store.ledger import MIGRATIONS
from edge.store.lock import holder, state_lock
from tests.cli.conftest import Daemon, Run, daemon, run  # noqa: F401  # fixtures
from tests.support import free_port, no_file_grows


def only(findings: Iterator[Finding], what: str) -> list[tuple[str, str]]:
    """Verdict and text of what was found about one thing; whatever is not well says what to do."""
    found = list(findings)
    assert all(finding.todo or finding.verdict == "ok" for finding in found)
    return [(finding.verdict, finding.found.en) for finding in found if finding.what == what]


def box(folder: Path, free_kb: int = 1_000_000, degrees: int = 40) -> tuple[Path, Path]:
    """A /proc and a /sys."""
    zone = folder / "sys" / "class" / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "temp").write_text(f"{degrees * 1000}\n")
    (folder / "meminfo").write_text(f"MemTotal: 2000000 kB\nMemAvailable: {free_kb} kB\n")
    return folder, folder / "sys"


@pytest.mark.parametrize(
    ("free_kb", "degrees", "now_s", "kept", "verdicts"),
    [
        (1_000_000, 40, 1.8e9, True, ["ok", "ok", "ok", "ok"]),
        (100_000, 76, 1.8e9, False, ["ok", "warn", "warn", "warn"]),
        (20_000, 90, 1.0e9, True, ["ok", "fail", "fail", "fail"]),
    ],
)
def test_clock_memory_and_temperature(
    tmp_path: Path, free_kb: int, degrees: int, now_s: float, kept: bool, verdicts: list[str]
) -> None:
    found = list(look_at_box(*box(tmp_path, free_kb, degrees), now_s, kept=kept))
    assert [finding.what for finding in found] == ["versions", "clock", "memory", "temperature"]
    assert [finding.verdict for finding in found] == verdicts


def test_a_box_that_tells_nothing_of_itself_is_not_called_ill(tmp_path: Path) -> None:
    assert [finding.verdict for finding in look_at_box(tmp_path, tmp_path, 1.8e9, kept=True)] == ["ok"] * 4


def test_a_state_directory_in_good_order(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    connect(tmp_path / "ledger.db", MIGRATIONS, full_sync=True).close()
    with state_lock(tmp_path):
        assert holder(tmp_path) == os.getpid()
        found = list(look_at_state(tmp_path, 10**9))
    assert {finding.verdict for finding in found} == {"ok"}
    assert only(iter(found), "daemon") == [("ok", f"runs as process {os.getpid()}")]
    assert holder(tmp_path) is None
    assert not list(tmp_path.glob(".doctor-*"))


def test_what_is_wrong_with_a_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    (tmp_path / "readings.db.damaged-20261123T000000Z").touch()
    monkeypatch.setattr(files, "TOO_LITTLE", 1 << 62)
    monkeypatch.setattr(files, "TOO_SLOW_S", 0.0)
    found = list(look_at_state(tmp_path, 1000))
    assert only(iter(found), "daemon")[0][0] == "warn"
    assert only(iter(found), "state") == [("warn", f"{tmp_path} can be read by others (755)")]
    bad, aside = only(iter(found), "files")
    assert bad == ("fail", f"{tmp_path / 'ledger.db'} cannot be read: file is not a database")
    assert aside[0] == "warn"
    assert [verdict for verdict, _ in only(iter(found), "disk")] == ["fail", "fail"]
    assert only(iter(found), "budget")[0][0] == "warn"
    assert only(look_at_state(tmp_path / "none"), "state") == [("fail", f"there is no {tmp_path / 'none'}")]


def test_a_state_directory_of_a_newer_program_is_told(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        database.execute("PRAGMA user_version=99")
    ((verdict, text),) = only(look_at_state(tmp_path), "files")
    assert verdict == "fail"
    assert "it needs a newer Courtyard" in text


def test_a_database_with_a_lost_page_is_told_and_one_on_a_full_disk_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "readings.db"
    with closing(connect(path, readings_file.MIGRATIONS, full_sync=True)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'chunks'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    whole = path.read_bytes()
    path.write_bytes(whole[: (page - 1) * size] + bytes(size) + whole[page * size :])
    (found,) = [each for each in look_at_state(tmp_path) if each.what == "files"]
    assert found.verdict == "fail"
    assert found.todo
    assert "sets a damaged file aside" in found.todo.en
    path.write_bytes(whole)
    (tmp_path / "readings.db-wal").write_bytes(b"not folded in yet")
    (tmp_path / "readings.db-shm").unlink(missing_ok=True)
    with no_file_grows():
        (found,) = [each for each in look_at_state(tmp_path) if each.what == "files"]
    assert found.todo
    assert "copy the folder to another disk" in found.todo.en


def test_secrets_that_others_can_read_are_told(tmp_path: Path) -> None:
    config = tmp_path / "site.yaml"
    assert only(look_at_secrets(config), "secrets")[0][0] == "ok"
    (tmp_path / "secrets").mkdir()
    token = tmp_path / "secrets" / "token"
    token.touch(0o600)
    assert only(look_at_secrets(config), "secrets")[0][0] == "ok"
    token.chmod(0o644)
    (finding,) = look_at_secrets(config)
    assert finding.verdict == "fail"
    assert finding.todo is not None
    assert finding.todo.en == f"chmod 600 {token}"


def site_of(folder: Path, connections: str = "{}", uplinks: str = "{}") -> Site:
    path = folder / "site.yaml"
    path.write_text(
        f"site: {{id: s, name: S, timezone: UTC}}\nconnections: {connections}\nuplinks: {uplinks}\nequipment: {{}}\n"
    )
    return load_site(path)


def test_serial_ports_are_looked_for_and_better_names_are_told(tmp_path: Path) -> None:
    master, slave = os.openpty()
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "usb-FTDI-port0").symlink_to("/dev/null")
    (tmp_path / "ttyUSB7").symlink_to("/dev/null")
    (tmp_path / "plain").touch()
    ports = {"a": os.ttyname(slave), "b": "/dev/ttyNOSUCH", "c": tmp_path / "plain", "d": tmp_path / "ttyUSB7"}
    rows = ", ".join(f"{name}: {{type: modbus-rtu, port: {path}}}" for name, path in ports.items())
    found = {each.what: each for each in look_at_ports(site_of(tmp_path, f"{{{rows}}}"), by_id)}
    assert [found[f"port {name}"].verdict for name in "abcd"] == ["ok", "fail", "fail", "warn"]
    assert "there are: " + str(by_id / "usb-FTDI-port0") in str(found["port b"].todo)
    assert f"write port: {by_id / 'usb-FTDI-port0'}" in str(found["port d"].todo)
    for end in (master, slave):
        os.close(end)


def test_far_ends_are_reached_or_named_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        up, down = listening.getsockname()[1], free_port()
        uplinks = (
            f"{{a: {{type: mqtt, host: 127.0.0.1, port: {up}}}, b: {{type: mqtt, host: 127.0.0.1, port: {down}}}, "
            f"c: {{type: influxdb, url: 'http://no-such-host.invalid', org: o, bucket: b, token: t}}}}"
        )
        site = site_of(tmp_path, f"{{m: {{type: modbus-tcp, host: 127.0.0.1, port: {down}}}}}", uplinks)
        found = {each.what: each for each in look_at_far_ends(site, devices=False)}
        assert set(found) == {"uplink a", "uplink b", "uplink c"}, "devices are left to the daemon that talks to them"
        assert [each.verdict for each in found.values()] == ["ok", "fail", "fail"]
        assert "Connection refused" in found["uplink b"].found.en
        assert "no host of the name" in found["uplink c"].found.en
        assert next(each.what for each in look_at_far_ends(site, devices=True)) == "connection m"


def test_the_command_ends_with_one_where_something_fails(run: Run, tmp_path: Path) -> None:  # noqa: F811
    site_of(tmp_path, f"{{m: {{type: modbus-tcp, host: 127.0.0.1, port: {free_port()}}}}}")
    words = ("doctor", "--state", str(tmp_path), "--config", str(tmp_path / "site.yaml"))
    url = ("--url", f"http://127.0.0.1:{free_port()}")
    code, out, err = run(*words, *url, "--json")
    assert (code, err) == (1, "")
    rows = {row["what"]: row for row in json.loads(out)}
    assert rows["connection m"]["verdict"] == "fail"
    assert rows["config"]["verdict"] == "ok"
    assert rows["connection m"]["todo"]["zh"]
    assert "故障\tconnection m" in run(*words, *url, "--lang", "zh")[1]
    assert "health" not in rows
    (tmp_path / "site.yaml").write_text("site: {}\n")
    assert "mistakes, the first:" in run(*words, *url, "--lang", "en")[1]


def test_the_health_of_a_daemon_is_told_only_of_its_own_directory(
    daemon: Daemon,  # noqa: F811
    run: Run,  # noqa: F811
    tmp_path: Path,
) -> None:
    site_of(tmp_path, "{}")
    words = ("doctor", "--config", str(tmp_path / "site.yaml"), "--json", "--state")
    of_it, of_another = (
        {row["what"] for row in json.loads(run(*words, str(folder))[1])}
        for folder in (daemon.desk.place()["state"], tmp_path)
    )
    assert "health" in of_it
    assert "health" not in of_another
