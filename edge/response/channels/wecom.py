"""WeCom (企业微信) group robot: text of at most 2048 bytes, mentions by user id or phone number, 20 a minute.

Failures come as HTTP 200 with `errcode`: 45009 too many messages, 93000 wrong key.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from drivers.driver import Clock
from edge.response.channels.robot import Dialect, Robot, RobotSettings, WebAddress, open_robot
from edge.response.notice import Message, truncate

TEXT_BYTES = 2048
DIALECT = Dialect(
    "WeCom",
    code=("errcode",),
    text="errmsg",
    rate=frozenset({45009}),
    busy=frozenset({-1}),
    hints={93000: "check the robot's key, and that it is still in the group"},
)


class Settings(RobotSettings):
    """Keys of a WeCom robot."""

    type: Literal["wecom"]
    url: WebAddress = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"


class WeCom:
    """One WeCom robot."""

    room = TEXT_BYTES

    def __init__(self, settings: Settings, robot: Robot) -> None:
        self.per_minute = settings.per_minute
        self._settings = settings
        self._robot = robot

    async def send(self, message: Message) -> None:
        """Send one text."""
        text: dict[str, Any] = {"content": truncate(message.text, TEXT_BYTES)}
        everybody = ["@all"] if self._settings.mention_all and message.urgent else []
        if message.users or everybody:
            text["mentioned_list"] = [*message.users, *everybody]
        if message.mobiles:
            text["mentioned_mobile_list"] = list(message.mobiles)
        key = self._settings.key.get_secret_value()
        await self._robot.post(self._settings.url, {"msgtype": "text", "text": text}, {"key": key})


@asynccontextmanager
async def open_channel(settings: Settings, folder: Path, clock: Clock) -> AsyncIterator[WeCom]:
    """The robot, ready to send."""
    async with open_robot(DIALECT, settings.key) as robot:
        yield WeCom(settings, robot)
