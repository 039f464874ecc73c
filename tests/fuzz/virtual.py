"""A TCP wire without sockets, and an event loop whose time passes only when nobody has anything to do.

What comes in: a device (bytes in, timed bytes out). What goes out: the open link of the driver on it, exactly as on a
socket, except that a time-out of one second costs nothing: a million exchanges are a matter of minutes, and the same
seed is the same history.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")
Timed = tuple[float, bytes]
"""After how many seconds, and which bytes."""


class _Jump(selectors.DefaultSelector):
    """A selector that never waits: what it would have waited is added to the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nobody has anything to do: the wire has stalled")
        self.now_s += max(timeout, 0.0)
        return cast(list[Any], super().select(0))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self, device: Callable[[bytes], list[Timed]]) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._device = device

    def time(self) -> float:
        """Virtual seconds."""
        return self._jump.now_s

    async def create_connection(self, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        """To the device, wherever the settings say that it is."""
        protocol = protocol_factory()
        transport = _Transport(self, protocol, self._device)
        self.call_soon(protocol.connection_made, transport)
        return transport, protocol


class _Transport(asyncio.Transport):
    def __init__(self, loop: VirtualLoop, protocol: asyncio.Protocol, device: Callable[[bytes], list[Timed]]) -> None:
        super().__init__()
        self._loop, self._protocol, self._device = loop, protocol, device
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        for after_s, piece in self._device(bytes(data)):
            self._loop.call_later(after_s, self._deliver, piece)

    def _deliver(self, piece: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(piece)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()


def run(main: Coroutine[Any, Any, T], device: Callable[[bytes], list[Timed]]) -> T:
    """Run to the end on a loop of its own, wired to the device."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(device)) as runner:
        return runner.run(main)
