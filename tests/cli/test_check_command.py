"""`courtyard check`: mistakes with their places, the load of each line, and the schema for editors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from drivers.document import load
from edge.data import CONFIG
from edge.site_schema import site_schema
from tests.cli.conftest import Run

SITE = str(CONFIG / "site.yaml")
CASES = Path(__file__).parent.parent / "cases"


def test_the_demo_site_is_well_and_every_line_says_who_fills_it(run: Run) -> None:
    code, out, err = run("check", "--config", SITE)
    assert (code, err) == (0, "")
    assert "枫林小区 (maple-garden)" in out.splitlines()[0]
    assert re.search(r"pump-room\tmodbus-rtu\t6\t86\t\d+\t\d+\.\d%\t", out)
    assert re.search(r"pump-room: pump-1 takes \d\.\d%.* of this bus", out)
    assert "lora\tmqtt\t12\t96\t-\tlistens" in out
    assert "wire ms" not in out


@pytest.mark.parametrize("option", ["--loads", "-v"])
def test_every_request_is_shown_where_that_is_asked(run: Run, option: str) -> None:
    code, out, _ = run("check", "--config", SITE, option)
    assert code == 0
    head = "equipment\tunit\ttable\taddress\tcount\tpoints\tperiod\twire ms\tshare\twaits ms\toldest value\tnote"
    assert head in out
    assert re.search(r"meter-1\t21\tinput\t0\t54\t13\t5 s\t\d+\.\d\t\d\.\d\d%\t", out)


def test_every_point_says_how_old_it_can_become_where_that_is_asked(run: Run) -> None:
    code, out, _ = run("check", "--config", SITE, "--points")
    assert code == 0
    assert re.search(r"^pump-1\.outlet_pressure\t\d+ s\t\d+ s\t\d+\.\d\d s$", out, re.M)
    code, out, _ = run("check", "--config", SITE, "--json")
    pumps = next(row for row in json.loads(out)["connections"] if row["connection"] == "pump-room")
    assert len(pumps["ages"]) == len({each["point"] for each in pumps["ages"]}) == pumps["points"]
    assert all(each["period_s"] >= each["read_every_s"] < each["worst_age_s"] for each in pumps["ages"])
    assert max(each["worst_age_s"] for each in pumps["ages"]) == pumps["worst_age_s"]


def test_json_has_all_of_it(run: Run) -> None:
    code, out, _ = run("check", "--config", SITE, "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (0, True)
    pumps = next(row for row in found["connections"] if row["connection"] == "pump-room")
    assert pumps["grade"] == "ok"
    assert {row["equipment"] for row in pumps["devices"]} == {
        "pump-1",
        "pump-2",
        "pump-3",
        "sump-1",
        "sump-2",
        "meter-1",
    }
    assert {"unit", "table", "address", "count", "period_s", "wire_ms", "share", "worst_age_s"} <= set(
        pumps["loads"][0]
    )


def test_a_line_that_is_nearly_full_is_advised_with_numbers(run: Run, tmp_path: Path) -> None:
    text = (CASES / "a-bus-that-cannot-carry-its-load" / "site.yaml").read_text(encoding="utf-8")
    (tmp_path / "site.yaml").write_text(text.replace("1200", "1800"), encoding="utf-8")
    code, out, _ = run("check", "--config", str(tmp_path / "site.yaml"))
    assert code == 0
    assert "above 70 %: no room for retries" in out
    assert re.search(r"pump-room: for a load of 70 % read every \d.* baud .* move pump-1", out)


def test_what_cannot_fit_is_refused_with_numbers(run: Run) -> None:
    code, out, err = run("check", "--config", str(CASES / "a-bus-that-cannot-carry-its-load" / "site.yaml"))
    assert (code, out) == (1, "")
    assert re.search(r"site.yaml:3:3: connections.pump-room: needs 1\d\d% of its wire's time \(pump-1 takes", err)
    assert "set the line and its devices to" in err
    assert err.endswith("1 to mend\n")
    code, out, _ = run("check", "--config", str(CASES / "many-mistakes-at-once" / "site.yaml"), "--json")
    assert code == 1
    assert {"file", "line", "column", "path", "message"} == set(json.loads(out)["faults"][0])


def test_check_without_a_file_is_bad_usage(run: Run) -> None:
    assert run("check")[0] == 2


def test_the_schema_is_printed(run: Run) -> None:
    code, out, _ = run("check", "--schema")
    schema = json.loads(out)
    assert code == 0
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) >= {"site", "connections", "equipment", "uplinks", "duty", "console"}


def resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """A schema behind its reference."""
    if "$ref" not in node:
        return node
    found: dict[str, Any] = root["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return found


def test_the_schema_knows_every_key_of_the_demo_site() -> None:
    schema, site = site_schema(), load(CONFIG / "site.yaml").data
    equipment = resolved(schema["properties"]["equipment"]["additionalProperties"], schema)
    assert {key for row in site["equipment"].values() for key in row} <= set(equipment["properties"])
    assert equipment["additionalProperties"] is False
    lines = schema["properties"]["connections"]["additionalProperties"]
    by_type = {each["if"]["properties"]["type"]["const"]: resolved(each["then"], schema) for each in lines["allOf"]}
    for row in site["connections"].values():
        assert set(row) <= set(by_type[row["type"]]["properties"])
    timeout = by_type["modbus-tcp"]["properties"]["timeout"]
    assert "500ms" in json.dumps(timeout)  # a duration may be written as text
