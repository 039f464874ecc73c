"""The console on a socket, for as long as the daemon lives.

The socket is bound before anything is served, so that a busy port is one clear line and port 0 gives a port that
can be read. What serves it (see `serving`) takes a quarter of a start-up's processor time to load: that is done in a
thread beside the first polls, and whoever asks meanwhile waits that moment. On leaving, event streams are ended
first: an open page never holds up the daemon's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.driver import Clock
from edge.console.guard import ConsoleSettings, is_loopback
from edge.console.stream import Streams

if TYPE_CHECKING:
    from edge.console.views import Desk

log = logging.getLogger(__name__)


class ConsoleBusy(Exception):
    """The console cannot listen where it should. The message says where, why and what to do."""


@dataclass(frozen=True, slots=True)
class Console:
    """A console that listens."""

    host: str
    port: int
    streams: Streams
    served: asyncio.Future[None]
    """Done as soon as it answers."""

    @property
    def url(self) -> str:
        """Where to open it."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}"


@asynccontextmanager
async def serve_console(
    desk: Desk, host: str, port: int, *, token: str | None = None, clock: Clock | None = None
) -> AsyncIterator[Console]:
    """Serve the console while in the block; port 0 takes any free one. Raises `ConsoleBusy`.

    It listens from the beginning, and answers as soon as what it is made of has been loaded.
    """
    if token is None and not is_loopback(host):
        raise ConsoleBusy(f"console.listen {host}:{port} is open to the network; set console.token or use 127.0.0.1")
    listening = await _bind(host, port)
    bound = listening.getsockname()[1]
    console = Console(host, bound, Streams(), asyncio.get_running_loop().create_future())
    ended = asyncio.Event()
    settings = ConsoleSettings(host, bound, token)
    serving = asyncio.create_task(_serve(desk, settings, clock, listening, console, ended), name="console")
    serving.add_done_callback(_told)
    try:
        yield console
    finally:
        console.streams.close()
        ended.set()
        with contextlib.closing(listening):
            await asyncio.wait([serving])


async def _serve(
    desk: Desk, settings: ConsoleSettings, clock: Clock | None, listening: socket.socket, console: Console,
    ended: asyncio.Event,
) -> None:  # fmt: skip
    serving = await asyncio.to_thread(importlib.import_module, "edge.console.serving")
    app = serving.build_app(desk, settings, clock, console.streams)
    await serving.serve(app, listening, console.served, ended)


def _told(serving: asyncio.Task[None]) -> None:
    if not serving.cancelled() and serving.exception() is not None:
        log.critical("the console is not served; all else goes on", exc_info=serving.exception())


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
