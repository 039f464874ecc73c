"""Feishu (飞书, Lark) group robot, signed the other way round: the message is empty and all of it is in the key.

The signature is base64(HMAC-SHA256(key="{timestamp}\\n{secret}", "")), the time in seconds and within an hour of
theirs. The request has at most 20 KB. Success is `code` 0: 19021 is a wrong signature, 11232 too many messages.
A robot cannot mention by phone number: only by the user's open_id, inside the text.
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
"""So that the request stays below 20 KB even where JSON needs two bytes for each, mentions included."""
DIALECT = Dialect(
    "Feishu",
    code=("code", "StatusCode"),
    text="msg",
    rate=frozenset({11232, 99991400}),
    hints={
        19021: "check secret (签名校验) and the clock of this box",
        19001: "check the robot's key, and that it is still in the group",
        9499: "check the robot's key and settings",
    },
)


class Settings(RobotSettings):
    """Keys of a Feishu robot; `key` is the last part of its address."""

    type: Literal["feishu"]
    url: WebAddress = "https://open.feishu.cn/open-apis/bot/v2/hook"
    secret: SecretStr | None = None
    """Of the security setting 签名校验."""


def sign(secret: str, timestamp_s: int) -> str:
    """The signature of one request."""
    return base64.b64encode(hmac.new(f"{timestamp_s}\n{secret}".encode(), b"", hashlib.sha256).digest()).decode()


class Feishu:
    """One Feishu robot."""

    room = TEXT_BYTES

    def __init__(self, settings: Settings, robot: Robot, clock: Clock) -> None:
        self.per_minute = settings.per_minute
        self._settings = settings
        self._robot = robot
        self._clock = clock

    async def send(self, message: Message) -> None:
        """Send one text."""
        body: dict[str, Any] = {"msg_type": "text", "content": {"text": self._text(message)}}
        if self._settings.secret is not None:
            now_s = self._clock.wall_ns() // 1_000_000_000
            secret = self._settings.secret.get_secret_value()
            body |= {"timestamp": str(now_s), "sign": sign(secret, now_s)}
        await self._robot.post(f"{self._settings.url}/{self._settings.key.get_secret_value()}", body)

    def _text(self, message: Message) -> str:
        everybody = ["all"] if self._settings.mention_all and message.urgent else []
        mentions = " ".join(f'<at user_id="{user}"></at>' for user in [*message.users, *everybody])
        # A name or value that looks like a mention must not become one.
        text = truncate(message.text.replace("<at", "‹at"), TEXT_BYTES)
        return f"{text}\n{mentions}" if mentions else text


@asynccontextmanager
async def open_channel(settings: Settings, folder: Path, clock: Clock) -> AsyncIterator[Feishu]:
    """The robot, ready to send."""
    async with open_robot(DIALECT, settings.key, settings.secret) as robot:
        yield Feishu(settings, robot, clock)
