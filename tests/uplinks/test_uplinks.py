"""All uplinks of a site: each runs by itself, says how it is doing, and is forgotten with the site file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from drivers.point import Text, Value
from edge.clock import ManualClock
from edge.store.ledger import StoreError
from edge.store.readings import ReadingsStore, open_readings
from edge.uplinks import UPLINKS, Uplink, open_uplinks, view_of
from edge.uplinks.shape import EquipmentView, PointView
from tests.support import eventually, free_port
from tests.uplinks.books import Books, Entry


class House:
    """As much of a daemon as uplinks see."""

    def __init__(self, store: ReadingsStore, **uplinks: dict[str, object]) -> None:
        self.clock = ManualClock()
        self.store = store
        self.ledger = self.clerk = Books()
        self.uplinks: dict[str, Uplink] = {}
        self.desk = self
        point = SimpleNamespace(
            id="pump-1.pressure", unit="bar", title=Text("压力", "Pressure"), kind="float", writable=False,
            counter=False, low=0.0, high=16.0, labels={0: Text("无", "none")},
        )  # fmt: skip
        pump = SimpleNamespace(
            id="pump-1", equipment_class="pump", profile=SimpleNamespace(id="pump/vfd"),
            location="地下", name="1号泵", device=SimpleNamespace(points=(point,)),
        )  # fmt: skip
        self.site = SimpleNamespace(
            info=SimpleNamespace(id="maple", name="枫林", language="zh"),
            equipment={"pump-1": pump},
            uplinks={name: UPLINKS[str(keys["type"])].model_validate(keys) for name, keys in uplinks.items()},
        )

    def alarms(self) -> list[dict[str, Any]]:
        return []

    def orders(self) -> list[dict[str, Any]]:
        return []

    def incidents(self) -> list[dict[str, Any]]:
        return []

    def live(self, point_id: str) -> tuple[Value, str, int]:
        raise AssertionError(point_id)

    async def alarm_step(
        self, alarm_id: str, step: str, who: str, reason: str | None = None, minutes: float | None = None
    ) -> dict[str, Any]:
        raise AssertionError((alarm_id, step, who, reason, minutes))

    async def write_point(
        self, point_id: str, value: Value, who: str, reason: str, for_s: float | None = None
    ) -> dict[str, Any]:
        raise AssertionError((point_id, value, who, reason))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadingsStore]:
    async with open_readings(tmp_path / "readings.db", 600) as opened:
        yield opened


def test_the_outside_is_told_of_a_site_by_class_profile_and_place() -> None:
    view = view_of(House(None).site)  # type: ignore[arg-type]  # no store needed
    assert view.id == "maple"
    assert view.equipment == {"pump-1": EquipmentView("pump", "pump/vfd", "地下", "1号泵")}
    assert (view.name, view.language) == ("枫林", "zh")
    title = {"zh": "压力", "en": "Pressure"}
    assert view.points == {
        "pump-1.pressure": PointView("bar", title, low=0.0, high=16.0, labels={0: {"zh": "无", "en": "none"}})
    }
    assert view.points_of() == {"pump-1": ["pressure"]}


async def test_an_uplink_that_left_the_site_file_is_forgotten_and_the_journal_says_what_it_did_not_have(
    store: ReadingsStore, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(10):
        store.append("pump-1", ("pressure",), (3.5,), None, n)
    store.advance("old", 2)
    store.advance("old/3/from", 5)
    store.advance("old/3/to", 9)
    store.advance("north", 1)
    house = House(store, north={"type": "mqtt"}, second={"type": "mqtt"})
    house.ledger.state["uplink", "old"] = {"journal": 7}
    (first, note), *rest = open_uplinks(house)
    await note()
    assert (first, [name for name, _ in rest]) == ("uplinks changed", ["uplink[north]", "uplink[second]"])
    assert store.cursors() == {"north": 1, "second": 0}
    assert house.ledger.state["uplink", "old"] is None
    assert [(entry.subject, entry.body) for _, entry in house.ledger.entries] == [
        ("old", {"event": "removed", "rows_given_up": 4}),
        ("second", {"event": "added", "rows": 10}),
    ]
    assert "uplink old is no longer in the site file; 4 rows that it did not have are given up" in caplog.text
    assert [name for name, _ in open_uplinks(house)] == ["uplink[north]", "uplink[second]"]


async def test_a_name_that_leads_to_another_far_end_says_what_only_the_one_before_has(
    store: ReadingsStore, caplog: pytest.LogCaptureFixture
) -> None:
    books, moved = Books(), "uplink cloud leads to another far end now; what was sent until now is only there"

    async def life(**more: object) -> None:
        keys = {"type": "influxdb", "url": "http://127.0.0.1:1", "org": "o", "bucket": "b", **more}
        house = House(store, cloud=keys)
        house.ledger = house.clerk = books
        ways = [run for name, run in open_uplinks(house) if name != "uplinks changed"]
        task = asyncio.create_task(ways[0](), name="cloud")
        await eventually(
            lambda: house.uplinks["cloud"].status()["state"] == "down" or "cloud" in house.clock.sleeping()
        )
        task.cancel()
        await asyncio.wait([task])

    for n in range(7):
        store.append("pump-1", ("pressure",), (3.5,), None, n)
    store.advance("cloud", 5)
    for _ in range(2):
        await life()
    assert moved not in caplog.text
    await life(bucket="another", token="t")
    assert moved in caplog.text
    assert [entry.body for _, entry in books.entries] == [{"event": "moved", "last_row_there": 5}]
    await life(bucket="another", token="t2", gzip=False)
    assert len(books.entries) == 1
    assert store.cursor("cloud") == 5


def passing(clock: ManualClock, reached: bool) -> bool:
    """Time goes on until something is so."""
    if not reached:
        clock.advance(0.5)
    return reached


class Unreadable(Books):
    """Books that cannot be read until they can."""

    readable = False

    async def load(self, kind: str) -> dict[str, dict[str, Any]]:
        if not self.readable:
            raise StoreError("ledger.db cannot be read: disk I/O error")
        return await super().load(kind)

    async def journal(self, *given: Any, **more: Any) -> list[tuple[int, Entry]]:
        if not self.readable:
            raise StoreError("ledger.db cannot be read: disk I/O error")
        return await super().journal(*given, **more)


async def test_readings_go_on_while_the_ledger_cannot_be_read_and_what_happened_is_told_afterwards(
    store: ReadingsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.uplinks.RECALL_S", 0.05)
    heard: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.json()
        refused = [item for item in body.get("readings", []) if item["values"]["pressure"] < 0]
        heard.append(body)
        return web.Response(status=422 if refused else 200)

    async with serving(take) as url:
        books = Unreadable()
        house = House(store, hook={"type": "webhook", "url": url})
        house.ledger = house.clerk = books
        where = house.site.uplinks["hook"].where()
        books.state["uplink", "hook"] = {"journal": 1, "rejected": 5, "where": where, "reject_reason": "400: before"}
        books.add("alarm", "told-before")
        books.add("alarm", "pump-1.dry")
        [*_, (name, run)] = open_uplinks(house)
        task = asyncio.create_task(run(), name=name)
        for value in (1.5, -1.0):
            store.append("pump-1", ("pressure",), (value,), None, house.clock.wall_ns())
        await eventually(lambda: passing(house.clock, store.cursor("hook") == 2))
        assert house.uplinks["hook"].status()["state"] == "up"
        assert not any("events" in body for body in heard)
        assert books.state["uplink", "hook"] == {
            "journal": 1, "rejected": 5, "where": where, "reject_reason": "400: before",
        }  # fmt: skip
        books.readable = True
        await eventually(lambda: passing(house.clock, any("events" in body for body in heard)))
        assert [each["subject"] for body in heard for each in body.get("events", [])] == ["pump-1.dry"]
        store.append("pump-1", ("pressure",), (2.5,), None, house.clock.wall_ns())
        await eventually(lambda: passing(house.clock, store.cursor("hook") == 3))
        kept = books.state["uplink", "hook"] or {}
        assert (kept["journal"], kept["rejected"]) == (2, 6)
        assert (kept["where"], kept["reject_reason"]) == (where, "422: ")
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def serving(take: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A web server of one page; its address."""
    app, port = web.Application(), free_port()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/hook"
    finally:
        await runner.cleanup()


async def test_uplinks_whose_far_ends_are_away_say_why_and_what_waits(store: ReadingsStore) -> None:
    port = free_port()
    house = House(
        store,
        cloud={"type": "influxdb", "url": f"http://127.0.0.1:{port}", "org": "o", "bucket": "b"},
        north={"type": "mqtt", "port": port},
    )
    ways = [(name, run) for name, run in open_uplinks(house) if name != "uplinks changed"]
    tasks = [asyncio.create_task(run(), name=name) for name, run in ways]
    assert house.uplinks["cloud"].status()["state"] == "connecting"
    store.append("pump-1", ("pressure",), (3.5,), None, house.clock.wall_ns())
    await eventually(lambda: set(house.clock.sleeping()) >= {task.get_name() for task in tasks})
    house.clock.advance(0.5)
    await eventually(lambda: all(uplink.status()["state"] == "down" for uplink in house.uplinks.values()))
    house.clock.advance(10)
    for name, kind in (("cloud", "influxdb"), ("north", "mqtt")):
        status = house.uplinks[name].status()
        assert f"127.0.0.1:{port}" in status.pop("reason")
        assert status == {
            "name": name, "type": kind, "state": "down", "lag_s": 10.5, "backlog": 1, "sent": 0, "rejected": 0,
            "rate": 0.0, "events": 0, "reject_reason": None,
        }  # fmt: skip
        house.uplinks[name].announce("alarm", "pump-1.dry", {"id": "pump-1.dry", "state": "unacknowledged"})
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_webhook_that_is_told_alarms_alone_is_down_while_its_server_takes_none(store: ReadingsStore) -> None:
    well = False

    async def take(request: web.Request) -> web.Response:
        return web.Response(status=200 if well else 500)

    async with serving(take) as url:
        house = House(store, hook={"type": "webhook", "url": url, "what": ["alarms"]})
        [*_, (name, run)] = open_uplinks(house)
        task = asyncio.create_task(run(), name=name)
        hook = house.uplinks["hook"]
        store.append("pump-1", ("pressure",), (1.5,), None, house.clock.wall_ns())
        await eventually(lambda: passing(house.clock, hook.status()["state"] == "up"))
        house.ledger.add("alarm", "pump-1.dry", house.clock.wall_ns())
        hook.announce("alarm", "pump-1.dry", {})
        await eventually(lambda: passing(house.clock, hook.status()["state"] == "down"))
        assert "answers 500" in hook.status()["reason"]
        well = True
        await eventually(lambda: passing(house.clock, hook.status()["state"] == "up"))
        assert (hook.status()["reason"], hook.status()["events"]) == (None, 1)
        assert (hook.status()["sent"], hook.status()["rate"]) == (0, 0.0), "it was told no reading"
        task.cancel()
        await asyncio.wait([task])
