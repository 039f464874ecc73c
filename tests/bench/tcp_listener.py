"""Who listens at the broker, in a process of their own: how old each reading is when it arrives.

Arguments: the broker's port. Every line on standard input begins a new count; each is answered by one line of JSON
about the count before: messages, and the 50th and 99th percentile and the greatest age in ms.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

FIRST = "r0"
SECOND = "r1"


def ages(found: list[int]) -> dict[str, float]:
    """Percentiles of ages in µs, as ms."""
    ordered = sorted(found) or [0]
    at = {"p50": 0.50, "p99": 0.99, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 for name, share in at.items()}


def main(port: int) -> None:
    """Listen until standard input ends."""
    found: list[int] = []

    def on_message(client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        now_us = time.monotonic_ns() // 1000
        values = orjson.loads(message.payload)["values"]
        if FIRST in values and SECOND in values:
            found.append((now_us - (values[FIRST] << 16) - values[SECOND]) % 2**32)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.subscribe("courtyard/bench/+/readings", 0)
    client.loop_start()
    for _ in sys.stdin:
        taken, found[:] = list(found), []
        print(json.dumps({"messages": len(taken), **ages(taken)}), flush=True)
    client.loop_stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
