"""Figures for Prometheus, named by its conventions and readable by its own parser."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.console.fake_desk import FakeDesk


async def figures(http: httpx.AsyncClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples by name and labels."""
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


async def test_health_connections_uplinks_and_alarms_are_there(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    found = await figures(http)
    pump_room = (("connection", "pump-room"), ("type", "modbus-rtu"))
    lighting = (("connection", "lighting"), ("type", "modbus-tcp"))
    north = (("type", "mqtt"), ("uplink", "north"))
    assert found["courtyard_healthy", ()] == 1
    assert found["courtyard_readings_total", ()] == 812_331
    assert found["courtyard_uptime_seconds", ()] == 4_211.5
    assert found["courtyard_store_bytes", ()] == 1_200_000
    assert found["courtyard_connection_up", pump_room] == 1
    assert found["courtyard_connection_up", lighting] == 0
    assert found["courtyard_connection_timeouts_total", pump_room] == 212
    assert found["courtyard_connection_utilisation_ratio", pump_room] == 0.74
    assert ("courtyard_connection_utilisation_ratio", lighting) not in found
    assert found["courtyard_connection_load_ratio", pump_room] == 0.71
    assert found["courtyard_connection_overruns_total", pump_room] == 6
    assert found["courtyard_connection_worst_age_seconds", pump_room] == 2.4
    assert found["courtyard_uplink_lag_seconds", north] == 5_412
    assert found["courtyard_uplink_backlog_rows", north] == 20_113
    assert found["courtyard_uplink_rows_per_second", north] == 0
    assert found["courtyard_uplink_rejected_rows_total", north] == 4
    assert found["courtyard_alarms", (("priority", "critical"), ("state", "unacknowledged"))] == 1
    assert ("process_cpu_seconds_total", ()) in found
    desk.faults.append("disk full")
    assert (await figures(http))["courtyard_healthy", ()] == 0


async def test_names_from_the_site_file_cannot_break_the_format(http: httpx.AsyncClient, desk: FakeDesk) -> None:
    odd = 'a"b\\c\nd'
    rows = [{"name": odd, "type": "mqtt", "state": "up", "messages": 3}]
    desk.connections = lambda: rows  # type: ignore[method-assign]  # a desk with one odd connection
    assert (await figures(http))["courtyard_connection_messages_total", (("connection", odd), ("type", "mqtt"))] == 3


async def test_every_device_on_a_polled_line_has_its_planned_and_measured_share(http: httpx.AsyncClient) -> None:
    found = await figures(http)
    pump_1, pump_2 = ((("connection", "pump-room"), ("equipment", name)) for name in ("pump-1", "pump-2"))
    assert found["courtyard_device_up", pump_1] == 1
    assert found["courtyard_device_up", pump_2] == 0
    assert found["courtyard_device_load_ratio", pump_1] == 0.38
    assert found["courtyard_device_utilisation_ratio", pump_1] == 0.4
    assert found["courtyard_device_exchange_seconds", pump_1] == 0.066
    assert ("courtyard_device_exchange_seconds", pump_2) not in found
    assert found["courtyard_device_timeouts_total", pump_2] == 212
