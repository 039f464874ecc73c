"""A line named on the command line: a connection of a site file, or a URL where there is no site file yet.

    modbus-tcp://10.0.0.5:502     serial:///dev/ttyUSB0 or /dev/ttyUSB0     rtu-tcp://10.0.0.6:4196

What comes in: the argument, and `--config` where it is a name. What goes out: a driver with settings, checked.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from drivers.document import nearest
from drivers.driver import Driver, Settings, drivers
from edge.cli.client import Client, NoDaemon, given_url
from edge.cli.command import USAGE, WRONG, Ended
from edge.site import Site
from edge.site_file import load_site

_SERIAL = "serial"
"""The scheme of what is named by its device alone."""


@dataclass(frozen=True, slots=True)
class Line:
    """One way to devices."""

    name: str
    driver: Driver
    settings: Settings
    site: Site | None
    """None where it was named by URL and without a site file."""

    @property
    def fixed(self) -> bool:
        """Whether a site file says how the line is set."""
        return self.site is not None and self.name in self.site.connections


def argument(parser: argparse.ArgumentParser) -> None:
    """The argument and the option that name a line."""
    schemes = ", ".join(f"{each.scheme}://" for each in drivers().values() if each.scheme)
    parser.add_argument(
        "line",
        metavar="CONNECTION-OR-URL",
        help=f"a connection of --config, a serial port (/dev/...), or a URL ({schemes}HOST:PORT or /DEVICE)",
    )
    parser.add_argument("--config", type=Path, default=None, metavar="SITE.yaml", help="the site file")


def line_of(arguments: argparse.Namespace, over: Mapping[str, Any] | None = None) -> Line:
    """The line that the arguments name, `over` laid over its settings. Raises Ended, Faulty."""
    text = str(arguments.line)
    if text.startswith("/dev/"):
        text = f"{_SERIAL}://{text}"
    site = load_site(arguments.config) if arguments.config else None
    if "://" in text:
        driver, keys = _of_url(text)
        return Line("line", driver, _settings(driver, keys | dict(over or {}), text), site)
    if site is None:
        raise Ended(
            USAGE,
            f"connection {text} of which site? add --config SITE.yaml, or name the line itself, like "
            "modbus-tcp://HOST or /dev/ttyUSB0",
        )
    found = site.connections.get(text)
    if found is None:
        raise Ended(USAGE, f"no connection {text!r} in {arguments.config}{nearest(text, site.connections)}")
    settings = found.settings
    if over:
        settings = _settings(found.driver, settings.model_dump(by_alias=True) | dict(over), text)
    return Line(text, found.driver, settings, site)


def _of_url(text: str) -> tuple[Driver, dict[str, Any]]:
    """Driver and keys of a URL: a host and port, or a device path."""
    try:
        parts = urlsplit(text)
        host, number = parts.hostname, parts.port
    except ValueError as error:
        raise Ended(USAGE, f"{text!r} is no URL of a line: {error}") from None
    for name, driver in drivers().items():
        if driver.scheme and parts.scheme in (driver.scheme, name):
            keys: dict[str, Any] = {"type": name}
            if host:
                return driver, keys | {"host": host} | ({"port": number} if number else {})
            return driver, keys | {"port": parts.path}
    known = [driver.scheme for driver in drivers().values() if driver.scheme]
    raise Ended(USAGE, f"no line is named by {parts.scheme}://{nearest(parts.scheme, known)}; use {', '.join(known)}")


def _settings(driver: Driver, keys: Mapping[str, Any], text: str) -> Settings:
    try:
        return driver.settings.model_validate(keys)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Ended(USAGE, f"{text}: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def console_of(arguments: argparse.Namespace, site: Site) -> Client:
    """The daemon of a site: where the command line or the environment says, else where the site file says."""
    host, number = site.console.address()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    token = site.console.token.get_secret_value() if site.console.token else None
    return Client(given_url(arguments) or f"http://{f'[{host}]' if ':' in host else host}:{number}", token)


def refuse_if_owned(arguments: argparse.Namespace, line: Line) -> None:
    """End where the daemon of the site uses this connection: two masters on one line spoil each other's answers."""
    if line.site is None or not line.fixed:
        return
    try:
        with console_of(arguments, line.site) as daemon:
            rows = daemon.get("/api/v1/connections")
            site = daemon.get("/api/v1/site")
    except NoDaemon:
        return
    if site.get("id") == line.site.info.id and any(row.get("name") == line.name for row in rows):
        raise Ended(
            WRONG, f"the daemon at {daemon.url} uses {line.name}; stop it first, two masters disturb each other"
        )
