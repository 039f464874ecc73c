"""An MQTT connection that can publish many messages with one wait for all their confirmations.

aiomqtt makes an event and a timer for every message that it confirms, which costs more than the message. Here the
messages go to its client (paho) one behind the other, and one future waits until the broker has confirmed the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import aiomqtt
import paho.mqtt.client as mqtt

from edge.clock import SystemClock

MISC_S = 5.0
"""Enough for a keep-alive of half a minute, of which a broker allows one and a half."""


class _Confirmations:
    """Stands where aiomqtt keeps an event for each message: `set` is called once for each confirmation."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = 0

    def set(self) -> None:
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


class Outbox(aiomqtt.Client):
    """aiomqtt's client, and `publish_all`."""

    _open: _Confirmations | None = None

    async def _misc_loop(self) -> None:
        """Keep-alive and the like, which aiomqtt does each second, when the rest of the house wakes."""
        clock = SystemClock()
        while self._client.loop_misc() == mqtt.MQTT_ERR_SUCCESS:
            await clock.sleep(MISC_S)

    async def publish_all(
        self, messages: Iterable[tuple[str, bytes]], timeout_s: float, *, retain: bool = False
    ) -> None:
        """Publish (topic, payload) with QoS 1 and return once the broker has confirmed all of them.

        One call at a time. Raises MqttError where the connection ends, or the broker does not confirm in time.
        """
        confirmations = self._open = _Confirmations()
        pending = cast(dict[int, Any], self._pending_publishes)
        mine: list[int] = []
        try:
            for topic, payload in messages:
                info = self._client.publish(topic, payload, 1, retain)
                if info.rc:
                    raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
                pending[info.mid] = confirmations
                mine.append(info.mid)
                confirmations.left += 1
            if confirmations.left:
                async with asyncio.timeout(timeout_s):
                    await confirmations.done
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None
        finally:
            self._open = None
            for mid in mine:
                if pending.get(mid) is confirmations:
                    del pending[mid]

    def _on_disconnect(self, *what: Any) -> None:
        """The connection has gone; before the broker has answered it, aiomqtt would wait for the rest of its time."""
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("it hangs up without an answer; is tls right?"))
            self._connected.exception()  # perhaps nobody waits any more
        super()._on_disconnect(*what)

    def give_up(self, reason: str) -> None:
        """The connection has gone: nothing that is out will be confirmed any more."""
        if self._open is not None and not self._open.done.done():
            self._open.done.set_exception(aiomqtt.MqttError(reason))
