"""A desk with believable answers and no daemon behind it: what console and command line are tested against."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from drivers.point import Value
from edge.events import Event, Hub
from edge.incidents.kpi import Report
from tests.console.fake_incidents import incident, timeline

Row = dict[str, Any]

# class, how many, names, location, connection, profile
_FLEET = (
    ("elevator", 4, "{n}号楼客梯", "{n}号楼 东侧井道", "elevators", "elevator/generic-controller"),
    ("pump", 3, "{n}号生活水泵", "地下一层 生活泵房", "pump-room", "pump/generic-vfd-booster"),
    ("meter", 1, "公共用电总表", "地下一层 配电间", "pump-room", "meter/eastron-sdm630"),
    ("bin", 6, "{n}号垃圾桶", "{n}号楼 东门", "lora", "bin/milesight-em400-mud"),
    ("light", 12, "{n}号路照明", "中心花园", "lighting", "light/generic-relay-circuit"),
    ("perimeter", 4, "{n}号防区", "南侧围墙 {n}段", "alarm-host", "perimeter/generic-zone"),
)
# name, zh, en, value, unit, writable
_POINTS: dict[str, tuple[tuple[str, str, str, Value, str, bool], ...]] = {
    "elevator": (
        ("floor", "楼层", "Floor", 7, "", False),
        ("running", "运行", "Running", True, "", False),
        ("door", "门状态", "Door", 2, "", False),
        ("speed", "速度", "Speed", 1.748231, "m/s", False),
        ("trips", "运行次数", "Trips", 184203, "", False),
        ("passenger_trapped", "困人", "Passenger trapped", False, "", False),
        ("machine_temperature", "曳引机温度", "Machine temperature", 48.2, "°C", False),
    ),
    "pump": (
        ("outlet_pressure", "出口压力", "Outlet pressure", 0.421, "MPa", False),
        ("running", "运行", "Running", True, "", False),
        ("frequency", "频率", "Frequency", 38.4, "Hz", False),
        ("current", "电流", "Current", 11.2, "A", False),
        ("vibration", "振动", "Vibration", 2.31, "mm/s", False),
        ("run_hours", "运行时间", "Run hours", 1999.98, "h", False),
    ),
    "meter": (
        ("voltage_l1", "A相电压", "Voltage L1", 231.4, "V", False),
        ("power", "总有功功率", "Active power", 18452.0, "W", False),
        ("import_energy", "正向有功电能", "Import energy", 284113.42, "kWh", False),
    ),
    "bin": (
        ("fill", "满溢度", "Fill", 63, "%", False),
        ("temperature", "温度", "Temperature", 21.4, "°C", False),
        ("battery", "电池", "Battery", 94, "%", False),
    ),
    "light": (
        ("on", "点亮", "Lit", True, "", True),
        ("current", "电流", "Current", 1.93, "A", False),
        ("burn_hours", "点亮时间", "Burn hours", 4120.5, "h", False),
    ),
    "perimeter": (
        ("intrusion", "入侵", "Intrusion", False, "", False),
        ("tamper", "防拆", "Tamper", False, "", False),
    ),
}
_YES_NO = {True: {"zh": "是", "en": "yes"}, False: {"zh": "否", "en": "no"}}
_DOOR = {0: {"zh": "关", "en": "closed"}, 2: {"zh": "开", "en": "open"}}


class FakeRefused(Exception):
    """The desk will not do it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def iso(ago_s: float = 0) -> str:
    """A time so long ago."""
    return iso_of(time.time_ns() - round(ago_s * 1e9))


def iso_of(time_ns: int) -> str:
    """A time as the desk writes it: to the ms, cut off."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alarm(equipment: str, title: str, place: str, rule: str, priority: str, state: str, **more: Any) -> Row:
    """One alarm row as the desk gives it."""
    return {
        "id": f"{equipment}.{rule}",
        "equipment": equipment,
        "equipment_name": title,
        "location": place,
        "rule": rule,
        "code": "X-01",
        "priority": priority,
        "state": state,
        "active": state in ("unacknowledged", "acknowledged"),
        "name": {"zh": rule, "en": rule},
        "advice": {"zh": "到现场查看。", "en": "Go and look."},
        "cause": None,
        "consequence": None,
        "raised": iso(125),
        "cleared": None,
        "acknowledged": None,
        "acked_by": None,
        "shelved_until": None,
        "occurrence": 1,
        "point": None,
        "value": None,
        **more,
    }


def _alarms() -> list[Row]:
    return [
        alarm(
            "elevator-3", "3号楼客梯", "3号楼 东侧井道", "trapped", "critical", "unacknowledged",
            code="LIFT-01", name={"zh": "电梯困人", "en": "Passenger trapped"},
            point="elevator-3.passenger_trapped", value=True,
            advice={
                "zh": "立即用对讲安抚乘客，通知维保单位30分钟内到场；不得自行扒门。",
                "en": "Calm the passengers by intercom at once; call the maintainer, on site within 30 minutes. "
                "Do not force the doors.",
            },
        ),
        alarm(
            "pump-2", "2号生活水泵", "地下一层 生活泵房", "bearing", "high", "acknowledged", raised=iso(4_000),
            code="WPMP-05", name={"zh": "水泵振动过大", "en": "Pump vibrates too much"},
            point="pump-2.vibration", value=7.62,
            advice={"zh": "切换到备用泵，检查轴承与联轴器。", "en": "Run the stand-by pump; see to its bearing."},
            acked_by="王师傅", acknowledged=iso(3_900),
        ),
        alarm(
            "perimeter-2", "2号防区", "南侧围墙 2段", "intrusion", "high", "latched_unacknowledged",
            code="PERI-01", name={"zh": "周界入侵", "en": "Perimeter intrusion"}, raised=iso(300), cleared=iso(290),
        ),
        alarm(
            "bin-4", "4号垃圾桶", "4号楼 东门", "full", "low", "returned", raised=iso(90_000), cleared=iso(400),
            code="BIN-01", name={"zh": "垃圾桶已满", "en": "Bin full"}, point="bin-4.fill", value=91,
            repeats={
                "kind": "chattering", "raises": 7, "suggestion": {"text": {
                    "zh": "建议 回差 deadband: 3.1 或 恢复延时 off_delay: 2m",
                    "en": "Suggested: deadband: 3.1, or off_delay: 2m",
                }},
            },
        ),
        alarm(
            "light-7", "7号路照明", "中心花园", "lamp_out", "low", "shelved", shelved_until=iso(-3_600),
            code="LGT-02", name={"zh": "灯具熄灭", "en": "Lamp out"},
        ),
    ]  # fmt: skip


def order(number: int, equipment: str, name: str, state: str, zh: str, en: str, **more: Any) -> Row:
    """One work order row as the desk gives it."""
    return {
        "id": f"WO-{number:06d}",
        "equipment": equipment,
        "equipment_name": name,
        "location": "地下一层 生活泵房",
        "plan": "service",
        "state": state,
        "priority": "medium",
        "title": {"zh": zh, "en": en},
        "task": {"zh": "按保养卡逐项检查并记录。", "en": "Work through the service card and note the figures."},
        "cause": {"zh": "运行满2000小时", "en": "2,000 run hours reached"},
        "opened": iso(7_200),
        "due": iso(-86_400 * 2),
        **more,
    }


_HISTORY = [
    {"event": "opened", "time_ns": 0, "who": "", "note": ""},
    {"event": "started", "time_ns": 1_772_447_465 * 10**9, "who": "王师傅", "note": ""},
]


class FakeDesk:
    """Answers as the daemon's desk does, and remembers what was asked of it."""

    def __init__(self, language: str = "zh") -> None:
        self.hub = Hub()
        self.asked: list[tuple[Any, ...]] = []
        self._steps: dict[str, Row] = {}
        self.faults: list[str] = []
        self._language = language
        self._alarms = _alarms()
        self._orders = [
            order(1, "pump-1", "1号生活水泵", "open", "水泵2000小时保养", "Pump service, 2,000 h"),
            order(
                2,
                "pump-2",
                "2号生活水泵",
                "started",
                "检查轴承",
                "Look at the bearing",
                priority="high",
                history=_HISTORY,
            ),
            order(3, "elevator-1", "1号楼客梯", "done", "电梯半月保养", "Half-month maintenance"),
            order(4, "light-3", "3号路照明", "verified", "更换灯具", "Change the lamp", priority="low"),
        ]
        self._equipment: list[Row] = [
            {
                "id": f"{kind}-{n}", "class": kind, "name": name.format(n=n), "location": place.format(n=n),
                "profile": profile, "synthetic": "generic" in profile, "connection": way, "shown": [],
                "quality": "good", "alarm": None,
            }
            for kind, count, name, place, way, profile in _FLEET
            for n in range(1, count + 1)
        ]  # fmt: skip
        self._points = {row["id"]: row for each in self._equipment for row in self._rows(each)}
        self._spoil()

    def _rows(self, equipment: Row) -> list[Row]:
        return [
            {
                "id": f"{equipment['id']}.{name}", "equipment": equipment["id"], "name": name,
                "title": {"zh": zh, "en": en}, "value": value,
                "label": _YES_NO[value] if isinstance(value, bool) else _DOOR[2] if name == "door" else None,
                "unit": unit, "quality": "good", "reason": None, "time": iso(1), "writable": writable,
            }
            for name, zh, en, value, unit, writable in _POINTS[equipment["class"]]
        ]  # fmt: skip

    def _spoil(self) -> None:
        """Some values that must not look good."""
        for row in self._points.values():
            if row["equipment"] == "pump-3":
                row |= {"quality": "bad", "reason": "comm", "value": None, "label": None, "time": None}
            if row["equipment"] == "bin-5":
                row |= {"quality": "bad", "reason": "stale", "time": iso(30_000)}
        self._points["pump-2.vibration"] |= {"value": 7.62}
        self._points["elevator-2.speed"] |= {"quality": "uncertain", "reason": "stale", "time": iso(70)}
        self._points["bin-2.temperature"] |= {"quality": "bad", "reason": "sensor", "value": None}
        worst = {"elevator-3": "critical", "pump-2": "high", "perimeter-2": "high"}
        for each in self._equipment:
            each["alarm"] = worst.get(each["id"])
            levels = {row["quality"] for row in self._points.values() if row["equipment"] == each["id"]}
            each["quality"] = "good" if levels == {"good"} else "bad" if levels == {"bad"} else "uncertain"

    def site(self) -> Row:
        return {"id": "maple-garden", "name": "枫林小区", "timezone": "Asia/Shanghai", "language": self._language}

    def place(self) -> Row:
        return {"state": "/var/lib/courtyard", "config": "/etc/courtyard/site.yaml"}

    def equipment(self) -> list[Row]:
        return self._equipment

    def equipment_one(self, equipment_id: str, /) -> Row | None:
        row = next((row for row in self._equipment if row["id"] == equipment_id), None)
        return {**row, "points": self.points(equipment_id)} if row else None

    def points(self, equipment: str | None = None, /) -> list[Row]:
        return [row for row in self._points.values() if equipment in (None, row["equipment"])]

    def point(self, point_id: str, /) -> Row | None:
        return self._points.get(point_id)

    async def write_point(
        self, point_id: str, value: Value, who: str, reason: str, for_s: float | None = None, /
    ) -> Row:
        self.asked.append(("write", point_id, value, who, reason, *(() if for_s is None else (for_s,))))
        row = self._points.get(point_id)
        if row is None:
            raise FakeRefused("not_found", f"no point {point_id}")
        if not row["writable"]:
            raise FakeRefused("refused", f"{point_id} is not writable: its profile does not say so")
        if point_id == "light-9.on":
            raise FakeRefused("unavailable", "light-9 does not answer; look at its connection lighting")
        before, row["value"] = row["value"], value
        done: Row = {"point": point_id, "before": before, "asked": value, "after": value, "result": "done"}
        if for_s is not None:
            done["override"] = {"event": "set", "returns_to": before, "until": iso(-for_s)}
        return done

    async def readings(
        self, point_id: str, from_ns: int, to_ns: int, every_ns: int | None, aggregate: str, /
    ) -> list[Row]:
        self.asked.append(("readings", point_id, from_ns, to_ns, every_ns, aggregate))
        if point_id not in self._points:
            raise FakeRefused("not_found", f"no point {point_id}")
        step = every_ns or 10 * 10**9
        value = self._points[point_id]["value"]
        first = -(-from_ns // step) * step
        times = range(first, min(to_ns, first + 5 * step), step)
        good, bad = {"quality": "good", "reason": None}, {"quality": "bad", "reason": "comm"}
        return [
            {"time": iso_of(time_ns), "time_ns": time_ns, "value": value, **(good if n else bad)}
            for n, time_ns in enumerate(times)
        ]

    def alarms(self, state: str | None = None, /) -> list[Row]:
        return [row for row in self._alarms if state in (None, row["state"])]

    async def alarm_step(self, alarm_id: str, step: str, who: str, reason: str, minutes: float | None, /) -> Row:
        self.asked.append((step, alarm_id, who, reason, minutes))
        row = next((row for row in self._alarms if row["id"] == alarm_id), None)
        if row is None:
            raise FakeRefused("not_found", f"no alarm {alarm_id} is standing")
        if step == "ack" and row["state"] in ("acknowledged", "shelved"):
            raise FakeRefused("conflict", f"{alarm_id} is {row['state']}; there is nothing to acknowledge")
        row["state"] = {"ack": "acknowledged", "shelve": "shelved", "unshelve": "unacknowledged"}.get(step, "normal")
        row["acked_by"] = who
        self.happen("alarm", row)
        return row

    def incidents(self, state: str | None = None, /) -> list[Row]:
        places = {row["equipment"]: row for row in self._alarms}
        rows = [
            incident(
                n, [row for row in self._alarms if row["equipment"] == name], **self._steps.get(f"INC-{n:06d}", {})
            )
            for n, name in enumerate(places, 1)
            if places[name]["state"] != "shelved"
        ]
        rows[0]["rescue"] = True
        rows[1] |= {"affected": ["1号生活水泵", "3号生活水泵"], "affected_count": 2}
        return [row for row in rows if state in (None, row["state"])]

    async def alarm_report(self, from_ns: int, to_ns: int, /) -> Row:
        self.asked.append(("report", from_ns, to_ns))
        report = Report(from_ns, to_ns)
        return {
            "from": iso_of(from_ns), "to": iso_of(to_ns), "figures": [each.to_body() for each in report.figures()],
            "top": [
                {"id": "bin-4.full", "name": {"zh": "满", "en": "Full"}, "priority": "low", "count": 7, "share": 70.0}
            ],
            "chattering": [
                {"id": "bin-4.full", "name": {"zh": "满", "en": "Full"}, "count": 7, "fleeting": 0,
                 "suggestion": {"text": {"zh": "建议 off_delay: 30s", "en": "Suggested: off_delay: 30s"}}}
            ],
            "fleeting": [], "incidents": 3, "pushes": 5,
        }  # fmt: skip

    async def incident(self, incident_id: str, /) -> Row | None:
        row = next((row for row in self.incidents() if row["id"] == incident_id), None)
        if row is None:
            return None
        alarms = [each for each in self._alarms if each["id"] in row["alarms"]]
        return {**row, "alarm_rows": alarms, "timeline": timeline(row, alarms), "more": 0}

    async def incident_step(self, incident_id: str, step: str, who: str, note: str, /) -> Row:
        self.asked.append((step, incident_id, who, note))
        row = await self.incident(incident_id)
        if row is None:
            raise FakeRefused("not_found", f"no incident {incident_id}")
        if step == "ack":
            if row["state"] != "open":
                raise FakeRefused("conflict", f"{incident_id} is {row['state']}; there is nothing to acknowledge")
            for each in self._alarms:
                if each["id"] in row["alarms"]:
                    each["state"], each["acked_by"] = "acknowledged", who
        elif step in ("onsite", "released"):
            self._steps.setdefault(incident_id, {}).update({step: iso(), f"{step}_by": who})
        self.happen("incident", row)
        return await self.incident(incident_id) or {}

    async def journal(self, kind: str | None, after: int, limit: int, /) -> list[Row]:
        kinds = ("alarm", "command", "order", "push")
        rows: list[Row] = [
            {"seq": n, "kind": kinds[n % 4], "subject": f"pump-{n}.bearing", "time": iso(100 - n),
             "body": {"event": "raised", "who": "", "note": ""}}
            for n in range(1, 21)
        ]  # fmt: skip
        return [row for row in rows if kind in (None, row["kind"]) and row["seq"] > after][:limit]

    def orders(self, state: str | None = None, /) -> list[Row]:
        return [row for row in self._orders if state in (None, row["state"])]

    async def order_step(self, order_id: str, step: str, who: str, note: str, /) -> Row:
        self.asked.append((step, order_id, who, note))
        row = next((row for row in self._orders if row["id"] == order_id), None)
        if row is None:
            raise FakeRefused("not_found", f"no work order {order_id}")
        follows = {"open": "accept", "accepted": "start", "started": "done", "done": "verify"}
        if step != "cancel" and follows.get(str(row["state"])) != step:
            raise FakeRefused("conflict", f"{order_id} is {row['state']}; it cannot be {step} now")
        row["state"] = {"accept": "accepted", "start": "started", "done": "done", "verify": "verified"}.get(
            step, "cancelled"
        )
        self.happen("order", row)
        return row

    def connections(self) -> list[Row]:
        def row(name: str, kind: str, **more: Any) -> Row:
            counts = {"messages": 48_211, "timeouts": 0, "bad_frames": 0, "exceptions": 0, "unknown": 0}
            since = {"since_ns": time.time_ns() - 10**12, "equipment": 4, "load": None, "utilisation": None}
            return {"name": name, "type": kind, "state": "up", "reason": None, **since, **counts, **more}

        def device(name: str, load: float, use: float, **more: Any) -> Row:
            plan = {"equipment": name, "state": "answering", "reason": None, "load": load, "planned_s": 0.062}
            counts = {"answers": 8_000, "timeouts": 0, "bad_answers": 0, "overruns": 0}
            return {**plan, "utilisation": use, "response_s": 0.066, **counts, **more}

        silent = {"state": "silent", "response_s": None, "timeouts": 212, "reason": "unit 2 does not answer"}
        unusable = {"bad_answers": 3, "reason": "unit 11 answers with exception 0x02"}
        pumps = [
            device("pump-1", 0.38, 0.4),
            device("pump-2", 0.2, 0.03, **silent),
            device("sump-1", 0.13, 0.31, **unusable),
        ]
        planned = {"worst_age_s": 2.4, "overruns": 6, "bad_answers": 3, "devices": pumps}
        return [
            row("elevators", "modbus-tcp", load=0.08, utilisation=0.05),
            row("pump-room", "modbus-rtu", load=0.71, utilisation=0.74, timeouts=212, bad_frames=3, **planned),
            row("lora", "mqtt", messages=812, unknown=2),
            row("lighting", "modbus-tcp", state="down", reason="10.0.0.7:502 refuses the connection", timeouts=4),
            row("alarm-host", "serial-lines", messages=17, bad_frames=1),
        ]

    def uplinks(self) -> list[Row]:
        return [
            {"name": "cloud", "type": "influxdb", "state": "up", "lag_s": 0.8, "backlog": 12, "rejected": 2,
             "reject_reason": "422: field type conflict",
             "rate": 41.5, "sent": 812_331, "events": 0, "reason": None},
            {"name": "north", "type": "mqtt", "state": "down", "lag_s": 5_412.0, "backlog": 20_113, "rejected": 4,
             "rate": 0.0, "sent": 17, "events": 3, "reason": "broker.example.org does not answer"},
        ]  # fmt: skip

    def meters(self) -> list[Row]:
        title = {"zh": "运行时间", "en": "Run hours"}
        return [{"equipment": "pump-1", "name": "run_hours", "title": title, "unit": "h", "value": 1999.98}]

    def health(self) -> Row:
        return {
            "ok": not self.faults, "reasons": self.faults, "uptime_s": 4_211.5, "readings": 812_331,
            "points": len(self._points), "store": {"bytes": 1_200_000.0, "commits_total": 4_000.0},
            "storage": {
                "bytes": 12_300_000, "budget_bytes": 4_000_000_000, "packed_bytes": 9_000_000, "packed_share": 0.8,
                "packed_readings": 4_100_000, "oldest_age_s": 777_600.0, "shed": {"packed": 5, "light": 7},
            },
        }  # fmt: skip

    def happen(self, kind: Any, body: Row) -> None:
        """Tell everybody who listens."""
        self.hub.publish(Event(kind, body, time.time_ns()))


async def _show(port: int) -> None:
    from edge.console.server import serve_console

    desk = FakeDesk()
    async with serve_console(desk, "127.0.0.1", port) as console:
        print(console.url, flush=True)
        while True:
            await asyncio.sleep(1)
            for row in desk._points.values():
                if row["quality"] == "good":
                    row["time"] = iso()


if __name__ == "__main__":  # a console to look at: python -m tests.console.fake_desk
    asyncio.run(_show(8099))
