"""What all uplinks by HTTP POST share: where the server is, how much goes at once, what is made of an answer's words.

What comes in: keys of the site file, answers. What goes out: parts that one request carries, and reasons for staff
without anything secret: an address may have a key in its path, and some servers repeat what they were sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypeVar

from pydantic import Field, SecretStr, StringConstraints, model_validator

from edge.uplinks.lines import plain
from edge.uplinks.tls import NetworkSettings

ANSWER_BYTES = 16 * 1024
"""Of an answer no more is read: what it says in words is for people."""
BODY_BYTES = 256 * 1024
"""A body is not longer than this, unless one row alone is: so small that making it holds nobody up."""
HOLD_S = 30.0
"""How often a server is asked whether a setting has been put right."""
SHORT = 6
"""Characters. A secret of fewer is no secret, and hiding it would spoil every word that has it in it."""
_PLACE = re.compile(r"(https?://)(?:[^/?#]*@)?([^/?#@]*)")

_WRONG_PLACE = (
    (
        re.compile(
            r"HTTP request (was sent )?to (an )?HTTPS|plain HTTP to an SSL", re.IGNORECASE
        ),  # Go, nginx, Apache
        "it wants TLS; write https: in the url",
    ),
    (re.compile(r"unsupported path requested", re.IGNORECASE), "check the url"),  # VictoriaMetrics
)
"""What a 400 says that is meant for whatever is sent there, and what to do."""

T = TypeVar("T")


class HttpSettings(NetworkSettings):
    """Where the server is. Each type of uplink extends it."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+")]
    """Of the server. With https: and no `tls` the system's certificates decide."""
    batch: Annotated[int, Field(ge=1, le=5000)] = 500
    """Rows sent at once."""

    @model_validator(mode="after")
    def _tls_by_url(self) -> HttpSettings:
        if self.tls is not None and self.url.startswith("http:"):
            raise ValueError("has tls, but its url begins with http:; write https:, or remove tls")
        return self

    @property
    def place(self) -> str:
        """The server as staff are shown it: without names, path and query."""
        found = _PLACE.match(self.url)
        return "".join(found.groups()) if found else "server"

    def told(self, words: object) -> str:
        """Somebody's words as one short line with nothing secret in it."""
        text = words.decode("utf-8", "replace") if isinstance(words, bytes | bytearray) else str(words)
        text = text.replace(self.url, self.place)
        for secret in _secrets(getattr(self, key) for key in type(self).model_fields):
            text = text.replace(secret, "***")
        return " ".join(plain(text).split())[:200]


def _secrets(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, Mapping):
            yield from _secrets(value.values())
        elif isinstance(value, SecretStr) and len(value.get_secret_value()) >= SHORT:
            yield value.get_secret_value()


def retry_seconds(header: str | None, now: datetime) -> float | None:
    """`Retry-After` in seconds, be it seconds or a date; None where there is none or it is neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds())


def wrong_place(status: int, said: str) -> str | None:
    """What to do where a server refuses not what it was sent but how it was called; None where it does not."""
    return next((todo for words, todo in _WRONG_PLACE if status == 400 and words.search(said)), None)


def parts(items: Sequence[T], length: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in groups that one request carries."""
    part: list[T] = []
    size = 0
    for item in items:
        if part and size + length(item) > BODY_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += length(item) + 1
    if part:
        yield part
