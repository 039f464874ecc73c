"""The logger `courtyard.push`: each push as one line, phone numbers masked. The demo's terminal listens there."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from drivers.driver import Clock
from edge.response.channels.channel import ChannelSettings
from edge.response.notice import Message, mask

LOGGER = "courtyard.push"


class Settings(ChannelSettings):
    """The log has no keys of its own."""

    type: Literal["log"]


class Log:
    """Prints each push as a line, by default into the logger `courtyard.push`."""

    room = 65_536
    per_minute = 0

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._show = show or logging.getLogger(LOGGER).info

    async def send(self, message: Message) -> None:
        """Print one line: for whom, and the text."""
        text = " | ".join(message.text.splitlines())
        self._show(mask(f"→ {', '.join(message.recipients)}: {text}"))


@asynccontextmanager
async def open_channel(settings: Settings, folder: Path, clock: Clock) -> AsyncIterator[Log]:
    """The logger."""
    yield Log()
