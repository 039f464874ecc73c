"""The console on a socket: uvicorn in the daemon's own loop, without its signal handlers and access log.

The socket is bound before anything is served, so that a busy port is one clear line and port 0 gives a port that
can be read. On leaving, event streams are ended first: an open page never holds up the daemon's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass

import uvicorn

from drivers.driver import Clock
from edge.console.api import build_app
from edge.console.guard import ConsoleSettings, is_loopback
from edge.console.stream import Streams
from edge.console.views import Desk

MOST_REQUESTS = 256
"""Connections and requests at once; more are answered 503 by uvicorn itself."""
STOP_S = 1
"""What running requests are given when the console stops."""

log = logging.getLogger(__name__)


class ConsoleBusy(Exception):
    """The console cannot listen where it should. The message says where, why and what to do."""


@dataclass(frozen=True, slots=True)
class Console:
    """A console that is being served."""

    host: str
    port: int
    streams: Streams

    @property
    def url(self) -> str:
        """Where to open it."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}"


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Nothing is to be done now and then: uvicorn's own wakes a sleeping box ten times a second."""
        await self.on_tick(0)
        await self._ending.wait()

    def end(self) -> None:
        """Let `serve` return, at once."""
        self.should_exit = True
        self._ending.set()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # the daemon has its own
        return contextlib.nullcontext()


@asynccontextmanager
async def serve_console(
    desk: Desk, host: str, port: int, *, token: str | None = None, clock: Clock | None = None
) -> AsyncIterator[Console]:
    """Serve the console while in the block; port 0 takes any free one. Raises `ConsoleBusy`."""
    if token is None and not is_loopback(host):
        raise ConsoleBusy(f"console.listen {host}:{port} is open to the network; set console.token or use 127.0.0.1")
    listening = await _bind(host, port)
    bound = listening.getsockname()[1]
    app = build_app(desk, ConsoleSettings(host, bound, token), clock)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",
        access_log=False,
        lifespan="off",
        date_header=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        limit_concurrency=MOST_REQUESTS,
        timeout_graceful_shutdown=STOP_S,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="console")
    try:
        await _started(server, serving)
        yield Console(host, bound, app.state.streams)
    finally:
        app.state.streams.close()
        server.end()
        with contextlib.closing(listening):
            await serving


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    while not server.started:
        if serving.done():
            await serving
            raise ConsoleBusy("the console did not start; see the log")
        await asyncio.sleep(0)


async def _bind(host: str, port: int) -> socket.socket:
    """A listening socket, or `ConsoleBusy` in the words of the site file."""
    where = f"console.listen {f'[{host}]' if ':' in host else host}:{port}"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConsoleBusy(
            f"{where}: no address of that name ({error.strerror}); write an address of this box"
        ) from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        with _closed_on_error(listening):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(128)
            listening.setblocking(False)
    except OSError as error:
        raise ConsoleBusy(f"{where} {_reason(error)}") from error
    return listening


@contextlib.contextmanager
def _closed_on_error(opened: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        opened.close()
        raise


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is taken by another program; choose another port"
    if error.errno == errno.EACCES:
        return "is not allowed for this user; choose a port above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return "is no address of this box; write 127.0.0.1 or one that `ip address` shows"
    return f"cannot be listened on ({error.strerror}); choose another address"
