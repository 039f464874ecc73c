"""A site of Modbus TCP devices for the benches, as files; and the processes around the daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import free_port, mosquitto_command, running

REGISTERS = 100
"""Of each device, all 16 bits, one request."""
RULES = 10
"""Alarm rules of each device, none of which is ever met."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked of the daemon."""

    connections: int = 50
    units: int = 1
    """Devices on each connection."""
    period_ms: int = 1000

    @property
    def per_s(self) -> float:
        """Values a second."""
        return self.connections * self.units * REGISTERS * 1000 / self.period_ms


def write_site(folder: Path, load: Load, modbus_port: int, broker_port: int | None) -> Path:
    """The site file and its profile."""
    (folder / "profiles" / "meter").mkdir(parents=True)
    (folder / "profiles" / "meter" / "bench.yaml").write_text(_profile(load.period_ms))
    lines = ["site: {id: bench, name: Bench, timezone: Asia/Shanghai}", "profiles: profiles"]
    lines.append(f"console: {{listen: '127.0.0.1:{free_port()}'}}")
    if broker_port:
        lines.append(f"uplinks: {{north: {{type: mqtt, host: 127.0.0.1, port: {broker_port}}}}}")
    lines.append("connections:")
    lines += [f"  c{n}: {{type: modbus-tcp, host: 127.0.0.1, port: {modbus_port}}}" for n in range(load.connections)]
    lines.append("equipment:")
    lines += [
        f"  e{n}u{unit}: {{profile: meter/bench, connection: c{n}, unit_id: {unit}}}"
        for n in range(load.connections)
        for unit in range(1, load.units + 1)
    ]
    path = folder / "site.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _profile(period_ms: int) -> str:
    lines = [
        "profile: meter/bench", "name: {zh: 测试, en: Bench}", "protocol: modbus",
        "source: 'synthetic profile: a hundred registers'", f"period: {period_ms}ms",
        "limits: {turnaround: 0ms}", "points:",
    ]  # fmt: skip
    for n in range(REGISTERS):
        band = ", deadband: 0.5" if n % 2 else ""
        bounds = ", low: 0, high: 65535" if n % 10 == 5 else ""
        lines.append(
            f"  r{n}: {{name: {{zh: 值, en: Value}}, kind: int, register: holding, address: {n}{band}{bounds}}}"
        )
    lines.append("alarms:")
    lines += [
        f"  high_{n}: {{code: B-{n:02}, name: {{zh: 高, en: High}}, advice: {{zh: 看, en: Look}}, priority: low,"
        f" respond: 15m, point: r{10 * n + 2}, above: 65535}}"
        for n in range(RULES)
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Mosquitto in its own process; its port."""
    port = free_port()
    command = mosquitto_command(port, folder)
    with Path(command[-1]).open("a") as config:
        config.write("set_tcp_nodelay true\n")
    with running(command, port, folder / "mosquitto.log"):
        yield port


@contextmanager
def helper(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """One of the bench's own processes, ended with the block."""
    command = [sys.executable, "-m", f"tests.bench.{name}", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a helper prints."""
    assert process.stdout is not None  # opened with a pipe
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{process.args!r} has ended")
    return line


def count(listener: subprocess.Popen[str]) -> dict[str, Any]:
    """What the listener has heard since it was asked last."""
    assert listener.stdin is not None  # opened with a pipe
    listener.stdin.write("\n")
    listener.stdin.flush()
    found: dict[str, Any] = json.loads(line_of(listener))
    return found


def daemon(
    folder: Path,
    load: Load,
    *,
    changing: bool = True,
    settle_s: float = 3.0,
    window_s: float = 10.0,
    profile: bool = False,
) -> dict[str, Any]:
    """One run of the daemon with devices, broker and listener around it; what it and the listener say."""
    folder.mkdir()
    flags = ["profile"] if profile else []
    with (
        broker(folder) as port,
        helper("tcp_devices", "changing" if changing else "still") as devices,
        helper("tcp_listener", port) as listener,
    ):
        site = write_site(folder, load, int(line_of(devices)), port)
        with helper("tcp_daemon", site, folder / "state", settle_s, window_s, *flags) as process:
            assert line_of(process) == "begin"
            count(listener)
            assert line_of(process) == "end"
            heard = count(listener)
            found: dict[str, Any] = json.loads(line_of(process))
            process.wait(20)
    return {**found, "heard": heard}
