"""Webhook: readings, alarms and orders as signed JSON by HTTP POST, to a server of anybody's own.

    Idempotency-Key: <site>/<uplink>/<readings or events>/<first>-<last>   the same when a body is sent again
    X-Courtyard-Timestamp: 1772447465                                      Unix time in seconds
    X-Courtyard-Signature: sha256=<hex>                                    HMAC-SHA256 of `<timestamp>.<body>`

What each answer means: 2xx the server has it; 401, 403, 404, 405, 407 and redirects somebody must change a setting:
hold, and say which; 408, 409, 425, 429 and 5xx later, when the server says; any other 4xx the server does not want
this: the batch is halved until the row is found, and that row alone is set aside and counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Field, SecretStr, field_validator, model_validator

from drivers.driver import Clock
from edge.uplinks.posts import ANSWER_BYTES, HOLD_S, HttpSettings, parts, retry_seconds, wrong_place
from edge.uplinks.shape import Entry, Row, SiteView, Stats, UplinkDown
from edge.uplinks.wire import to_json

if TYPE_CHECKING:  # else only where a site has a webhook: it takes long to load
    import httpx

TIMEOUT_S = 10.0
"""For each step of an exchange in which nothing moves."""
EXCHANGE_S = 120.0
"""For all of it, whatever the line."""
TRIED = 50
"""Bodies that are remembered as tried: after an outage rows come in other lanes and never in the same body again."""
OWN_HEADERS = frozenset({"content-type", "content-length", "host", "idempotency-key", "user-agent"})
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_KINDS = {"alarms": "alarm", "orders": "order"}
"""What the site file says, and the kind of entry in the journal."""

log = logging.getLogger(__name__)


class Settings(HttpSettings):
    """Keys of an uplink of type `webhook`."""

    type: Literal["webhook"]
    signing_key: SecretStr | None = None
    """Key of the signature, shared with the server; without it nothing is signed."""
    headers: dict[str, SecretStr] = {}
    """Sent with every request, e.g. `Authorization`."""
    what: Annotated[list[Literal["readings", "alarms", "orders"]], Field(min_length=1)] = [
        "readings", "alarms", "orders",
    ]  # fmt: skip
    equipment: Annotated[list[str], Field(min_length=1)] = ["*"]
    """Ids; * and ? stand for any characters, for one."""

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER.match(name):
                raise ValueError(f"{name!r} is no name of a header; use letters, digits and -")
            if name.lower() in OWN_HEADERS or name.lower().startswith("x-courtyard-"):
                raise ValueError(f"{name} is set by the gateway itself; remove it")
            if not value.get_secret_value().isascii() or re.search(r"[\r\n\x00]", value.get_secret_value()):
                raise ValueError(f"the value of {name} is no header; use one line of ASCII text")
        return headers

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.username is not None and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("username and the header Authorization exclude each other; remove one")
        return self

    def suits(self, equipment: Collection[str], note: Callable[[tuple[str | int, ...], str], None]) -> None:
        """Note patterns that no equipment of the site has."""
        for index, pattern in enumerate(self.equipment):
            if not any(fnmatchcase(name, pattern) for name in equipment):
                note(
                    ("equipment", index), f"no equipment is called {pattern!r}; write an id, or a pattern like pump-*"
                )


@dataclass(frozen=True, slots=True)
class _Item:
    """One row or one entry, with its number."""

    number: int
    body: bytes


class _Unwanted(Exception):
    """The server does not take this, whenever it comes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Webhook:
    """An open uplink."""

    linger_s = 0.5

    def __init__(
        self, name: str, settings: Settings, site: SiteView, clock: Clock, client: httpx.AsyncClient
    ) -> None:
        self.stats = Stats()
        self.batch = settings.batch
        self.journal_kinds = frozenset(_KINDS[what] for what in settings.what if what in _KINDS)
        self._name = name
        self._settings = settings
        self._site = site
        self._clock = clock
        self._client = client
        self._wanted: dict[str, bool] = {}
        self._lanes = {"readings": _Lane(), "events": _Lane()}

    async def send(self, rows: Sequence[Row], *, late: bool) -> None:  # each row has its time
        """Return once the server has the rows, apart from those that it will never take. Raises UplinkDown."""
        told = "readings" in self._settings.what
        wanted = [row for row in rows if told and self._wants(row.equipment)]
        await self._deliver_all("readings", [_Item(row.seq, self._reading(row)) for row in wanted])
        self.stats.passed += len(rows) - len(wanted)

    async def send_journal(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Return once the server has the entries, apart from those that it will never take. Raises UplinkDown."""
        wanted = [(number, entry) for number, entry in entries if self._wants(_equipment_of(entry))]
        await self._deliver_all("events", [_Item(number, _event(number, entry)) for number, entry in wanted])

    # What is sent

    def _wants(self, equipment: str) -> bool:
        found = self._wanted.get(equipment)
        if found is None:
            found = any(fnmatchcase(equipment, pattern) for pattern in self._settings.equipment)
            self._wanted[equipment] = found
        return found

    def _reading(self, row: Row) -> bytes:
        view = self._site.equipment.get(row.equipment)
        body: dict[str, Any] = {
            "seq": row.seq,
            "time_ns": row.time_ns,
            "equipment": row.equipment,
            "class": view.equipment_class if view else None,
            "values": dict(zip(row.points, map(_plain, row.values), strict=True)),
        }
        if row.qualities is not None:
            body["quality"] = {p: q for p, q in zip(row.points, row.qualities, strict=True) if q != "good"}
        return orjson.dumps(body)

    # How it is sent

    async def _deliver_all(self, lane: str, items: Sequence[_Item]) -> None:
        """All items in bodies that the server may take; the first body as it was tried before, where it was."""
        memory = self._lanes[lane]
        for part in _bodies([item for item in items if item.number not in memory.refused], memory.tried):
            memory.tried[part[0].number] = part[-1].number
            if len(memory.tried) > TRIED:
                del memory.tried[next(iter(memory.tried))]
            await self._deliver(lane, part)
            del memory.tried[part[0].number]
        memory.refused.difference_update(item.number for item in items)

    async def _deliver(self, lane: str, items: Sequence[_Item]) -> None:
        try:
            await self._post(lane, items)
        except _Unwanted as error:
            if len(items) > 1:
                middle = len(items) // 2
                await self._deliver(lane, items[:middle])
                await self._deliver(lane, items[middle:])
            else:
                self._lanes[lane].refused.add(items[0].number)
                self.stats.reject(items[0].body.decode()[:500], error.reason)

    async def _post(self, lane: str, items: Sequence[_Item]) -> None:
        key = f"{self._site.id}/{self._name}/{lane}/{items[0].number}-{items[-1].number}"
        head = orjson.dumps({"site": self._site.id, "uplink": self._name, "key": key})
        content = b"%s,%s:[%s]}" % (head[:-1], orjson.dumps(lane), b",".join(item.body for item in items))
        import httpx

        place = self._settings.place
        try:
            async with asyncio.timeout(EXCHANGE_S):
                answer, said = await self._asked(content, self._headers(key, content))
        except httpx.TimeoutException:
            raise UplinkDown(f"{place} does not answer within {TIMEOUT_S:g} s") from None
        except TimeoutError:
            raise UplinkDown(f"{place} does not answer within {EXCHANGE_S:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            reason = self._settings.told(error) or f"the connection broke ({type(error).__name__})"
            raise UplinkDown(f"{place} cannot be reached: {reason}") from None
        if not answer.is_success:
            raise self._meaning(answer.status_code, said, answer.headers)

    async def _asked(self, content: bytes, headers: Mapping[str, str]) -> tuple[httpx.Response, str]:
        """The answer, and what its beginning says."""
        beginning = bytearray()
        async with self._client.stream("POST", self._settings.url, content=content, headers=headers) as answer:
            async for chunk in answer.aiter_raw():  # not unpacked: it may swell a thousandfold
                beginning += chunk
                if len(beginning) > ANSWER_BYTES:
                    break
        return answer, self._settings.told(beginning)

    def _headers(self, key: str, content: bytes) -> dict[str, str]:
        headers = {name: value.get_secret_value() for name, value in self._settings.headers.items()}
        stamp = str(self._clock.wall_ns() // 1_000_000_000)
        headers |= {"Content-Type": "application/json", "Idempotency-Key": key, "X-Courtyard-Timestamp": stamp}
        if self._settings.signing_key is not None:
            headers["X-Courtyard-Signature"] = sign(self._settings.signing_key.get_secret_value(), stamp, content)
        return headers

    def _meaning(self, status: int, said: str, headers: Mapping[str, str]) -> Exception:
        """What to do about an answer other than 2xx."""
        answers = f"{self._settings.place} answers {status}{f' ({said})' if said else ''}"
        if status in (401, 403, 407):
            return UplinkDown(f"{answers}: check username, password, headers and signing_key", HOLD_S)
        if status in (404, 405) or status < 400:
            return UplinkDown(f"{answers}: check the url", HOLD_S)
        if status in (408, 409, 425, 429) or status >= 500:
            return UplinkDown(answers, retry_seconds(headers.get("Retry-After"), datetime.now(UTC)))
        todo = wrong_place(status, said)
        return UplinkDown(f"{answers}: {todo}", HOLD_S) if todo else _Unwanted(f"{status}: {said}")


class _Lane:
    """What must be known of one lane while its rows are in hand."""

    def __init__(self) -> None:
        self.tried: dict[int, int] = {}
        """First to last number of bodies of which it is not known whether the server has taken them."""
        self.refused: set[int] = set()
        """Set aside already: not to be counted again when the rest is sent again."""


def sign(key: str, stamp: str, content: bytes) -> str:
    """`sha256=` and the HMAC-SHA256 of `<stamp>.<content>` in hex, which the server computes in the same way."""
    return "sha256=" + hmac.new(key.encode(), stamp.encode() + b"." + content, hashlib.sha256).hexdigest()


@asynccontextmanager
async def open_webhook(name: str, settings: Settings, site: SiteView, clock: Clock) -> AsyncIterator[Webhook]:
    """The uplink for as long as the block lasts. Opening does not connect: the server may come later."""
    import httpx

    auth = httpx.BasicAuth(settings.username, settings.secret or "") if settings.username else None
    verify = settings.context() or True
    agent = {"User-Agent": "courtyard", "Accept-Encoding": "identity"}
    async with httpx.AsyncClient(
        verify=verify, auth=auth, timeout=TIMEOUT_S, follow_redirects=False, headers=agent
    ) as client:
        yield Webhook(name, settings, site, clock, client)


def _bodies(items: Sequence[_Item], tried: Mapping[int, int]) -> Iterator[Sequence[_Item]]:
    """The items in groups that one body carries; what was tried together is tried together again."""
    while items:
        last = tried.get(items[0].number)
        count = next((at for at, item in enumerate(items, 1) if item.number == last), 0)
        count = count or len(next(parts(items, lambda item: len(item.body))))
        yield items[:count]
        items = items[count:]


def _event(number: int, entry: Entry) -> bytes:
    body = {
        "number": number, "kind": entry.kind, "subject": entry.subject, "time_ns": entry.time_ns,
        "equipment": _equipment_of(entry), "body": dict(entry.body),
    }  # fmt: skip
    return to_json(body)


def _equipment_of(entry: Entry) -> str:
    """Whose alarm or order it is."""
    inner = entry.body.get(entry.kind)
    found = inner.get("equipment") if isinstance(inner, Mapping) else None
    return str(found or entry.subject.rpartition(".")[0])


def _plain(value: Any) -> Any:
    """Whole numbers beyond 64 bits have no form in every reader of JSON: they go as text."""
    return str(value) if isinstance(value, int) and abs(value) >= 1 << 63 else value
