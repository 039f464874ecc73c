"""What serves the console: uvicorn in the daemon's own loop, without its signal handlers and access log.

Loaded late, see `server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import AbstractContextManager

import uvicorn
from starlette.types import ASGIApp

from edge.console.api import build_app

__all__ = ["build_app", "serve"]

MOST_REQUESTS = 256
"""Connections and requests at once; more are answered 503 by uvicorn itself."""
STOP_S = 1
"""What running requests are given when the console stops."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, served: asyncio.Future[None], ended: asyncio.Event) -> None:
        super().__init__(config)
        self._served = served
        self._ended = ended

    async def main_loop(self) -> None:
        """Nothing is to be done now and then: uvicorn's own wakes a sleeping box ten times a second."""
        await self.on_tick(0)
        if not self._served.done():
            self._served.set_result(None)
        await self._ended.wait()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]  # the daemon has its own
        return contextlib.nullcontext()


async def serve(app: ASGIApp, listening: socket.socket, served: asyncio.Future[None], ended: asyncio.Event) -> None:
    """Serve until `ended` is set; `served` is done as soon as requests are answered."""
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
    await _Server(config, served, ended).serve(sockets=[listening])
