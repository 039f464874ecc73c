"""Whether the primary host application of Sparkplug B is there. Pure.

What comes in: messages on its STATE topic, in the form of specification 3.0 (`spBv1.0/STATE/<id>`, JSON with
`online` and `timestamp`) and in the older one (`STATE/<id>`, the text ONLINE or OFFLINE). A message that is older
than one that came before it says nothing (tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp).
"""

from __future__ import annotations

from typing import Any

import orjson

TEXTS = {b"ONLINE": True, b"OFFLINE": False}


class PrimaryHost:
    """What one connection has heard of the host."""

    def __init__(self, host: str) -> None:
        self.topics = (f"spBv1.0/STATE/{host}", f"STATE/{host}")
        self.online = False
        self._time_ms: float | None = None

    def forget(self) -> None:
        """A new connection: what was heard before no longer counts."""
        self.online, self._time_ms = False, None

    def take(self, topic: str, payload: bytes) -> None:
        """Note what a message says. Raises ValueError where it says nothing that is known."""
        text = payload.strip().upper()
        if topic == self.topics[1] and text in TEXTS:
            if self._time_ms is None:  # a host that speaks the newer form is believed in that alone
                self.online = TEXTS[text]
            return
        online, time_ms = _parsed(payload)
        if self._time_ms is not None and time_ms < self._time_ms:
            return
        self.online, self._time_ms = online, time_ms


def _parsed(payload: bytes) -> tuple[bool, float]:
    if not payload:  # somebody has taken the retained message away
        return False, 0
    try:
        body: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise ValueError(f"{payload[:40]!r} is neither JSON nor ONLINE or OFFLINE") from None
    online, time_ms = (body.get("online"), body.get("timestamp")) if isinstance(body, dict) else (None, None)
    if not isinstance(online, bool) or isinstance(time_ms, bool) or not isinstance(time_ms, int | float):
        raise ValueError(f'{payload[:80]!r} has no "online" (true or false) and "timestamp" (ms)')
    return online, time_ms
