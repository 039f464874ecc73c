"""The state directory and the disk under it, and the secrets. Writes one small file and takes it away again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from edge.checkup.finding import Finding, doubtful, well, wrong
from edge.store.database import StoreError, damaged
from edge.store.lock import holder
from edge.store.state import SCHEMAS, reading, refuse_newer_state

SLOW_S, TOO_SLOW_S = 0.2, 2.0
"""A full sync: every alarm waits for one before it is told."""
LITTLE, TOO_LITTLE = 1 << 30, 64 << 20
"""Bytes free."""
SYNCS = 5
CHECKED = 256 << 20
"""A database up to this size is looked through as a whole."""
_PRIVATE = 0o077
_DAMAGED = (
    "重启守护进程会另存损坏的文件；或用 courtyard restore 恢复备份",
    "a restart sets a damaged file aside; or restore a backup with courtyard restore",
)
_FULL = (
    "磁盘已满或只读时文件本身可能完好：清理磁盘，或把该目录复制到别的磁盘再检查",
    "the file may be sound, its disk full or read-only: free some, or copy the folder to another disk and look there",
)


def look_at_state(state: Path, budget: int | None = None) -> Iterator[Finding]:
    """The directory, its files, and the disk that it is on."""
    if not state.is_dir():
        yield wrong(
            "state", (f"{state} 不存在", f"there is no {state}"),
            ("检查 --state；首次启动时守护进程会创建它", "check --state; the daemon makes it at its first start"),
        )  # fmt: skip
        return
    yield _running(state)
    yield from _permissions(state)
    yield from _databases(state)
    yield _free(state)
    yield _syncs(state)
    if budget is not None:
        yield _budget(state, budget)


def _running(state: Path) -> Finding:
    pid = holder(state)
    if pid is None:
        return doubtful(
            "daemon", (f"没有守护进程在 {state} 上运行", f"no daemon runs on {state}"),
            ("启动：sudo systemctl start courtyard", "start it: sudo systemctl start courtyard"),
        )  # fmt: skip
    return well("daemon", f"正在运行，进程 {pid}", f"runs as process {pid}")


def _permissions(state: Path) -> Iterator[Finding]:
    """Names, phone numbers and readings are for the daemon's user only."""
    mode = stat.S_IMODE(state.stat().st_mode)
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        owner = state.stat().st_uid
        yield wrong(
            "state", (f"{state} 不可写（属主 uid {owner}）", f"{state} cannot be written (it is of uid {owner})"),
            ("以守护进程的用户运行，或修正属主", "run as the daemon's user, or mend the owner"),
        )  # fmt: skip
    elif mode & _PRIVATE:
        yield doubtful(
            "state", (f"{state} 其他用户可读（{mode:o}）", f"{state} can be read by others ({mode:o})"),
            (f"chmod 700 {state}", f"chmod 700 {state}"),
        )  # fmt: skip
    else:
        yield well("state", f"{state}（{mode:o}）", f"{state} ({mode:o})")


def _databases(state: Path) -> Iterator[Finding]:
    try:
        refuse_newer_state(state)
    except StoreError as error:
        yield wrong("files", (str(error), str(error)), ("见上文", "as it says"))
        return
    for name in SCHEMAS:
        path = state / name
        if not path.exists():
            continue
        try:
            with reading(path) as database:
                whole = path.stat().st_size <= CHECKED
                verdict = database.execute("PRAGMA quick_check(1)" if whole else "PRAGMA schema_version").fetchone()[
                    0
                ]
            if whole and verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
        except (sqlite3.Error, StoreError) as error:
            is_disk = isinstance(error, sqlite3.OperationalError) and not damaged(error)
            yield wrong(
                "files",
                (f"{path} 无法读取：{error}", f"{path} cannot be read: {error}"),
                _FULL if is_disk else _DAMAGED,
            )
        else:
            yield well("files", f"{path}，{path.stat().st_size >> 10} KB", f"{path}, {path.stat().st_size >> 10} KB")
    aside = sorted(state.glob("*.damaged-*"))
    if aside:
        names = ", ".join(path.name for path in aside[:3])
        yield doubtful(
            "files", (f"曾有损坏的文件：{names}", f"files were damaged: {names}"),
            ("检查存储卡；不再需要时删除这些文件", "look after the card; remove these when nobody needs them"),
        )  # fmt: skip


def _free(state: Path) -> Finding:
    usage = shutil.disk_usage(state)
    found = (f"剩余 {usage.free / 1e9:.1f} GB（共 {usage.total / 1e9:.1f} GB）",
             f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free")  # fmt: skip
    todo = ("清理磁盘，或减小 storage.budget", "free some, or lower storage.budget")
    if usage.free < TOO_LITTLE:
        return wrong("disk", found, todo)
    return doubtful("disk", found, todo) if usage.free < LITTLE else well("disk", *found)


def _syncs(state: Path) -> Finding:
    """How long a full sync takes, which is also whether anything can be written."""
    path = state / f".doctor-{os.getpid()}"
    times = []
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for _ in range(SYNCS):
                began = time.perf_counter()
                os.write(handle, bytes(4096))
                os.fsync(handle)
                times.append(time.perf_counter() - began)
        finally:
            os.close(handle)
            path.unlink()
    except OSError as error:
        return wrong(
            "disk", (f"不可写：{error.strerror}", f"nothing can be written: {error.strerror}"),
            ("检查磁盘是否已满、只读或损坏：dmesg | tail", "is it full, read-only or broken? dmesg | tail"),
        )  # fmt: skip
    middle = sorted(times)[SYNCS // 2]
    found = (f"一次落盘 {middle * 1000:.1f} ms", f"a sync takes {middle * 1000:.1f} ms")
    todo = ("存储卡太慢或将坏，请更换", "the card is slow or wears out; replace it")
    if middle >= TOO_SLOW_S:
        return wrong("disk", found, todo)
    return doubtful("disk", found, todo) if middle >= SLOW_S else well("disk", *found)


def _budget(state: Path, budget: int) -> Finding:
    used = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    found = (
        f"已用预算 {used / 1e6:.0f} / {budget / 1e6:.0f} MB",
        f"{used / 1e6:.0f} MB of {budget / 1e6:.0f} MB in use",
    )
    if used > budget:
        return doubtful(
            "budget", found,
            ("旧备份和另存的文件也计入；删除不需要的", "old backups and files set aside count too; remove some"),
        )  # fmt: skip
    return well("budget", *found)


def look_at_secrets(config: Path) -> Iterator[Finding]:
    """The site file and what lies beside it in `secrets/`."""
    folder = config.parent / "secrets"
    loose = [path for path in sorted(folder.glob("*")) if path.is_file() and path.stat().st_mode & _PRIVATE]
    if loose:
        names = " ".join(str(path) for path in loose)
        yield wrong(
            "secrets",
            (f"其他用户可读：{names}", f"others can read {names}"),
            (f"chmod 600 {names}", f"chmod 600 {names}"),
        )
    elif folder.is_dir():
        yield well("secrets", f"{folder} 仅属主可读", f"{folder} is for its owner only")
    else:
        yield well("secrets", "没有 secrets 目录", "there is no folder of secrets")
