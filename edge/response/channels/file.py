"""A file of JSON lines, one for each push: for trying, and for programs that follow it. It is synced off the loop."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson
from pydantic import Field

from drivers.driver import Clock
from edge.response.channels.channel import ChannelError, ChannelSettings, in_thread
from edge.response.notice import Message


class Settings(ChannelSettings):
    """Keys of a file channel."""

    type: Literal["file"]
    path: str = Field(min_length=1)
    """A relative one is in the state directory."""


class File:
    """One file. It is opened anew for each line, so that it may be rotated away."""

    room = 65_536
    per_minute = 0

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    async def send(self, message: Message) -> None:
        """Append one line and wait until it is on disk."""
        seconds, rest = divmod(self._clock.wall_ns(), 1_000_000_000)
        line = {
            "time": datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000).isoformat(),
            "notices": message.notices,
            "recipients": message.recipients,
            "priority": message.priority,
            "text": message.text,
        }
        try:
            await in_thread("push-file", lambda: _append(self._path, orjson.dumps(line) + b"\n"))
        except OSError as error:
            reason = f"{self._path} cannot be written: {error.strerror}; check disk and permissions"
            raise ChannelError(reason) from None


def _append(path: Path, line: bytes) -> None:
    # Names and phone numbers may stand in it: for the daemon's user only.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    before = os.fstat(handle).st_size
    try:
        while line:  # a disk that fills up takes a part of it
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, before)  # the next line must not begin in the middle of this one
        raise
    finally:
        os.close(handle)


@asynccontextmanager
async def open_channel(settings: Settings, folder: Path, clock: Clock) -> AsyncIterator[File]:
    """The file, which is made with the first push."""
    yield File(folder / settings.path, clock)
