"""All other services by the library apprise, an optional extra: e-mail, ntfy, Telegram, Slack, SMS gateways ...

It tells no reason that a program could read, so that a failure is tried again. It blocks, so that it runs in a thread
of its own. Its address is a secret as a whole: it is kept out of its log and of ours.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from drivers.driver import Clock
from edge.response.channels.channel import ChannelError, ChannelSettings, in_thread
from edge.response.notice import Message, clean, mask, truncate

TIMEOUT_S = 30.0
TEXT_BYTES = 3_800
"""Telegram takes 4,096 characters; services with less are cut by apprise itself."""
MISSING = "apprise is not installed; get it by: pip install 'courtyard-edge[apprise]'"
_PARTS = re.compile(r"[/:@?&=,]+")
_KINDS = {"critical": "failure", "high": "warning", "medium": "warning", "low": "info"}


class Settings(ChannelSettings):
    """Keys of a channel through apprise."""

    type: Literal["apprise"]
    url: SecretStr
    """As apprise writes it, e.g. ntfys://HOST/TOPIC; it contains keys, so write `${file:NAME}`."""
    per_minute: int = Field(default=15, ge=3, le=60)

    @field_validator("url")
    @classmethod
    def _usable(cls, url: SecretStr) -> SecretStr:
        if find_spec("apprise") is None:
            raise ValueError(MISSING)
        if _service(url) is None:
            raise ValueError("is no address that apprise knows; write it like ntfys://HOST/TOPIC")
        return url


class Apprise:
    """One address of apprise."""

    room = TEXT_BYTES

    def __init__(self, settings: Settings, service: Any) -> None:
        self.per_minute = settings.per_minute
        self._secrets = [part for part in _PARTS.split(settings.url.get_secret_value()) if len(part) > 5]
        self._service = service

    async def send(self, message: Message) -> None:
        """Send one text."""
        text = truncate(message.text, TEXT_BYTES)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reason = await in_thread("apprise", lambda: self._notify(text, message.priority))
        except TimeoutError:
            raise ChannelError(f"apprise does not return within {TIMEOUT_S:g} s", retry=True) from None
        except Exception as error:  # a plugin may raise whatever it likes
            raise ChannelError(f"apprise fails: {type(error).__name__}", retry=True) from None
        if reason is not None:
            raise ChannelError(f"apprise did not deliver: {reason}", retry=True)

    def _notify(self, text: str, priority: str) -> str | None:
        said = _Said(self._secrets)
        logger = logging.getLogger("apprise")
        logger.addHandler(said)
        try:
            done = self._service.notify(body=text, notify_type=_KINDS.get(priority, "info"))
        finally:
            logger.removeHandler(said)
        return None if done else (said.last or "no reason given")


class _Said(logging.Handler):
    """What apprise logged from this thread: the only place where it gives a reason."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._secrets = secrets
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            text = record.getMessage()
            for secret in self._secrets:
                text = text.replace(secret, "***")
            self.last = mask(clean(text))[:200]


def _service(url: SecretStr) -> Any:
    """The plugin for an address; None where apprise knows none. Its log, which quotes bad addresses, is muted."""
    import apprise

    logger = logging.getLogger("apprise")
    muted, logger.disabled = logger.disabled, True
    try:
        return apprise.Apprise.instantiate(url.get_secret_value())
    finally:
        logger.disabled = muted


@asynccontextmanager
async def open_channel(settings: Settings, folder: Path, clock: Clock) -> AsyncIterator[Apprise]:
    """The service, ready to send. Raises ChannelError where apprise is not installed any more."""
    if find_spec("apprise") is None:
        raise ChannelError(MISSING)
    # Its own lines may quote parts of the address; the reason of a failure is in our error, without them.
    logging.getLogger("apprise").propagate = False
    yield Apprise(settings, _service(settings.url))
