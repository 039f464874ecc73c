"""A robot's service on loopback: a real HTTP server that answers by a script and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from drivers.point import Text
from edge.response.duty import DutySpec
from edge.response.notice import Message, Notice

TAKEN = {"errcode": 0, "errmsg": "ok"}


@dataclass(frozen=True)
class Asked:
    """One request as it came over the wire."""

    path: str
    query: dict[str, str]
    body: dict[str, Any]
    size: int

    @property
    def text(self) -> str:
        """The text of the message, whichever service's shape it has."""
        content: dict[str, Any] = self.body.get("text") or self.body["content"]
        return str(content.get("content") or content.get("text", ""))


@dataclass
class Answer:
    """What the service says."""

    body: dict[str, Any] | bytes = field(default_factory=lambda: dict(TAKEN))
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False
    drip: bool = False


@dataclass
class Service:
    """The far end of one or more robots."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    script: deque[Answer] = field(default_factory=deque)
    """Answers to the next requests; then `otherwise`."""
    otherwise: Answer = field(default_factory=Answer)
    dripped: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def texts(self) -> list[str]:
        """Of all requests, in order."""
        return [each.text for each in self.asked]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            target = urlsplit(lines[0].split(" ")[1])
            lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
            raw = await reader.readexactly(int(lengths[0]))
            query = {key: values[0] for key, values in parse_qs(target.query).items()}
            self.asked.append(Asked(target.path, query, json.loads(raw), len(raw)))
            answer = self.script.popleft() if self.script else self.otherwise
            if answer.hang:
                await self.release.wait()
            while answer.drip:  # an answer that never ends
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if not self.dripped else b" ")
                self.dripped += 1
                await writer.drain()
                await asyncio.sleep(0.01)
            if not answer.drop:
                writer.write(_http(answer))
                await writer.drain()
        except ConnectionError:
            pass  # the asker has had enough
        finally:
            writer.close()


def _http(answer: Answer) -> bytes:
    body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head = f"HTTP/1.1 {answer.status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{extra}\r\n"
    return head.encode() + body


@asynccontextmanager
async def robot_service() -> AsyncIterator[Service]:
    """A service on a free loopback port."""
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/robot/send"
    try:
        yield service
    finally:
        service.release.set()
        server.close()
        await server.wait_closed()


def message(text: str = "【紧急】电梯困人", **changes: Any) -> Message:
    """A message to send."""
    keys: dict[str, Any] = {
        "headline": text.partition("\n")[0],
        "priority": "critical",
        "notices": ("n",),
        "recipients": ("x",),
    }
    return Message(text=text, **{**keys, **changes})


NOON_NS = 1_772_447_465_000_000_000
"""2026-03-02 18:31:05 in Shanghai."""


def notice(id_: str = "lift-1.trapped", priority: str = "critical", **changes: Any) -> Notice:
    """A notice of an alarm."""
    keys: dict[str, Any] = {
        "kind": "alarm",
        "title": Text("电梯困人", "Passenger trapped"),
        "body": Text("请立即通话安抚", "Talk to the passenger at once"),
        "equipment": "2号楼 1号电梯",
        "place": "2号楼西厅",
        "time_ns": NOON_NS,
        "resolved": False,
    }
    return Notice(id=id_, priority=priority, **{**keys, **changes})


def duty(channels: dict[str, Any], ladders: dict[str, Any], **recipients: Any) -> DutySpec:
    """A duty section whose names have been followed."""
    spec = DutySpec.model_validate({"channels": channels, "recipients": recipients, "ladders": ladders})
    assert not list(spec.faults())
    return spec
