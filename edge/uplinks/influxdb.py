"""InfluxDB v2 write API (InfluxDB 2.x, Cloud, VictoriaMetrics ...), by the official client.

Lines are made by `lines`; the client carries them. What each answer of the server means: 204 it has them; 400 and
422 some line is no good: the batch is halved until it is found, and that line alone is set aside; 413 too much at
once: halved; 401, 403, 404 somebody must change a setting: hold, and say which; 429 and 503 later, when the
server says; anything else: later. A batch that failed half-way is simply sent again: the same line written
twice is one reading (VictoriaMetrics: started with -dedup.minScrapeInterval=1ms).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SecretStr, field_validator

from edge.uplinks.lines import Lines
from edge.uplinks.posts import ANSWER_BYTES, HOLD_S, HttpSettings, parts, retry_seconds, wrong_place
from edge.uplinks.shape import Row, SiteView, Stats, UplinkDown

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_MS = 10_000
KEPT = 20
"""Rejected lines kept to be looked at; the readings themselves stay in `readings.db`."""

NOT_INFLUXDB = "is this the url of an InfluxDB v2 server?"

log = logging.getLogger(__name__)


class Settings(HttpSettings):
    """Keys of an uplink of type `influxdb`. The url is without `/api/v2/write`."""

    type: Literal["influxdb"]
    org: str = Field(min_length=1)
    bucket: str = Field(min_length=1)
    token: SecretStr = SecretStr("")
    """Empty for a server that asks for none. With `username` and `password` these are sent instead."""
    gzip: bool = True

    @field_validator("url")
    @classmethod
    def _server_alone(cls, url: str) -> str:
        if "/api/v2" in url:
            raise ValueError("write the url of the server alone: /api/v2/write is added by the gateway")
        return url


class _Refused(Exception):
    """The server does not take these lines, whenever they come."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InfluxDB:
    """An open uplink."""

    linger_s = 0.5

    def __init__(self, name: str, settings: Settings, site: SiteView, client: Any) -> None:
        self.stats = Stats()
        self.batch = settings.batch
        self.rejects: deque[tuple[str, str]] = deque(maxlen=KEPT)
        """The newest rejected lines, each with the server's reason."""
        self._name = name
        self._settings = settings
        self._lines = Lines(site)
        self._write = client.write_api().write
        self._refused: set[bytes] = (
            set()
        )  # of batches that failed half-way: not to be counted again when these come again

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:  # each line has its time
        """Return once the server has the rows, apart from lines that it will never take. Raises UplinkDown."""
        lines = [line for row in rows if (line := self._lines.line(row)) is not None]
        for part in parts([line for line in lines if line not in self._refused], len):
            await self._deliver(part)
        self._refused.difference_update(lines)

    async def _deliver(self, lines: Sequence[bytes]) -> None:
        """Send lines; where the server refuses them, find the one that it does not take."""
        try:
            await self._post(lines)
        except _Refused as refused:
            if len(lines) > 1:
                middle = len(lines) // 2
                await self._deliver(lines[:middle])
                await self._deliver(lines[middle:])
            else:
                self._set_aside(lines[0], refused.reason)

    async def _post(self, lines: Sequence[bytes]) -> None:
        import aiohttp
        from influxdb_client.rest import ApiException

        settings = self._settings
        where = f"{settings.place}, bucket {settings.bucket}"
        try:
            taken = await self._write(settings.bucket, settings.org, b"\n".join(lines))
        except ApiException as error:
            reason = settings.told(error.message or error.reason)
            raise self._meaning(error.status or 0, reason, error.retry_after) from None
        except TimeoutError:
            raise UplinkDown(f"{where} does not answer within {TIMEOUT_MS / 1000:g} s") from None
        except aiohttp.ServerDisconnectedError:  # its words are for programmers
            raise UplinkDown(f"{where} hangs up without a whole answer") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UplinkDown(f"{where} cannot be reached: {settings.told(error) or type(error).__name__}") from None
        if not taken:  # a log-in page, a proxy: whoever says 200 has not stored anything
            raise UplinkDown(f"{where} answers neither 204 nor an error: {NOT_INFLUXDB}", HOLD_S)

    def _meaning(self, status: int, reason: str, retry_after: str | None) -> Exception:
        """What to do about an answer other than 2xx."""
        settings = self._settings
        said = f"{settings.place} answers {status} ({reason})"
        if status in (400, 413, 422):
            todo = wrong_place(status, reason)
            return UplinkDown(f"{said}: {todo}", HOLD_S) if todo else _Refused(f"{status}: {reason}")
        if status in (401, 403):
            return UplinkDown(f"{said}: give a token that may write to bucket {settings.bucket}", HOLD_S)
        if status == 404:
            return UplinkDown(f"{said}: check org {settings.org}, bucket {settings.bucket} and the url", HOLD_S)
        if status in (429, 503):
            return UplinkDown(said, retry_seconds(retry_after, datetime.now(UTC)))
        if status >= 500:
            return UplinkDown(said)
        return UplinkDown(f"{said}: {NOT_INFLUXDB}", HOLD_S)

    def _set_aside(self, line: bytes, reason: str) -> None:
        text = line.decode("utf-8", "replace")
        self.stats.reject(text, reason)
        self.rejects.append((text, reason))
        self._refused.add(line)


@asynccontextmanager
async def open_influxdb(name: str, settings: Settings, site: SiteView) -> AsyncIterator[InfluxDB]:
    """The uplink for as long as the block lasts. Opening does not connect: the server may come later."""
    # Takes most of a second to import on a small box; only who has such an uplink pays it.
    from influxdb_client.client.influxdb_client_async import InfluxDBClientAsync

    basic = settings.username is not None
    client: Any = InfluxDBClientAsync(
        url=settings.url,
        token=f"{settings.username}:{settings.secret or ''}" if basic else settings.token.get_secret_value(),
        auth_basic=basic,
        ssl_context=settings.context(),
        org=settings.org,
        timeout=TIMEOUT_MS,
        enable_gzip=settings.gzip,
        allow_redirects=False,  # a redirected POST becomes a GET, which succeeds and stores nothing
        client_session_kwargs={"response_class": _bounded()},
    )
    try:
        yield InfluxDB(name, settings, site, client)
    finally:
        await client.close()


@cache
def _bounded() -> type[aiohttp.ClientResponse]:
    """Answers as the client reads them, of which it would read a gigabyte into memory."""
    import aiohttp

    class Answer(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            beginning = bytearray()
            try:
                while len(beginning) < ANSWER_BYTES and (chunk := await self.content.read(ANSWER_BYTES)):
                    beginning += chunk
            finally:
                if self.content.at_eof():
                    self.release()
                else:
                    self.close()  # this connection still has the rest of it
            return bytes(beginning)

    return Answer
