"""Export of a state directory's files and import into another's, without a daemon."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from drivers.point import Value
from edge.cli.formats import WRITERS, Names, Told, stamp
from edge.store.lock import state_lock
from edge.store.readings import open_readings
from edge.store.state import READINGS
from edge.timekeeping import EARLIEST_NS
from tests.cli.conftest import Run
from tests.support import no_file_grows

T = 1_772_445_600_000_000_000
SITE = """\
site: {id: maple, name: M, timezone: Asia/Shanghai}
connections: {bus: {type: modbus-tcp, host: 10.0.0.1}}
equipment: {lift-1: {profile: elevator/generic-controller, connection: bus, unit_id: 1, location: B1}}
"""


def recorded(state: Path, count: int = 200) -> None:
    """Some readings of two equipments."""

    async def record() -> None:
        async with open_readings(state / READINGS, 3600) as store:
            for n in range(count):
                values: tuple[Value, ...] = (n, n % 2 == 0)
                store.append("lift-1", ("floor", "running"), values, None, T + n * 10**9)
                mark = ("bad/comm",) if n % 7 == 0 else None
                store.append("bin-1", ("fill",), (None if mark else n / 8,), mark, T + n * 10**9 + 1)

    asyncio.run(record())


@pytest.mark.parametrize("form", ["csv", "jsonl", "lp", "parquet"])
def test_what_is_exported_imported_and_exported_again_is_the_same(run: Run, tmp_path: Path, form: str) -> None:
    recorded(tmp_path / "a")
    words = ("export", "readings", "--all", "--format", form)
    first, second = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
    assert run(*words, "--state", str(tmp_path / "a"), "--output", str(first))[0] == 0
    assert run("import", str(first), "--state", str(tmp_path / "b"))[:2] == (0, "600 readings imported\n")
    assert run(*words, "--state", str(tmp_path / "b"), "--output", str(second))[0] == 0
    assert second.read_bytes() == first.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_points_are_chosen_by_name_pattern_and_span_in_order_of_time(run: Run, tmp_path: Path) -> None:
    recorded(tmp_path / "a")
    (tmp_path / "site.yaml").write_text(SITE)
    state = ("--state", str(tmp_path / "a"), "--config", str(tmp_path / "site.yaml"))
    span = ("--from", "2026-03-02T18:00:10", "--to", "2026-03-02T10:00:12Z")  # in the site's zone where none is said
    code, out, _ = run("export", "readings", "--point", "bin-?.*", "--point", "lift-1.floor", *span, *state)
    assert code == 0
    assert out.splitlines() == [
        "time,point,value,unit,quality,reason",
        "2026-03-02T10:00:10.000Z,lift-1.floor,10,,good,",
        "2026-03-02T10:00:10.000000001Z,bin-1.fill,1.25,,good,",
        "2026-03-02T10:00:11.000Z,lift-1.floor,11,,good,",
        "2026-03-02T10:00:11.000000001Z,bin-1.fill,1.375,,good,",
    ]
    _, out, _ = run("export", "readings", "--point", "lift-1.floor", "--format", "lp", *span, *state)
    assert out.splitlines()[0] == (
        "elevator,equipment=lift-1,location=B1,profile=elevator/generic-controller,site=maple floor=10i "
        "1772445610000000000"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--point", "lift-1.flor"), "no point lift-1.flor; did you mean lift-1.floor?"),
        (("--point", "pump-*"), "no point pump-*"),
        ((), "say which points"),
        (("--all", "--format", "parquet"), "say --output FILE"),
        (("--all", "--from", "2026-03-03", "--to", "2026-03-02"), "--from is after --to"),
        (("--all", "--to", "yesterday"), "--to: 'yesterday' is no time; write 2026-03-02T18:31:05+08:00"),
    ],
)
def test_an_export_of_nothing_is_told(run: Run, tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    recorded(tmp_path / "a", 2)
    code, out, err = run("export", "readings", *words, "--state", str(tmp_path / "a"))
    assert (code, out) == (2, "")
    assert text in err


def test_an_export_where_there_is_no_log_or_a_damaged_one_is_one_line(run: Run, tmp_path: Path) -> None:
    assert run("export", "readings", "--all", "--state", str(tmp_path))[0] == 1
    (tmp_path / READINGS).write_bytes(b"x" * 5000)
    code, _, err = run("export", "readings", "--all", "--state", str(tmp_path))
    assert code == 1
    assert "cannot be read: file is not a database" in err
    assert err.count("\n") == 1


def test_a_card_that_takes_nothing_is_read_all_the_same(run: Run, tmp_path: Path) -> None:
    recorded(tmp_path / "a")
    words = ("export", "readings", "--all", "--state", str(tmp_path / "a"))
    with no_file_grows():
        code, out, _ = run(*words)
    assert (code, len(out.splitlines())) == (0, 601)
    (tmp_path / "a" / "readings.db-shm").unlink(missing_ok=True)
    (tmp_path / "a" / "readings.db-wal").write_bytes(b"not folded in yet")
    with no_file_grows():
        code, _, err = run(*words)
        assert run("backup", str(tmp_path / "b"), "--state", str(tmp_path / "a"))[0] == 1
    assert code == 1
    assert f"copy {tmp_path / 'a'} to another disk and name that with --state" in err


def test_bad_lines_are_told_and_nothing_is_imported_unless_asked_for(run: Run, tmp_path: Path) -> None:
    path, state = tmp_path / "x.csv", tmp_path / "s"
    path.write_text("time,point,value\n2026-03-02,lift-1.floor,1\nnever,lift-1.floor,2\n2026-03-02,lift-1.flor,3\n")
    (tmp_path / "site.yaml").write_text(SITE)
    words = ("import", str(path), "--state", str(state), "--config", str(tmp_path / "site.yaml"))
    code, _, err = run(*words)
    assert code == 1
    assert f"{path}:3: 'never' is no time" in err
    assert f"{path}:4: no point 'lift-1.flor' in the site file; did you mean lift-1.floor?" in err
    assert "2 lines of" in err
    assert not (state / READINGS).exists()
    code, out, _ = run(*words, "--skip-bad")
    assert (code, out) == (1, "1 readings imported, 2 lines left out\n")
    assert "lift-1.floor,1," in run("export", "readings", "--all", "--state", str(state))[1]


@pytest.mark.parametrize("form", ["csv", "jsonl", "lp"])
def test_readings_of_the_future_and_of_before_clocks_were_set_are_refused_line_by_line(
    run: Run, tmp_path: Path, form: str
) -> None:
    now_ns = time.time_ns()
    times = (T, now_ns + 3600 * 10**9, 0, now_ns + 300 * 10**9, 1_772_445_600_000, EARLIEST_NS, EARLIEST_NS - 1)
    path, state = tmp_path / f"x.{form}", tmp_path / "s"
    with path.open("w", encoding="utf-8") as out:
        write = WRITERS[form](out, Names())
        for each in times:
            write(Told(each, "lift-1.floor", 1))
    code, _, err = run("import", str(path), "--state", str(state))
    assert code == 1
    assert "4 lines of" in err
    assert not (state / READINGS).exists()
    first = 2 if form == "csv" else 1
    assert f"{path}:{first + 1}: time is {stamp(times[1])}, in the future; mend it, or this box's clock" in err
    for place in (2, 4, 6):
        assert f"{path}:{first + place}: time is {stamp(times[place])}, before 2024-01-01: its clock was not" in err
    code, told, _ = run("import", str(path), "--state", str(state), "--skip-bad")
    assert (code, told) == (1, "3 readings imported, 4 lines left out\n")


def test_a_box_that_does_not_know_the_time_imports_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("time,point,value\n2026-03-02,lift-1.floor,1\n")
    monkeypatch.setattr(time, "time_ns", lambda: 3 * 10**9)
    code, _, err = run("import", str(path), "--state", str(tmp_path / "s"), "--skip-bad")
    assert code == 1
    assert "this box's clock says 1970-01-01T00:00:03.000Z, readings cannot be judged by it; set it first" in err
    assert not (tmp_path / "s").exists()


def test_an_import_beside_a_running_daemon_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("time,point,value\n2026-03-02,lift-1.floor,1\n")
    with state_lock(tmp_path / "s"):
        code, _, err = run("import", str(path), "--state", str(tmp_path / "s"))
    assert code == 1
    assert "is in use by process" in err
    assert run("import", str(tmp_path / "no.csv"), "--state", str(tmp_path))[0] == 2
    assert run("import", str(tmp_path / "x.what"), "--state", str(tmp_path))[0] == 2
