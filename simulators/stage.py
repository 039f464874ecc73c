"""What all wires of a simulated community share: the world, the clock, where to serve, and what has been served."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from drivers.driver import Clock
from simulators.broker import OwnBroker
from simulators.model import SimConnection
from simulators.world import World

LOOPBACK = "127.0.0.1"

Tick = Callable[[], Awaitable[None]]
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where simulated devices answer."""

    connection: str
    kind: str
    """The connection's type."""
    address: str
    """`HOST:PORT`, or a device path."""
    what: str
    """Who answers there, for people."""


@dataclass(slots=True)
class Served:
    """What is being served, and what has been sent."""

    endpoints: list[Endpoint] = field(default_factory=list)
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of connections to lay over the site's, so that it finds the simulators."""
    counts: Counter[str] = field(default_factory=Counter)
    """Messages and replies sent so far, by connection."""
    broker: Address | None = None
    """The broker that was started for MQTT connections; None where none was."""


@dataclass(slots=True)
class Stage:
    """What every wire needs."""

    world: World
    clock: Clock
    at_site: bool
    paced: bool
    served: Served
    resources: AsyncExitStack
    broker: Address | None
    brokers: dict[Address, OwnBroker] = field(default_factory=dict)
    """Brokers of our own, by the address that the site has for them."""
    ticks: list[Tick] = field(default_factory=list)
    """What is called after each step of the world."""

    def counter(self, connection: SimConnection) -> Callable[[], None]:
        """What counts the messages of a connection."""

        def sent() -> None:
            self.served.counts[connection.name] += 1

        return sent

    def is_cut(self, connection: SimConnection) -> bool:
        """Whether the connection carries nothing now."""
        return connection.name in self.world.cut

    def announce(self, connection: SimConnection, address: str, what: str, over: dict[str, Any]) -> None:
        """Say where a connection is served, and how a site finds it there."""
        changed = {key: value for key, value in over.items() if connection.settings.get(key) != value}
        if changed:
            self.served.overrides[connection.name] = changed
            if self.at_site:
                what += "; not at the site's own address, which is taken or not on this machine"
        self.served.endpoints.append(
            Endpoint(connection.name, connection.type, address, f"{connection.name}: {what}")
        )


def site_address(stage: Stage, connection: SimConnection, default_port: int) -> list[Address]:
    """Where to serve, best first: port 0 is any free one."""
    host, port = str(connection.settings.get("host", LOOPBACK)), int(connection.settings.get("port", default_port))
    host = LOOPBACK if host == "localhost" else host
    anywhere = [(LOOPBACK, 0)]
    return [(host, port), *anywhere] if stage.at_site and is_loopback(host) else anywhere


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own; a name is not taken for one."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
