"""What stands in front of every request, so that a web page elsewhere cannot switch the lights.

A browser on the desk's own box can be made to call loopback by any page that it shows. So: without a token only
names of this box are answered (a foreign name that resolves to loopback is not one: DNS rebinding), a POST from
another origin is refused and so is one that a plain form could send. With a token, `/api` and `/metrics` need it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 64 * 1024
"""Bytes of a request body; the largest honest one has a few hundred."""
BODY_WAIT_S = 10.0
OPEN_WITH_TOKEN = frozenset({"/api/docs"})
"""A page without data: it asks for the token itself and fetches the description with it."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Where the console listens, and the token without which its API is closed."""

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this box itself can reach the address."""
        return is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that stands in for the application's."""

    status: int
    error: str
    hint: str


class TooLarge(Exception):
    """A body over the bound."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this box."""
    if host in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name of a Host header, without port and brackets, in lower case."""
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def authorised(headers: Headers, token: str | None) -> bool:
    """Whether a request brings the token, where one is needed. Takes the same time for each wrong one."""
    if token is None:
        return True
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # Headers are decoded byte for byte as Latin-1; the bytes are what is compared.
    same = hmac.compare_digest(given.strip().encode("latin-1"), token.encode())
    return same and scheme.lower() == "bearer"


class Guard:
    """ASGI middleware: refuses what must not pass, bounds bodies, sets the headers that browsers honour."""

    def __init__(self, app: ASGIApp, settings: ConsoleSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        guarded = _with_headers(send)
        refusal = self._refusal(scope["method"], scope["path"], headers)
        if refusal is None and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            try:
                receive = await _whole_body(headers, receive)
            except TooLarge:
                refusal = Refusal(413, f"the body is larger than {BODY_LIMIT} bytes", "send less in one request")
            except TimeoutError:
                refusal = Refusal(408, "the body did not come", f"send it within {BODY_WAIT_S:g} s")
        if refusal is None:
            await self._app(scope, receive, guarded)
        else:
            await _answer(refusal, guarded)

    def _refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        refusal = self._foreign_host(headers) or self._no_token(path, headers)
        if refusal is None and method not in ("GET", "HEAD", "OPTIONS"):
            refusal = _foreign_page(headers)
        return refusal

    def _foreign_host(self, headers: Headers) -> Refusal | None:
        """A name that is not ours; with a token any name is right, it may come through a proxy."""
        if self._settings.token is not None:
            return None
        name = host_name(headers.get("host", ""))
        if is_loopback(name) or name == self._settings.host.lower():
            return None
        hint = "call it as http://127.0.0.1 or localhost; to use another name set console.token in the site file"
        return Refusal(403, "this console does not answer to that host name", hint)

    def _no_token(self, path: str, headers: Headers) -> Refusal | None:
        closed = path.startswith(("/api", "/metrics")) and path not in OPEN_WITH_TOKEN
        if not closed or authorised(headers, self._settings.token):
            return None
        hint = "send the header Authorization: Bearer TOKEN with the console.token of the site file"
        return Refusal(401, "the token is missing or wrong", hint)


def _foreign_page(headers: Headers) -> Refusal | None:
    """A request that changes something and that a page elsewhere may have made a browser send."""
    hint = "send it from the console's own page, or from a program that sets no Origin header"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return Refusal(403, "a page of another origin may not do this", hint)
    host = headers.get("host", "").lower()
    if any(_netloc(origin) != host for origin in headers.getlist("origin")):
        return Refusal(403, "a page of another origin may not do this", hint)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return Refusal(415, "the body must be JSON", "send it with Content-Type: application/json")
    return None


def _netloc(origin: str) -> str:
    """Host and port of an origin; empty for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def _whole_body(headers: Headers, receive: Receive) -> Receive:
    """The body, read to its end within bounds, as a `receive` that gives it again."""
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > 9 or int(length) > BODY_LIMIT:
        raise TooLarge
    body = bytearray()
    async with asyncio.timeout(BODY_WAIT_S):
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise TimeoutError
            body += message.get("body", b"")
            if len(body) > BODY_LIMIT:
                raise TooLarge
            more = message.get("more_body", False)
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sender


async def _answer(refusal: Refusal, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    body = orjson.dumps({"error": refusal.error, "hint": refusal.hint})
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
