"""Ways to people, by the `type` that the site file names. A further one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from drivers.document import nearest
from drivers.driver import Clock
from drivers.point import Text
from edge.response.channels import apprise_, dingtalk, feishu, file, log, wecom
from edge.response.channels.channel import Channel, ChannelSettings


@dataclass(frozen=True, slots=True)
class ChannelType:
    """What a type of channel consists of."""

    title: Text
    """What staff call it."""
    settings: type[ChannelSettings]
    open: Callable[[Any, Path, Clock], AbstractAsyncContextManager[Channel]]
    """(settings, folder for relative paths, clock) -> the open channel. Raises ChannelError."""


CHANNELS: Mapping[str, ChannelType] = {
    "wecom": ChannelType(Text("企业微信", "WeCom"), wecom.Settings, wecom.open_channel),
    "dingtalk": ChannelType(Text("钉钉", "DingTalk"), dingtalk.Settings, dingtalk.open_channel),
    "feishu": ChannelType(Text("飞书", "Feishu"), feishu.Settings, feishu.open_channel),
    "apprise": ChannelType(Text("Apprise", "Apprise"), apprise_.Settings, apprise_.open_channel),
    "log": ChannelType(Text("运行日志", "the gateway's log"), log.Settings, log.open_channel),
    "file": ChannelType(Text("文件", "a file"), file.Settings, file.open_channel),
}


def _known(data: Any) -> Any:
    if not isinstance(data, dict):
        return data
    kind, names = data.get("type"), ", ".join(CHANNELS)
    if kind is None:
        raise ValueError(f"has no type; write type: and one of {names}")
    if not isinstance(kind, str) or kind not in CHANNELS:
        raise ValueError(f"no channel type {kind!r}{nearest(str(kind), CHANNELS)}; there are {names}")
    return data


AnySettings = Annotated[
    wecom.Settings | dingtalk.Settings | feishu.Settings | apprise_.Settings | log.Settings | file.Settings,
    Field(discriminator="type"),
    BeforeValidator(_known),
]
"""Settings of a channel of any type."""


def open_channel(settings: ChannelSettings, folder: Path, clock: Clock) -> AbstractAsyncContextManager[Channel]:
    """Open a channel by its settings."""
    return CHANNELS[settings.type].open(settings, folder, clock)
