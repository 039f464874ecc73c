"""DingTalk (钉钉) group robot, signed: 20 messages a minute, then muted for ten, so it must never come to that.

The signature is base64(HMAC-SHA256(key=secret, "{timestamp}\\n{secret}")), the time in ms and within an hour of
theirs. Failures come as HTTP 200 with `errcode`: 310000 security settings, 130101 too many messages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr

from drivers.driver import Clock
from edge.response.channels.robot import Dialect, Robot, RobotSettings, WebAddress, open_robot
from edge.response.notice import Message, truncate

TEXT_BYTES = 6_000
"""A whole request may have 20,000 bytes; JSON may need six for one, though texts without control characters two."""
DIALECT = Dialect(
    "DingTalk",
    code=("errcode",),
    text="errmsg",
    rate=frozenset({130101}),
    busy=frozenset({-1}),
    hints={
        310000: "check secret (the robot's security must be 加签) and the clock of this box",
        300001: "check the robot's key, and that it is still in the group",
    },
)


class Settings(RobotSettings):
    """Keys of a DingTalk robot; `key` is what its address calls access_token."""

    type: Literal["dingtalk"]
    url: WebAddress = "https://oapi.dingtalk.com/robot/send"
    secret: SecretStr | None = None
    """Of the security setting 加签; begins with SEC."""


def sign(secret: str, timestamp_ms: int) -> str:
    """The signature of one request, not yet quoted for an address."""
    words = f"{timestamp_ms}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), words, hashlib.sha256).digest()).decode()


class DingTalk:
    """One DingTalk robot."""

    room = TEXT_BYTES

    def __init__(self, settings: Settings, robot: Robot, clock: Clock) -> None:
        self.per_minute = settings.per_minute
        self._settings = settings
        self._robot = robot
        self._clock = clock

    async def send(self, message: Message) -> None:
        """Send one text."""
        body: dict[str, Any] = {"msgtype": "text", "text": {"content": truncate(message.text, TEXT_BYTES)}}
        body["at"] = {
            "atMobiles": list(message.mobiles),
            "atUserIds": list(message.users),
            "isAtAll": self._settings.mention_all and message.urgent,
        }
        params = {"access_token": self._settings.key.get_secret_value()}
        if self._settings.secret is not None:
            now_ms = self._clock.wall_ns() // 1_000_000
            params |= {"timestamp": str(now_ms), "sign": sign(self._settings.secret.get_secret_value(), now_ms)}
        await self._robot.post(self._settings.url, body, params)


@asynccontextmanager
async def open_channel(settings: Settings, folder: Path, clock: Clock) -> AsyncIterator[DingTalk]:
    """The robot, ready to send."""
    async with open_robot(DIALECT, settings.key, settings.secret) as robot:
        yield DingTalk(settings, robot, clock)
