"""One daemon for each state folder: two of them would poll the same buses and number the same orders.

Two locks of the kernel lie on one file. `flock` keeps a second daemon out, also one of an older Courtyard. The other
is a sign of it only: unlike `flock` it can be asked for without being taken, so that whoever looks (`doctor`) is
never in the way of a daemon that starts at that moment.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge.store.database import StoreError

_SIGN = "hhqqi0q"
"""`struct flock`: kind, from where, begin, length (0: all), process (0 for a lock of an open file)."""


class StateBusy(StoreError):
    """Another process holds the state folder."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        self.pid = pid
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"state folder {folder} is in use by {holder}; stop it, or choose another with --state")


def make_folder(folder: Path) -> None:
    """The state folder, for this user's eyes only. Raises StoreError with what to do."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(
            f"state folder {folder} cannot be made: {error.strerror}; check its permissions, or choose another with "
            "--state"
        ) from error


@contextmanager
def state_lock(folder: Path) -> Iterator[None]:
    """Hold `<folder>/lock`, made where it is missing. Raises StateBusy, or StoreError for an unusable folder.

    The kernel lets go of the lock when the process ends, however it ends; the file stays.
    """
    path = folder / "lock"
    make_folder(folder)
    try:
        handle = _opened(path)
    except OSError as error:
        raise StoreError(f"state folder {folder} cannot be used: {error.strerror}; check its permissions") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(handle, 32).strip()
            raise StateBusy(folder, int(text) if text.isdigit() else None) from None
        with suppress(OSError):  # a disk that takes nothing, or has no such locks: nobody sees who it is
            os.ftruncate(handle, 0)
            os.pwrite(handle, b"%d\n" % os.getpid(), 0)
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack(_SIGN, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        yield
        with suppress(OSError):
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    """On a read-only disk a file that is there can be locked all the same."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def holder(folder: Path) -> int | None:
    """The process that holds the folder; None where nobody does, or it cannot be seen. Takes no lock itself."""
    try:
        handle = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        asked = struct.pack(_SIGN, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        kind = struct.unpack(_SIGN, fcntl.fcntl(handle, fcntl.F_OFD_GETLK, asked))[0]
        text = b"" if kind == fcntl.F_UNLCK else os.read(handle, 32).strip()
    except OSError:  # a file system without such locks
        return None
    finally:
        os.close(handle)
    return int(text) if text.isdigit() else None
