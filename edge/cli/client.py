"""The command line's way to a running daemon: its HTTP API, with failures as exit codes."""

from __future__ import annotations

import argparse
import os
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from edge.cli.command import DEFAULT_URL, UNREACHABLE, USAGE, WRONG, Ended

TIMEOUT_S = 20.0
"""A command to a device on a slow line may queue behind a running request."""


class NoDaemon(Ended):
    """Nobody is there who could be asked; whoever knows another way may take it."""


class Client:
    """One daemon."""

    def __init__(self, url: str, token: str | None = None) -> None:
        if not _is_address(url):
            raise Ended(USAGE, f"{url!r} is no address of a console; write it like {DEFAULT_URL}")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.url = url.rstrip("/")
        # A proxy of the environment knows nothing of a console on loopback.
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a question."""
        given = {key.rstrip("_"): value for key, value in query.items() if value is not None}
        return self._answer("GET", path, params=given)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The outcome of an act."""
        return self._answer("POST", path, json={key: value for key, value in body.items() if value is not None})

    def health(self) -> dict[str, Any]:
        """`status` and `reasons`; that the daemon is not well is an answer too."""
        health: dict[str, Any] = self._answer("GET", "/healthz", also=503)
        return health

    def _answer(self, method: str, path: str, also: int = 200, **more: Any) -> Any:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TimeoutException:
            raise Ended(UNREACHABLE, f"{self.url} does not answer within {TIMEOUT_S:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            hint = "start it with courtyard run, or say where it is with --url"
            raise NoDaemon(
                UNREACHABLE, f"no daemon at {self.url} ({error or type(error).__name__}); {hint}"
            ) from None
        try:
            body = answer.json()
        except ValueError:
            raise NoDaemon(UNREACHABLE, f"{self.url} answers, but is no Courtyard console; see --url") from None
        if answer.is_success or answer.status_code == also:
            return body
        raise _refused(answer.status_code, body if isinstance(body, dict) else {})


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _refused(status: int, body: dict[str, Any]) -> Ended:
    error, hint = str(body.get("error", f"HTTP {status}")), str(body.get("hint", ""))
    if status == 401:
        return Ended(UNREACHABLE, f"{error}; put the console.token of the site file into COURTYARD_TOKEN")
    if status == 404:
        return Ended(USAGE, error)
    if status in (409, 422):
        return Ended(WRONG, error)
    return Ended(UNREACHABLE, f"{error} ({hint})" if hint else error)


def given_url(arguments: argparse.Namespace) -> str | None:
    """The daemon's address, where the arguments or the environment say it."""
    return getattr(arguments, "url", None) or os.environ.get("COURTYARD_URL")


def connect(arguments: argparse.Namespace) -> Client:
    """The daemon that the arguments and the environment name."""
    return Client(given_url(arguments) or DEFAULT_URL, os.environ.get("COURTYARD_TOKEN") or None)


def in_path(name: str) -> str:
    """An id as one step of a path."""
    return quote(name, safe="")
