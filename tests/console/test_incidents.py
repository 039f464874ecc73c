"""Incidents and the report over HTTP."""

from __future__ import annotations

import httpx

from tests.console.fake_desk import FakeDesk


async def test_incidents_are_listed_and_one_is_shown_with_its_timeline(http: httpx.AsyncClient) -> None:
    rows = (await http.get("/api/v1/incidents")).json()
    assert [row["priority"] for row in rows] == ["critical", "high", "high", "low"]
    assert [row["id"] for row in (await http.get("/api/v1/incidents?state=acknowledged")).json()] == ["INC-000002"]
    one = (await http.get("/api/v1/incidents/INC-000001")).json()
    assert [line["event"] for line in one["timeline"]] == ["raised", "pushed"]
    assert (await http.get("/api/v1/incidents/INC-000999")).status_code == 404
    assert (await http.get("/api/v1/incidents?state=lost")).status_code == 422


async def test_an_incident_is_acknowledged_as_a_whole_and_only_once(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    first = await http.post("/api/v1/incidents/INC-000001/ack", json={"who": "李"})
    assert (first.status_code, first.json()["state"]) == (200, "acknowledged")
    again = await http.post("/api/v1/incidents/INC-000001/ack", json={"who": "李"})
    assert again.status_code == 409
    assert desk.asked[0] == ("ack", "INC-000001", "李", "")


async def test_steps_that_say_too_little_are_refused(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    for step, body in (
        ("note", {"who": "李"}),
        ("onsite", {}),
        ("dance", {"who": "李"}),
        ("ack", {"who": "李", "x": 1}),
    ):
        answer = await http.post(f"/api/v1/incidents/INC-000001/{step}", json=body)
        assert answer.status_code == 422, step
    assert desk.asked == []
    done = await http.post("/api/v1/incidents/INC-000001/onsite", json={"who": "张", "note": "到场"})
    assert done.json()["onsite_by"] == "张"


async def test_the_report_takes_a_month_or_a_span(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    assert (await http.get("/api/v1/reports/alarms?month=2026-02")).status_code == 200
    _, from_ns, to_ns = desk.asked[-1]
    assert (to_ns - from_ns) // 10**9 == 28 * 86_400
    assert from_ns == 1_769_875_200 * 10**9  # midnight in Shanghai
    assert (await http.get("/api/v1/reports/alarms?from=2026-03-02&to=2026-03-03")).status_code == 200
    assert (desk.asked[-1][2] - desk.asked[-1][1]) // 10**9 == 86_400
    assert (await http.get("/api/v1/reports/alarms")).json()["figures"][0]["recommended"] == {"zh": "", "en": ""}
    for wrong in ("month=2026-13", "month=9999-12", "from=2026-03-03&to=2026-03-02", "from=yesterday"):
        assert (await http.get(f"/api/v1/reports/alarms?{wrong}")).status_code == 422, wrong


async def test_the_sheet_of_an_incident_is_a_page_in_both_languages(http: httpx.AsyncClient) -> None:
    for query, lang in (("", "zh"), ("?lang=en", "en")):
        page = await http.get(f"/incidents/INC-000001{query}")
        assert page.status_code == 200
        assert f'<html lang="{lang}">' in page.text
