"""A console on a loopback port, served from a thread, for commands that know nothing of event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue

import pytest

from edge.__main__ import main
from edge.clock import SystemClock
from edge.console.server import serve_console
from simulators.serve import serve
from tests.console.fake_desk import FakeDesk
from tests.simulators.on_wires import all_of, connection, settings_of, world_of


@dataclass
class Daemon:
    """What answers the commands."""

    desk: FakeDesk
    url: str


@pytest.fixture
def daemon(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A console on a fake desk, named by COURTYARD_URL; a test may ask for a token by parameter."""
    token: str | None = getattr(request, "param", None)
    desk = FakeDesk()
    started: Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def serve() -> None:
        stop = asyncio.Event()
        async with serve_console(desk, "127.0.0.1", 0, token=token) as console:
            started.put((console.url, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    url, loop, stop = started.get(timeout=5)
    monkeypatch.setenv("COURTYARD_URL", url)
    monkeypatch.setenv("LC_ALL", "en_GB.UTF-8")
    monkeypatch.delenv("COURTYARD_TOKEN", raising=False)
    yield Daemon(desk, url)
    loop.call_soon_threadsafe(stop.set)
    thread.join(5)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line; gives exit code, standard output, standard error."""

    def act(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as usage:  # argparse
            code = int(usage.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return act


LINES = ("pump-room", "elevators", "lighting")


@dataclass
class Wires:
    """Three simulated connections of the demo site."""

    port: str
    """The pump room's serial port."""
    host: str
    """The lifts' HOST:PORT."""
    lights: int
    """The TCP port of the relay module."""
    silent: set[str]
    """Equipment that shall not answer."""


@contextmanager
def _elsewhere() -> Iterator[Wires]:
    """Served from a thread: commands run their own event loop."""
    started: Queue[tuple[Wires, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def run() -> None:
        stop, members = asyncio.Event(), all_of(*LINES)
        wires, world = [connection(name) for name in LINES], world_of(members)
        async with serve(wires, members, world, SystemClock(), prefer_site_address=False, paced=False) as served:
            pumps, lifts, lights = (settings_of(wire, served).model_dump() for wire in wires)
            places = Wires(pumps["port"], f"{lifts['host']}:{lifts['port']}", lights["port"], world.silent)
            started.put((places, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    wires, loop, stop = started.get(timeout=5)
    try:
        yield wires
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


@pytest.fixture(scope="session")
def wires() -> Iterator[Wires]:
    """Simulated devices, served beside the commands that ask them."""
    with _elsewhere() as found:
        yield found
