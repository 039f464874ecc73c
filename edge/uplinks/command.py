"""Commands from outside: what comes in as JSON object or bare value, and what is answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from edge.uplinks.lines import plain

MOST_BYTES = 4096
MOST_NAME, MOST_WORDS = 80, 500
"""Characters of who it is and why, as over HTTP."""
WHO = "mqtt"
REASON = "command over MQTT"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Command:
    """A value to be written, and for the journal by whom and why."""

    value: bool | int | float | str
    who: str = WHO
    reason: str = REASON
    id: str | int | None = None
    """The asker's own, given back with the answer."""
    for_s: float | None = None
    """For so many seconds, then back to what it was before; None: it stays."""


def parse_command(payload: bytes) -> Command:
    """`{"value": ..., "who": ..., "reason": ..., "for_s": ..., "id": ...}`, or only the value, as JSON or plain text.

    Raises ValueError, which says what to write.
    """
    if not payload.strip():
        raise ValueError('empty; write {"value": ..., "who": ..., "reason": ...}')
    if len(payload) > MOST_BYTES:
        raise ValueError(f"{len(payload)} bytes; a command has at most {MOST_BYTES}")
    try:
        found: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        found = _bare(payload)
    if not isinstance(found, dict):
        return Command(_value(found))
    return command_of(found, WHO, REASON)


def command_of(found: Mapping[str, Any], who: str, reason: str) -> Command:
    """The same of a mapping; `who` and `reason` where it says none. Raises ValueError, which says what to write."""
    if "value" not in found:
        raise ValueError('no "value"; write it as true, false, a number or a text')
    who, reason = words(found, "who", who, MOST_NAME), words(found, "reason", reason, MOST_WORDS)
    for_s = found.get("for_s")
    if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, int | float)):
        raise ValueError(f'"for_s" is {for_s!r}; write a number of seconds, or leave it out')
    mark = found.get("id")
    return Command(_value(found["value"]), who, reason, mark if isinstance(mark, str | int) else None, for_s)


async def outcome(work: Awaitable[Mapping[str, Any]], refusal: type[Exception], what: str) -> dict[str, Any]:
    """Carry a command out; what is answered: `ok`, with what was done, or with `error`. `what` is for the log.

    One that is refused or fails is no reason to end a connection.
    """
    try:
        done = await work
    except (refusal, ValueError) as error:
        return {"ok": False, "error": str(error)}
    except Exception:
        log.exception("%s failed", what)
        return {"ok": False, "error": "failed; the gateway's log says why"}
    return {"ok": done.get("result", "done") == "done", **done}


def words(found: Mapping[str, Any], key: str, default: str, most: int) -> str:
    """A text as one line without control characters: it goes into journals and terminals. Raises ValueError."""
    text = found.get(key, default)
    if not isinstance(text, str):
        raise ValueError(f'"{key}" is {type(text).__name__}; write a text')
    text = " ".join(plain(text).split())
    if len(text) > most:
        raise ValueError(f'"{key}" has {len(text)} characters; write at most {most}')
    return text


def _bare(payload: bytes) -> str:
    text = payload.strip()
    if text[:1] in (b"{", b"[", b'"'):
        raise ValueError("is not JSON; check quotes and brackets")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise ValueError("is neither JSON nor UTF-8 text") from None


def _value(found: Any) -> bool | int | float | str:
    if isinstance(found, bool | int | float | str):
        return found
    kinds = {dict: "an object", list: "a list", type(None): "null"}
    raise ValueError(f"the value is {kinds[type(found)]}; write true, false, a number or a text")
