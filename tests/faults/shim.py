"""A file system under SQLite that remembers every write, sync and truncation, in order: what a power cut is made of.

`record(FILE)` puts itself between SQLite and the kernel for this process: a virtual file system of SQLite's own kind,
which hands everything on to the usual one and notes what goes by. `after_cut` then makes the files as they may stand
after a power cut at any point of that record: what was synced is there; of what was not, any sectors, in any order.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import pickle
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

SECTOR = 512
OK = 0


class Step(NamedTuple):
    """One thing that was asked of the file system, or a mark of whoever used it."""

    kind: str
    """`write`, `sync`, `truncate`, `delete`, `mark`."""
    name: str
    """The file's name; of a mark: what it says."""
    offset: int = 0
    data: bytes = b""


_File = ctypes.c_void_p
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _File, ctypes.c_int)
# The name is handed on as the pointer that it is: SQLite's own file system keeps it for as long as the file is open.
_OPEN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, _File, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3: what a file can do."""

    _fields_ = [("version", ctypes.c_int)] + [
        (name, ctypes.c_void_p)
        for name in (
            "close", "read", "write", "truncate", "sync", "file_size", "lock", "unlock", "check_reserved_lock",
            "file_control", "sector_size", "device_characteristics", "shm_map", "shm_lock", "shm_barrier",
            "shm_unmap", "fetch", "unfetch",
        )
    ]  # fmt: skip


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3: what a file system can do."""

    _fields_ = [
        ("version", ctypes.c_int), ("file_size", ctypes.c_int), ("longest_path", ctypes.c_int),
        ("next", ctypes.c_void_p), ("name", ctypes.c_char_p), ("data", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in (
            "open", "delete", "access", "full_path", "dl_open", "dl_error", "dl_sym", "dl_close", "randomness",
            "sleep", "current_time", "last_error", "current_time_64", "set_system_call", "get_system_call",
            "next_system_call",
        )),
    ]  # fmt: skip


class Recorder:
    """The file system of this process, once registered; it lives as long as the process does."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._turn = threading.Lock()
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []  # what C points to must not be collected
        self._methods: dict[int, _Methods] = {}
        library = ctypes.CDLL(ctypes.util.find_library("sqlite3") or "libsqlite3.so.0")
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        usual = library.sqlite3_vfs_find(None)
        self._usual_open = ctypes.cast(usual.contents.open, _OPEN)
        self._usual_delete = ctypes.cast(usual.contents.delete, _DELETE)
        vfs = _Vfs.from_buffer_copy(usual.contents)
        vfs.name = b"recorder"
        vfs.next = None
        vfs.open = self._address(_OPEN(self._open))
        vfs.delete = self._address(_DELETE(self._delete))
        self._kept.append(vfs)
        if library.sqlite3_vfs_register(ctypes.byref(vfs), 1) != OK:
            raise RuntimeError("SQLite takes no file system")

    def note(self, step: Step) -> None:
        """Remember one step."""
        with self._turn:
            pickle.dump(tuple(step), self._target)

    def _address(self, function: Any) -> int | None:
        self._kept.append(function)
        return ctypes.cast(function, ctypes.c_void_p).value

    def _open(self, vfs: int, path: int | None, file: int, flags: int, out: Any) -> int:
        code: int = self._usual_open(vfs, path, file, flags, out)
        if code == OK and path is not None:
            pointer = ctypes.cast(file, ctypes.POINTER(ctypes.c_void_p))
            usual = pointer[0]
            assert usual is not None  # an opened file has methods
            self._names[file] = Path(ctypes.string_at(path).decode()).name
            if usual not in self._methods:
                self._methods[usual] = self._wrapped(ctypes.cast(usual, ctypes.POINTER(_Methods)).contents)
            pointer[0] = ctypes.addressof(self._methods[usual])
        return code

    def _wrapped(self, usual: _Methods) -> _Methods:
        """The same methods, with ours before those that change the file."""
        mine = _Methods.from_buffer_copy(usual)
        write, truncate = ctypes.cast(usual.write, _WRITE), ctypes.cast(usual.truncate, _TRUNCATE)
        sync = ctypes.cast(usual.sync, _SYNC)

        def on_write(file: int, data: int, size: int, offset: int) -> int:
            self.note(Step("write", self._names[file], offset, ctypes.string_at(data, size)))
            return int(write(file, data, size, offset))

        def on_truncate(file: int, size: int) -> int:
            self.note(Step("truncate", self._names[file], size))
            return int(truncate(file, size))

        def on_sync(file: int, flags: int) -> int:
            code = int(sync(file, flags))
            self.note(Step("sync", self._names[file]))
            return code

        mine.write = self._address(_WRITE(on_write))
        mine.truncate = self._address(_TRUNCATE(on_truncate))
        mine.sync = self._address(_SYNC(on_sync))
        return mine

    def _delete(self, vfs: int, path: bytes, sync: int) -> int:
        self.note(Step("delete", Path(path.decode()).name, sync))
        return int(self._usual_delete(vfs, path, sync))


def record(target: Path) -> Callable[[str], None]:
    """Record everything that SQLite does in this process from now on; returns what notes a mark.

    The Python's SQLite must be the system's shared one.
    """
    recorder = Recorder(target.open("wb", buffering=0))
    return lambda text: recorder.note(Step("mark", text))


def recorded(source: Path) -> list[Step]:
    """What was recorded, in order."""
    steps = []
    with source.open("rb") as file:
        while True:
            try:
                steps.append(Step(*pickle.load(file)))  # noqa: S301  # written by our own process a moment ago
            except EOFError:
                return steps


def after_cut(steps: Iterable[Step], chance: random.Random) -> dict[str, bytes]:
    """The files as they may stand where the power went after these steps."""
    files: dict[str, bytearray] = {}
    loose: dict[str, list[Step]] = {}  # since the last sync of each file
    for step in steps:
        if step.kind in ("write", "truncate"):
            loose.setdefault(step.name, []).append(step)
        elif step.kind == "sync":
            for each in loose.pop(step.name, ()):
                _do(files.setdefault(step.name, bytearray()), each)
        elif step.kind == "delete":
            loose.pop(step.name, None)
            files.pop(step.name, None)
    for name, waiting in loose.items():
        _tear(files, name, waiting, chance)
    return {name: bytes(content) for name, content in files.items()}


def unsynced(steps: Iterable[Step]) -> int:
    """How many writes were under way: not synced when the power went."""
    waiting: dict[str, int] = {}
    for step in steps:
        if step.kind == "sync":
            waiting.pop(step.name, None)
        elif step.kind != "mark":
            waiting[step.name] = waiting.get(step.name, 0) + 1
    return sum(waiting.values())


def _tear(files: dict[str, bytearray], name: str, waiting: list[Step], chance: random.Random) -> None:
    """Of what was not synced any sectors are there: none, all, or each by chance; a new file may be missing whole."""
    share = chance.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    if name not in files and share == 0.0:
        return
    content = files.setdefault(name, bytearray())
    for step in waiting:
        for piece in _sectors(step):
            if chance.random() < share:
                _do(content, piece)


def _sectors(step: Step) -> Iterator[Step]:
    if step.kind == "truncate":
        yield step
        return
    at, end = step.offset, step.offset + len(step.data)
    while at < end:
        upto = min(end, at - at % SECTOR + SECTOR)
        yield step._replace(offset=at, data=step.data[at - step.offset : upto - step.offset])
        at = upto


def _do(content: bytearray, step: Step) -> None:
    if step.kind == "truncate":
        del content[step.offset :]
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data
