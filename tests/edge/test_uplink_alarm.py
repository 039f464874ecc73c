"""An uplink that is more than an hour behind is an alarm; its lag is shown everywhere, in both languages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from drivers.document import Document, Faulty, parse
from edge.app import run
from edge.clock import ManualClock
from edge.console.server import Console
from edge.gateway import take_lag
from edge.house import House
from edge.site_file import load_site
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
    taken: list[str] = []

    async def write(request: web.Request) -> web.Response:
        taken.append((await request.read()).decode())
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/api/v2/write", write)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    async with living(tmp_path, clock, port) as house:
        assert [each["id"] for each in house.desk.alarms()] == ["uplink:cloud.uplink_backlog"]
        await eventually(lambda: taken)
        await eventually(lambda: house.uplinks["cloud"].lag_s() == 0)
        await pass_time(clock, 120)
        await eventually(lambda: not house.desk.alarms()[0]["active"])
    await runner.cleanup()


def test_the_limit_is_a_setting_of_the_gateway_file() -> None:
    def read(keys: str) -> tuple[float, Document]:
        document = parse(f"alarms:\n  uplink_backlog: {{code: GW-04, {keys}}}\n", Document("gateway.yaml"))
        return take_lag(document), document

    assert read("priority: low")[0] == 3600
    lag_s, document = read("lag: 10m")
    assert (lag_s, document.get("alarms", "uplink_backlog")) == (600, {"code": "GW-04"})
    [fault] = read("lag: never")[1].faults
    assert "lag" in str(fault)


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
