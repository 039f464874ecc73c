"""What the site file names outside this process: serial ports, far ends. Connects and hangs up; says nothing."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge.checkup.finding import Finding, doubtful, well, wrong
from edge.site import Connection, Site

WAIT_S = 3.0
BY_ID = Path("/dev/serial/by-id")


def look_at_ports(site: Site, by_id: Path = BY_ID) -> Iterator[Finding]:
    """Every serial port of the site."""
    for name, connection in site.connections.items():
        port = getattr(connection.settings, "port", None)
        if isinstance(port, str):
            yield _port(name, Path(port), by_id)


def _port(name: str, path: Path, by_id: Path) -> Finding:
    what = f"port {name}"
    if not path.exists():
        there = ", ".join(str(each) for each in sorted(by_id.glob("*"))) or "-"
        return wrong(
            what, (f"{path} 不存在", f"there is no {path}"),
            (f"插上适配器；现有：{there}", f"plug the adapter in; there are: {there}"),
        )  # fmt: skip
    mode = path.stat()
    if not stat.S_ISCHR(mode.st_mode):
        return wrong(what, (f"{path} 不是串口", f"{path} is no serial port"), ("改正 port", "mend port"))
    if not os.access(path, os.R_OK | os.W_OK):
        group, user = _group(mode.st_gid), pwd.getpwuid(os.getuid()).pw_name
        return wrong(
            what, (f"用户 {user} 不能使用 {path}", f"user {user} may not use {path}"),
            (f"sudo usermod -aG {group} {user}，然后重新登录", f"sudo usermod -aG {group} {user}, then log in again"),
        )  # fmt: skip
    better = [each for each in sorted(by_id.glob("*")) if each.resolve() == path.resolve() and path.parent != by_id]
    if better and path.name.startswith(("ttyUSB", "ttyACM")):
        return doubtful(
            what, (f"{path} 的名称在重新插拔后会变", f"{path} changes its name when plugged anew"),
            (f"改用 port: {better[0]}", f"write port: {better[0]}"),
        )  # fmt: skip
    return well(what, f"{path} 可用", f"{path} can be used")


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def look_at_far_ends(site: Site, *, devices: bool) -> Iterator[Finding]:
    """Brokers and uplinks; with `devices` also devices on the network, of which some serve one client only."""
    for name, connection in site.connections.items():
        way = _way_of(connection.settings)
        if way is not None and (devices or connection.settings.type == "mqtt"):
            yield _reached(f"connection {name}", *way, context=_tls_of(connection))
    for name, settings in site.uplinks.items():
        way = _way_of(settings)
        if way is None:
            continue
        try:
            yield _reached(f"uplink {name}", *way, context=_context(settings))
        except OSError as error:
            yield wrong(f"uplink {name}", (str(error), str(error)), ("修正 tls", "mend tls"))


def _way_of(settings: Any) -> tuple[str, int] | None:
    """Host and port that settings lead to; None where they lead nowhere on a network."""
    url = getattr(settings, "url", None)
    if isinstance(url, str):
        parts = urlsplit(url)
        return (parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)) if parts.hostname else None
    host, port = getattr(settings, "host", None), getattr(settings, "port", None)
    if not isinstance(host, str):
        return None
    usual = 8883 if getattr(settings, "tls", None) else 1883
    return host, port if isinstance(port, int) else usual


def _context(settings: Any) -> ssl.SSLContext | None:
    """How an uplink secures its way."""
    made = getattr(settings, "context", None)
    found: ssl.SSLContext | None = made() if callable(made) else None
    if found is None and str(getattr(settings, "url", "")).startswith("https:"):
        return ssl.create_default_context()
    return found


def _tls_of(connection: Connection) -> ssl.SSLContext | None:
    return ssl.create_default_context() if getattr(connection.settings, "tls", False) is True else None


def _reached(what: str, host: str, port: int, context: ssl.SSLContext | None) -> Finding:
    where = f"{host}:{port}"
    try:
        with closing(socket.create_connection((host, port), WAIT_S)) as plain:
            if context is not None:
                with context.wrap_socket(plain, server_hostname=host) as secured:
                    return well(what, f"{where} 可达，{secured.version()}", f"{where} is there, {secured.version()}")
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message
        return wrong(
            what, (f"{where} 的证书无效：{reason}", f"the certificate of {where} is not taken: {reason}"),
            ("在 tls: 下设置 ca，或校正本机时钟", "set ca under tls, or mend this box's clock"),
        )  # fmt: skip
    except ssl.SSLError as error:
        return wrong(
            what, (f"{where} 的 TLS 失败：{error.reason}", f"no TLS with {where}: {error.reason}"),
            ("检查端口与 tls", "check the port, and tls"),
        )  # fmt: skip
    except socket.gaierror:
        return wrong(
            what, (f"找不到主机 {host}", f"no host of the name {host} is known"),
            ("检查名称和 DNS", "check the name, and DNS"),
        )  # fmt: skip
    except OSError as error:
        reason = error.strerror or "no answer"
        return wrong(
            what, (f"{where} 不可达：{reason}", f"{where} cannot be reached: {reason}"),
            ("检查地址、对端和防火墙", "check the address, whether it runs, and what lies between"),
        )  # fmt: skip
    return well(what, f"{where} 可达", f"{where} is there")
