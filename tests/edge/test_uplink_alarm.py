"""An uplink that is more than an hour behind is an alarm, and so is one whose far end refuses something for good."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import web

from drivers.document import Document, Faulty, parse
from edge.app import run
from edge.clock import ManualClock
from edge.console.server import Console
from edge.gateway import take_uplink_limits
from edge.house import House
from edge.site_file import load_site
from edge.store.ledger import open_ledger
from tests.support import eventually, free_port


@asynccontextmanager
async def living(tmp_path: Path, clock: ManualClock, port: int) -> AsyncIterator[House]:
    """A daemon without devices, with one uplink to `port`."""
    file = tmp_path / "site.yaml"
    cloud = f"cloud: {{type: influxdb, url: 'http://127.0.0.1:{port}', org: o, bucket: b}}"
    file.write_text(
        "site: {id: s, name: S, timezone: Asia/Shanghai}\nconsole: {listen: 127.0.0.1:0}\n"
        f"connections: {{}}\nequipment: {{}}\nuplinks:\n  {cloud}\n"
    )
    stop, up = asyncio.Event(), asyncio.get_running_loop().create_future()

    def ready(house: House, console: Console) -> None:
        up.set_result((house, console))

    daemon = asyncio.create_task(run(load_site(file), tmp_path / "state", stop, clock, ready))
    try:
        yield (await up)[0]
    finally:
        stop.set()
        await daemon


async def pass_time(clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds // 30):
        clock.advance(30)
        await eventually(lambda: {"ticks", "keeper"} <= clock.sleeping())


async def test_an_hour_behind_is_an_alarm_that_survives_a_restart_and_clears_when_all_is_sent(tmp_path: Path) -> None:
    clock, port = ManualClock(), free_port()
    async with living(tmp_path, clock, port) as house:
        await eventually(lambda: {"ticks", "keeper"} <= clock.sleeping())
        house.store.append("pump-1", ("pressure",), (3.5,), None, clock.wall_ns())
        await eventually(lambda: "uplink[cloud]" in clock.sleeping())
        await pass_time(clock, 3540)
        assert house.desk.alarms() == []
        await pass_time(clock, 240)
        [alarm] = await eventually(house.desk.alarms)
        assert (alarm["id"], alarm["code"]) == ("uplink:cloud.uplink_backlog", "GW-04")
        assert alarm["name"] == {"zh": "数据上传滞后", "en": "Uplink behind"}
        [status] = house.desk.uplinks()
        assert status["lag_s"] >= 3600
        assert (status["state"], status["backlog"]) == ("down", 1)
    async with far_end(port) as taken, living(tmp_path, clock, port) as house:
        assert [each["id"] for each in house.desk.alarms()] == ["uplink:cloud.uplink_backlog"]
        await eventually(lambda: taken)
        await eventually(lambda: house.uplinks["cloud"].lag_s() == 0)
        await pass_time(clock, 120)
        await eventually(lambda: not house.desk.alarms()[0]["active"])


async def test_a_row_of_a_clock_that_was_ahead_does_not_hide_that_the_far_end_is_away(tmp_path: Path) -> None:
    clock, port = ManualClock(), free_port()
    async with living(tmp_path, clock, port) as house:
        await eventually(lambda: {"ticks", "keeper"} <= clock.sleeping())
        house.store.append("pump-1", ("pressure",), (3.5,), None, clock.wall_ns() + 4 * 365 * 86_400 * 10**9)
        await eventually(lambda: "uplink[cloud]" in clock.sleeping())
        await pass_time(clock, 3780)
        [alarm] = await eventually(house.desk.alarms)
        assert alarm["code"] == "GW-04"
        assert house.desk.uplinks()[0]["lag_s"] >= 3600


@asynccontextmanager
async def far_end(port: int) -> AsyncIterator[list[str]]:
    """Takes every line but those that end with 7; yields what it has taken."""
    taken: list[str] = []

    async def write(request: web.Request) -> web.Response:
        lines = (await request.read()).decode().splitlines()
        if any("=7" in line for line in lines):
            return web.json_response({"code": "invalid", "message": "no sevens here"}, status=422)
        taken.extend(lines)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/api/v2/write", write)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield taken
    finally:
        await runner.cleanup()


async def record(house: House, clock: ManualClock, value: float) -> None:
    """One reading, and the uplink has its turn."""
    house.store.append("pump-1", ("pressure",), (value,), None, clock.wall_ns())

    def sent() -> bool:
        clock.advance(0.01)
        return house.store.cursor("cloud") == house.store.newest()

    await eventually(sent)
    await pass_time(clock, 30)


async def test_what_the_far_end_refuses_for_good_is_an_alarm_until_an_hour_after_the_last(tmp_path: Path) -> None:
    clock, port, one = ManualClock(), free_port(), "uplink:cloud.uplink_rejects"
    async with far_end(port) as taken:
        async with living(tmp_path, clock, port) as house:
            await eventually(lambda: {"ticks", "keeper"} <= clock.sleeping())
            await record(house, clock, 1.5)
            assert (house.desk.alarms(), len(taken)) == ([], 1)
            await record(house, clock, 7)
            [alarm] = await eventually(house.desk.alarms)
            assert (alarm["id"], alarm["code"], alarm["priority"]) == (one, "GW-08", "low")
            [status] = house.desk.uplinks()
            assert (status["state"], status["rejected"]) == ("up", 1)
            assert status["reject_reason"] == "422: no sevens here"
            await pass_time(clock, 1800)
            await record(house, clock, 7)
            await pass_time(clock, 2400)
            assert house.desk.alarms()[0]["active"], "the hour runs from the last one"
        async with living(tmp_path, clock, port) as house:
            await eventually(lambda: {"ticks", "keeper"} <= clock.sleeping())
            await pass_time(clock, 60)
            assert house.desk.alarms()[0]["active"]
            assert house.desk.uplinks()[0]["rejected"] == 2
            await pass_time(clock, 1200)
            await eventually(lambda: not house.desk.alarms()[0]["active"])
        async with living(tmp_path, clock, port) as house:
            await eventually(lambda: {"ticks", "keeper"} <= clock.sleeping())
            await pass_time(clock, 600)
            assert not house.desk.alarms()[0]["active"], "what was refused long ago is not told again"
            assert house.desk.uplinks()[0]["rejected"] == 2
    with closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as db:
        told = db.execute("SELECT body FROM journal WHERE kind = 'alarm' ORDER BY rowid").fetchall()
        assert [json.loads(body)["event"] for (body,) in told] == ["raised", "cleared"]


async def test_an_alarm_about_a_reject_is_raised_though_the_box_died_before_it_could_be(tmp_path: Path) -> None:
    clock, port = ManualClock(), free_port()
    async with far_end(port):
        (tmp_path / "state").mkdir()
        async with open_ledger(tmp_path / "state" / "ledger.db") as ledger:
            kept = {"rejected": 1, "reject_ns": clock.wall_ns(), "reject_reason": "too long"}
            await ledger.commit([], {("uplink", "cloud"): kept})
        async with living(tmp_path, clock, port) as house:
            await eventually(lambda: {"ticks", "keeper"} <= clock.sleeping())
            await pass_time(clock, 60)
            [alarm] = await eventually(house.desk.alarms)
            assert (alarm["code"], alarm["active"]) == ("GW-08", True)


@pytest.mark.parametrize(("rule", "key"), [("uplink_backlog", "lag"), ("uplink_rejects", "calm")])
def test_the_limits_are_settings_of_the_gateway_file(rule: str, key: str) -> None:
    def read(keys: str) -> tuple[float, Document]:
        document = parse(f"alarms:\n  {rule}: {{code: GW-04, {keys}}}\n", Document("gateway.yaml"))
        return getattr(take_uplink_limits(document), key), document

    assert read("priority: low")[0] == 3600
    seconds, document = read(f"{key}: 10m")
    assert (seconds, document.get("alarms", rule)) == (600, {"code": "GW-04"})
    [fault] = read(f"{key}: never")[1].faults
    assert key in str(fault)


def test_files_of_tls_are_looked_for_beside_the_site_file_when_it_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"

    def check(tls: str) -> str:
        file.write_text(
            "site: {id: s, name: S, timezone: Asia/Shanghai}\nconnections: {}\nequipment: {}\n"
            f"uplinks:\n  north:\n    type: mqtt\n    tls: {tls}\n"
        )
        with pytest.raises(Faulty) as told:
            load_site(file)
        [fault] = told.value.faults
        return str(fault)

    assert "ca.pem cannot be read (No such file or directory); put the file there" in check("{ca: ca.pem}")
    (tmp_path / "ca.pem").write_text("no certificate")
    assert f"ca: {tmp_path / 'ca.pem'} holds no certificates in PEM form" in check("{ca: ca.pem}")
    assert "add cert, or remove key" in check("{key: client.key}")
    assert "did you mean ca?" in check("{caa: ca.pem}")
