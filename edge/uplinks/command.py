"""What comes in on `.../set`: a command, as JSON object or bare value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

MOST_BYTES = 4096
WHO = "mqtt"
REASON = "command over MQTT"


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
    if "value" not in found:
        raise ValueError('no "value"; write {"value": ..., "who": ..., "reason": ...}')
    texts = {key: found.get(key, default) for key, default in (("who", WHO), ("reason", REASON))}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f'"{key}" is {type(text).__name__}; write a text')
    for_s = found.get("for_s")
    if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, int | float)):
        raise ValueError(f'"for_s" is {for_s!r}; write a number of seconds, or leave it out')
    mark = found.get("id")
    mark = mark if isinstance(mark, str | int) else None
    return Command(_value(found["value"]), texts["who"], texts["reason"], mark, for_s)


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
