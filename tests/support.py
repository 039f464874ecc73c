"""What tests of all parts use: waiting for something to become true, free ports, real services."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


async def eventually(predicate: Callable[[], T | Awaitable[T]], within_s: float = 5.0) -> T:
    """The predicate's value as soon as it is true; fails the test where that takes longer than `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        result = predicate()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline:
            pytest.fail(f"still not true after {within_s:g} s (last: {result!r})")
        await asyncio.sleep(0.01)


@contextmanager
def no_file_grows() -> Iterator[None]:
    """While in the block nothing can be written by this process, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def need(program: str, package: str) -> str:
    """The path of a program; where it is missing the test is skipped, in CI it fails."""
    path = shutil.which(program) or next(
        (str(p) for p in (Path("/usr/sbin") / program, Path("/sbin") / program) if p.exists()), None
    )
    if path:
        return path
    message = f"{program} is not installed; get it by: sudo apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, within_s: float = 15.0
) -> Iterator[subprocess.Popen[bytes]]:
    """A real service, ready to be connected to on a loopback port, ended with the block."""
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            _wait_for_port(process, port, log, within_s)
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return
        time.sleep(0.02)
    pytest.fail(f"{process.args!r} does not listen on {port}: {log.read_text(errors='replace')[-500:]}")


def mosquitto_command(port: int, folder: Path) -> list[str]:
    """A Mosquitto on a loopback port that takes anybody, as a command to run."""
    config = folder / f"mosquitto-{port}.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\n")
    return [need("mosquitto", "mosquitto"), "-c", str(config)]


def victoria_command(port: int, folder: Path) -> list[str]:
    """A server of the InfluxDB v2 write API on a loopback port, as a command to run."""
    return [
        need("victoria-metrics", "victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={folder / 'victoria'}",
        "-retentionPeriod=100y",
    ]


def influxdb1_command(port: int, folder: Path) -> list[str]:
    """InfluxDB 1.x on a loopback port with its data in `folder`, as a command to run."""
    config = folder / f"influxdb-{port}.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:0"\n[meta]\ndir = "{folder}/influx/meta"\n'
        f'[data]\ndir = "{folder}/influx/data"\nwal-dir = "{folder}/influx/wal"\nquery-log-enabled = false\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
    )
    return [need("influxd", "influxdb"), "-config", str(config)]
