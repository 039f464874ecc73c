"""What the group robots of WeCom, DingTalk and Feishu share: one POST of JSON, and a judgement of the answer.

A robot answers HTTP 200 even where it refuses: only the code in the body says whether the message went out. Keys and
secrets never reach a log or an error, and neither does the address, which contains them. The HTTP client is loaded
only where a site has a robot: it would cost every start a tenth of its time.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from pydantic import AfterValidator, Field, SecretStr

from edge.response.channels.channel import ChannelError, ChannelSettings
from edge.response.notice import clean, mask

if TYPE_CHECKING:
    import httpx

TIMEOUT_S, CONNECT_S = 10.0, 5.0
"""For each step of an exchange in which nothing moves, and for its beginning."""
EXCHANGE_S = 30.0
"""For all of it: other messages wait behind this one."""
ANSWER_BYTES = 65_536
"""No robot says more; what does is no robot."""
_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def _bare_key(key: SecretStr) -> SecretStr:
    if not _KEY.match(key.get_secret_value()):
        raise ValueError("is no key of a robot; write only its key, not the whole address that the group shows")
    return key


def _web_address(url: str) -> str:
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("is no address; write it like https://HOST/PATH") from None
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.userinfo:
        raise ValueError("is no address of a robot; write it like https://HOST/PATH, without key and query")
    return url.rstrip("/")


Key = Annotated[SecretStr, AfterValidator(_bare_key)]
WebAddress = Annotated[str, AfterValidator(_web_address)]


class RobotSettings(ChannelSettings):
    """Keys that the robots share."""

    key: Key
    """The robot's key, as `${file:NAME}`."""
    per_minute: int = Field(default=15, ge=3, le=20)
    """Messages in any minute; a third is kept back for what is critical. The services allow 20."""
    mention_all: bool = False
    """Critical messages mention everybody in the group."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one service says what became of a message."""

    name: str
    code: tuple[str, ...]
    """Keys of the answer that may hold the code; 0 is success."""
    text: str
    """Key of the answer that says it in words."""
    rate: frozenset[int]
    """Codes of too many messages."""
    busy: frozenset[int] = frozenset()
    """Codes of a service that asks to try again."""
    hints: Mapping[int, str] = field(default_factory=dict)
    """What to do about a code."""


class Robot:
    """One robot, over an open HTTP client."""

    def __init__(self, client: httpx.AsyncClient, dialect: Dialect, *secrets: SecretStr | None) -> None:
        self._client = client
        self._dialect = dialect
        self._secrets = [each.get_secret_value() for each in secrets if each]

    async def post(self, url: str, body: Mapping[str, Any], params: Mapping[str, str] | None = None) -> None:
        """Send one message. Raises ChannelError unless the service says that it has taken it."""
        import httpx

        try:
            async with asyncio.timeout(EXCHANGE_S):
                status, headers, answer = await self._exchange(url, orjson.dumps(body), params or {})
        except (httpx.TimeoutException, TimeoutError):
            raise ChannelError(f"{self._dialect.name} does not answer in time", retry=True) from None
        except httpx.HTTPError as error:
            reason = self._safe(str(error)) or type(error).__name__
            raise ChannelError(f"{self._dialect.name} cannot be reached: {reason}", retry=True) from None
        self._judge(status, headers, answer)

    async def _exchange(self, url: str, body: bytes, params: Mapping[str, str]) -> tuple[int, httpx.Headers, bytes]:
        headers = {"content-type": "application/json; charset=utf-8"}
        async with self._client.stream("POST", url, content=body, params=params, headers=headers) as response:
            answer = bytearray()
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > ANSWER_BYTES:
                    break
            return response.status_code, response.headers, bytes(answer)

    def _judge(self, status: int, headers: httpx.Headers, answer: bytes) -> None:
        dialect = self._dialect
        code, text = self._read(answer)
        if code in dialect.rate or status == 429:
            said = f"code {code}: {text}" if code else f"HTTP {status}"
            raise ChannelError(
                f"{dialect.name} says too many messages ({said})", retry=True, rate=True, after_s=_after(headers)
            )
        if status >= 500 or code in dialect.busy:
            said = f"code {code}: {text}" if code else f"HTTP {status}"
            raise ChannelError(f"{dialect.name} is in trouble ({said})", retry=True, after_s=_after(headers))
        if code is None:
            raise ChannelError(f"{dialect.name} answers HTTP {status} without a code; check url of the channel")
        if code != 0:
            hint = dialect.hints.get(code, "see the robot's settings in the group")
            raise ChannelError(f"{dialect.name} refuses (code {code}: {text}); {hint}")
        if status != 200:
            raise ChannelError(f"{dialect.name} answers HTTP {status}; check url of the channel")

    def _read(self, answer: bytes) -> tuple[int | None, str]:
        try:
            body = orjson.loads(answer)
        except orjson.JSONDecodeError:
            return None, ""
        if not isinstance(body, dict):
            return None, ""
        codes = (body[key] for key in self._dialect.code if key in body)
        code = next((each for each in codes if isinstance(each, int) and not isinstance(each, bool)), None)
        return code, self._safe(str(body.get(self._dialect.text, "")))

    def _safe(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return mask(clean(text))[:200]


@asynccontextmanager
async def open_robot(dialect: Dialect, *secrets: SecretStr | None) -> AsyncIterator[Robot]:
    """A robot with an HTTP client of its own."""
    import httpx

    timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
    logging.getLogger("httpx").addFilter(hide_address)
    async with httpx.AsyncClient(timeout=timeout, verify=_tls(), follow_redirects=False) as client:
        yield Robot(client, dialect, *secrets)


def hide_address(record: logging.LogRecord) -> bool:
    """A filter of httpx's log: it writes whole addresses, and a robot's address is its key."""
    import httpx

    if isinstance(record.args, tuple):
        record.args = tuple(
            f"{arg.scheme}://{arg.host}/" if isinstance(arg, httpx.URL) else arg for arg in record.args
        )
    return True


@cache
def _tls() -> ssl.SSLContext:
    import httpx

    return httpx.create_ssl_context()  # reading the certificates takes longer than a push: once for all robots


def _after(headers: httpx.Headers) -> float | None:
    try:
        return max(float(headers.get("retry-after", "")), 0.0)
    except ValueError:
        return None
