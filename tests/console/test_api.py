"""The API says what the desk says, and every mistake is one clear answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import TypeAdapter

from edge.clock import ManualClock
from edge.console.api import build_app
from edge.console.views import (
    AlarmView,
    ConnectionView,
    Desk,
    EquipmentView,
    MeterView,
    OrderView,
    PointView,
    ReadingView,
    UplinkView,
)
from tests.console.fake_desk import FakeDesk

if TYPE_CHECKING:
    from edge.desk import Desk as DaemonsDesk

    def the_daemons_desk_is_one(desk: DaemonsDesk) -> Desk:
        """Checked by mypy: the console may be given the daemon's own desk."""
        return desk


WHO = {"who": "王师傅"}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("equipment", EquipmentView), ("points", PointView), ("alarms", AlarmView), ("orders", OrderView),
        ("connections", ConnectionView), ("uplinks", UplinkView), ("meters", MeterView),
        ("readings?point=pump-1.current", ReadingView),
    ],
)  # fmt: skip
async def test_lists_are_plain_arrays_of_rows_as_described(http: httpx.AsyncClient, path: str, model: Any) -> None:
    answer = await http.get(f"/api/v1/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert len(TypeAdapter(list[model]).validate_json(answer.content)) > 0


async def test_how_history_is_kept(http: httpx.AsyncClient) -> None:
    found = (await http.get("/api/v1/storage")).json()
    assert (found["bytes"], found["budget_bytes"], found["shed"]) == (
        12_300_000,
        4 * 10**9,
        {"packed": 5, "light": 7},
    )


async def test_site_and_single_rows(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/site")).json()["name"] == "枫林小区"
    lift = (await http.get("/api/v1/equipment/elevator-3")).json()
    assert lift["class"] == "elevator"
    assert len(lift["points"]) == 7
    point = (await http.get("/api/v1/points/bin-5.fill")).json()
    assert (point["quality"], point["reason"], point["unit"]) == ("bad", "stale", "%")
    assert (await http.get("/api/v1/orders/WO-000002")).json()["state"] == "started"


async def test_points_of_chosen_equipment_only(http: httpx.AsyncClient) -> None:
    rows = (await http.get("/api/v1/points", params={"equipment": ["pump-1", "bin-1", "pump-1"]})).json()
    assert {row["equipment"] for row in rows} == {"pump-1", "bin-1"}
    assert len(rows) == 9


@pytest.mark.parametrize(
    "path", ["equipment/no-such", "points/no.such", "orders/WO-9", "readings?point=no.such", "x"]
)
async def test_what_is_not_there_is_404_with_a_hint(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]
    assert answer.json()["hint"]


@pytest.mark.parametrize(
    "odd", ["..%2F..%2Fetc%2Fpasswd", "a%00b", "%F0%9F%92%A1", "%ff%fe", "a%2Fwrite", "%3Cb%3E", "'%22;--"]
)
async def test_ids_with_odd_characters_are_only_not_found(http: httpx.AsyncClient, odd: str) -> None:
    assert (await http.get(f"/api/v1/points/{odd}")).status_code == 404
    assert (await http.get(f"/api/v1/equipment/{odd}")).status_code == 404
    body = {"value": True, "reason": "try", **WHO}
    assert (await http.post(f"/api/v1/points/{odd}/write", json=body)).status_code == 404
    assert (await http.post(f"/api/v1/alarms/{odd}/ack", json=WHO)).status_code == 404


async def test_an_id_with_a_slash_reaches_the_desk_whole(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    await http.post("/api/v1/alarms/connection%3Apump%2Froom.down/ack", json=WHO)
    assert desk.asked == [("ack", "connection:pump/room.down", "王师傅", "", None)]


async def test_a_command_is_given_with_who_and_why(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    answer = await http.post("/api/v1/points/light-1.on/write", json={"value": False, "reason": "dawn", **WHO})
    assert answer.json() == {"point": "light-1.on", "before": True, "asked": False, "after": False, "result": "done"}
    assert desk.asked == [("write", "light-1.on", False, "王师傅", "dawn")]


async def test_a_command_may_be_for_a_time(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    asked = {"value": True, "reason": "repair", "for_s": 1800, **WHO}
    assert (await http.post("/api/v1/points/light-1.on/write", json=asked)).status_code == 200
    assert desk.asked == [("write", "light-1.on", True, "王师傅", "repair", 1800)]
    for wrong in (0.5, 86_401, "30m", True, -1):
        assert (await http.post("/api/v1/points/light-1.on/write", json={**asked, "for_s": wrong})).status_code == 422
    assert len(desk.asked) == 1


@pytest.mark.parametrize(("value", "kind"), [(True, bool), (1, int), (1.5, float), ("auto", str)])
async def test_a_value_keeps_its_kind(http: httpx.AsyncClient, desk: FakeDesk, value: Any, kind: type) -> None:
    await http.post("/api/v1/points/light-1.on/write", json={"value": value, "reason": "try", **WHO})
    assert type(desk.asked[0][2]) is kind


@pytest.mark.parametrize(
    ("point", "status", "word"),
    [("pump-1.running", 422, "not writable"), ("no.such", 404, "no point"), ("light-9.on", 503, "does not answer")],
)
async def test_what_the_desk_refuses_is_told_in_its_words(
    http: httpx.AsyncClient, point: str, status: int, word: str
) -> None:
    answer = await http.post(f"/api/v1/points/{point}/write", json={"value": True, "reason": "try", **WHO})
    assert answer.status_code == status
    assert word in answer.json()["error"]
    assert answer.json()["hint"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"value": true, "who": "a"}', "reason: is missing"),
        (b'{"value": true, "reason": "b"}', "who: is missing"),
        (b'{"value": true, "who": "  ", "reason": "b"}', "who: is empty"),
        (b'{"value": null, "who": "a", "reason": "b"}', "value"),
        (b'{"value": [1], "who": "a", "reason": "b"}', "value"),
        (b'{"value": NaN, "who": "a", "reason": "b"}', "value"),
        (b'{"value": 1e999, "who": "a", "reason": "b"}', "value"),
        (b'{"value": 99999999999999999999999999, "who": "a", "reason": "b"}', "value"),
        (b'{"value": true, "who": "a", "reason": "b", "force": true}', "force: is not known here"),
        (b'{"value": true, "who": "\\ud800", "reason": "b"}', "who"),
        (b'{"value": true, "who": "' + b"x" * 81 + b'", "reason": "b"}', "who"),
        (b'{"value": true', "body"),
        (b"\xff\xfe", "body"),
        (b"[" * 20_000, "body"),
        (b"", "body"),
        (b"7", "body"),
    ],
)
async def test_a_malformed_body_is_refused_and_nothing_is_done(
    http: httpx.AsyncClient, desk: FakeDesk, body: bytes, word: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = await http.post("/api/v1/points/light-1.on/write", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert word in answer.json()["error"]
    assert answer.json()["hint"]
    assert desk.asked == []


async def test_control_characters_do_not_reach_journals_and_terminals(
    http: httpx.AsyncClient, desk: FakeDesk
) -> None:
    body = {"value": True, "who": "a\x1b[31m\nb", "reason": "two\r\n lines\u202e"}
    await http.post("/api/v1/points/light-1.on/write", json=body)
    assert desk.asked == [("write", "light-1.on", True, "a [31m b", "two lines")]


async def test_the_alarm_desk(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    assert [row["id"] for row in (await http.get("/api/v1/alarms?state=shelved")).json()] == ["light-7.lamp_out"]
    acked = await http.post("/api/v1/alarms/elevator-3.trapped/ack", json=WHO)
    assert (acked.json()["state"], acked.json()["acked_by"]) == ("acknowledged", "王师傅")
    again = await http.post("/api/v1/alarms/elevator-3.trapped/ack", json=WHO)
    assert again.status_code == 409
    body = {"reason": "lamp is on order", "minutes": 90, **WHO}
    assert (await http.post("/api/v1/alarms/bin-4.full/shelve", json=body)).json()["state"] == "shelved"
    assert (await http.post("/api/v1/alarms/bin-4.full/unshelve", json=WHO)).status_code == 200
    assert (await http.post("/api/v1/alarms/bin-4.full/reset", json=WHO)).status_code == 200
    assert ("shelve", "bin-4.full", "王师傅", "lamp is on order", 90.0) in desk.asked


@pytest.mark.parametrize(
    "more", [{}, {"minutes": 5}, {"reason": "x"}, {"reason": "x", "minutes": 0}, {"reason": "x", "minutes": 1441}]
)
async def test_shelving_needs_why_and_for_how_long(http: httpx.AsyncClient, desk: FakeDesk, more: Any) -> None:
    answer = await http.post("/api/v1/alarms/bin-4.full/shelve", json={**WHO, **more})
    assert answer.status_code == 422
    assert desk.asked == []


async def test_a_step_that_there_is_not(http: httpx.AsyncClient) -> None:
    assert (await http.post("/api/v1/alarms/bin-4.full/explode", json=WHO)).status_code == 422
    assert (await http.post("/api/v1/orders/WO-000001/explode", json=WHO)).status_code == 422
    assert (await http.put("/api/v1/site", json={})).status_code == 405


async def test_work_orders_go_on_step_by_step(http: httpx.AsyncClient) -> None:
    order = "/api/v1/orders/WO-000001"
    assert (await http.post(f"{order}/done", json=WHO)).status_code == 409
    for step, state in [("accept", "accepted"), ("start", "started"), ("done", "done"), ("verify", "verified")]:
        assert (await http.post(f"{order}/{step}", json={**WHO, "note": "fine"})).json()["state"] == state
    assert (await http.post("/api/v1/orders/WO-000003/cancel", json=WHO)).status_code == 422
    cancelled = await http.post("/api/v1/orders/WO-000003/cancel", json={**WHO, "note": "done by maker"})
    assert cancelled.json()["state"] == "cancelled"


async def test_the_journal_by_kind_and_number(http: httpx.AsyncClient) -> None:
    rows = (await http.get("/api/v1/journal?kind=order&after=4&limit=2")).json()
    assert [row["seq"] for row in rows] == [6, 10]
    for wrong in ("after=-1", "limit=0", "limit=5000", "after=x", "after=99999999999999999999"):
        assert (await http.get(f"/api/v1/journal?{wrong}")).status_code == 422


async def test_readings_in_a_span(desk: FakeDesk) -> None:
    clock = ManualClock(wall_ns=1_772_447_465 * 10**9)
    transport = httpx.ASGITransport(build_app(desk, clock=clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        rows = (await http.get("/api/v1/readings?point=bin-1.fill&every=1m&to=2026-03-02T18:31:05")).json()
        await http.get("/api/v1/readings?point=bin-1.fill&from=1772440000&to=1772440001.5")
        await http.get("/api/v1/readings?point=bin-1.fill")
        await http.get("/api/v1/readings?point=bin-1.fill&every=1h&aggregate=increase")
        wrong = [
            await http.get(f"/api/v1/readings?point=bin-1.fill&{query}")
            for query in (
                "from=yesterday",
                "from=9&to=8",
                "every=often",
                "every=0",
                "to=2026-02-30",
                "aggregate=max",
                "every=1m&aggregate=median",
            )
        ]
    assert rows[0] == {
        "time": "2026-03-02T09:32:00.000Z", "time_ns": 1_772_443_920 * 10**9, "value": 63,
        "quality": "bad", "reason": "comm",
    }  # fmt: skip
    assert desk.asked[0][2:] == (1_772_443_865 * 10**9, 1_772_447_465 * 10**9, 60 * 10**9, "mean")
    assert desk.asked[1][2:] == (1_772_440_000 * 10**9, 1_772_440_001_500_000_000, None, "mean")
    assert desk.asked[2][2:] == (1_772_443_865 * 10**9, 1_772_447_465 * 10**9, None, "mean")
    assert desk.asked[3][4:] == (3600 * 10**9, "increase")
    assert [answer.status_code for answer in wrong] == [422] * 7
    assert "`aggregate` needs `every`" in wrong[5].json()["error"]
    assert all(name in wrong[6].json()["error"] for name in ("mean", "twa", "increase"))
    assert all(answer.json()["hint"] for answer in wrong)


async def test_health_is_200_or_503_with_the_reasons(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    answer = await http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "reasons": []})
    desk.faults.append("readings store: disk full")
    answer = await http.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "degraded", "reasons": ["readings store: disk full"]}


async def test_a_stumble_is_one_answer_without_its_insides(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble() -> Any:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(desk, "meters", stumble)
    transport = httpx.ASGITransport(build_app(desk), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.get("/api/v1/meters")
    assert answer.status_code == 500
    assert "secret" not in answer.text


async def test_events_of_an_unknown_kind_are_refused(http: httpx.AsyncClient) -> None:
    answer = await http.get("/api/v1/events?kind=gossip")
    assert answer.status_code == 422
    assert "kind" in answer.json()["error"]


async def test_the_description_names_every_route(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api/openapi.json")).json()
    assert "/api/v1/alarms/{alarm_id}/{step}" in document["paths"]
    assert document["components"]["schemas"]["PointView"]["properties"]["quality"]["enum"] == [
        "good",
        "uncertain",
        "bad",
    ]
    for path, verbs in document["paths"].items():
        for facts in verbs.values():
            assert facts.get("description"), path
