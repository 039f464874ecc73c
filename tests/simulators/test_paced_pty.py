"""A pty that is as slow as the line that it stands for. Bounds are from below only: a busy machine may be slower."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest

from simulators.paced_pty import PacedPty, char_seconds, gap_seconds, linked
from tests.support import eventually


class Bursts:
    """What a line has handed over, and when."""

    def __init__(self) -> None:
        self.bursts: list[bytes] = []
        self.times: list[float] = []

    def __call__(self, burst: bytes) -> None:
        self.bursts.append(burst)
        self.times.append(time.monotonic())


@contextmanager
def line(
    baudrate: int = 9600, *, paced: bool = True, opened: Callable[[], None] = lambda: None
) -> Iterator[tuple[PacedPty, Bursts]]:
    """A line, closed at the end."""
    bursts = Bursts()
    pty = PacedPty(baudrate, paced=paced, received=bursts, opened=opened)
    try:
        yield pty, bursts
    finally:
        pty.close()


@asynccontextmanager
async def master(pty: PacedPty) -> AsyncIterator[int]:
    """The device, opened as a program would, without caring for its settings."""
    fd = os.open(pty.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        await eventually(lambda: pty.attended)
        yield fd
    finally:
        os.close(fd)


async def read(fd: int, count: int, within_s: float = 3.0) -> tuple[bytes, list[tuple[float, int]]]:
    """`count` bytes, and how many had come when."""
    data, arrivals = b"", []
    deadline = time.monotonic() + within_s
    while len(data) < count and time.monotonic() < deadline:
        try:
            data += os.read(fd, 4096)
            arrivals.append((time.monotonic(), len(data)))
        except BlockingIOError:
            await asyncio.sleep(0.001)
    return data, arrivals


def _has(items: Sized, count: int) -> bool:
    return len(items) == count


def test_a_character_is_as_long_as_its_bits() -> None:
    assert char_seconds(9600) == pytest.approx(10 / 9600)
    assert char_seconds(9600, "E") == char_seconds(9600, "N", 2) == pytest.approx(11 / 9600)
    assert gap_seconds(9600, "E") == pytest.approx(3.5 * 11 / 9600)
    assert gap_seconds(115200) == 0.00175


async def test_a_request_is_heard_when_it_would_have_been_sent() -> None:
    with line(2400) as (pty, heard):
        async with master(pty) as fd:
            began = time.monotonic()
            os.write(fd, bytes(range(8)))
            await eventually(lambda: heard.bursts)
            assert heard.bursts == [bytes(range(8))]
            assert heard.times[0] - began >= (8 + 3.5) * 10 / 2400


async def test_no_byte_of_an_answer_comes_before_its_time() -> None:
    with line(9600) as (pty, _):
        async with master(pty) as fd:
            began = time.monotonic()
            pty.send(bytes(range(250)), after_s=0.010)
            data, arrivals = await read(fd, 250)
            assert data == bytes(range(250))
            assert all(at - began >= 0.010 + count * 10 / 9600 for at, count in arrivals)
            assert len(arrivals) > 20, "an answer comes bit by bit, not in one lump"


async def test_the_faster_line_is_faster() -> None:
    took = {}
    for baudrate in (9600, 38400):
        with line(baudrate) as (pty, _):
            async with master(pty) as fd:
                began = time.monotonic()
                pty.send(bytes(200))
                await read(fd, 200)
                took[baudrate] = time.monotonic() - began
    assert took[38400] < took[9600]


async def test_bytes_that_follow_each_other_closely_are_one_burst() -> None:
    with line(2400) as (pty, heard):
        async with master(pty) as fd:
            os.write(fd, b"abc")
            await asyncio.sleep(0)
            os.write(fd, b"def")
            await eventually(lambda: heard.bursts)
            assert heard.bursts == [b"abcdef"]


async def test_what_is_sent_into_an_answer_is_destroyed() -> None:
    with line(9600) as (pty, heard):
        async with master(pty) as fd:
            pty.send(b"x" * 60)
            os.write(fd, b"too early")
            data, _ = await read(fd, 60)
            assert data == b"x" * 60
            await eventually(lambda: not pty.sending)
            assert (pty.collisions, heard.bursts) == (1, [])
            os.write(fd, b"in turn")
            await eventually(lambda: heard.bursts)
            assert heard.bursts == [b"in turn"]


async def test_unpaced_it_is_as_fast_as_the_machine() -> None:
    with line(300, paced=False) as (pty, heard):
        async with master(pty) as fd:
            os.write(fd, bytes(100))
            await eventually(lambda: heard.bursts)
            pty.send(bytes(200), after_s=5.0)
            data, _ = await read(fd, 200, within_s=1.0)
            assert len(data) == 200


async def test_it_tells_when_somebody_opens_it_and_outlives_their_leaving() -> None:
    openings: list[int] = []
    with line(paced=False, opened=lambda: openings.append(1)) as (pty, heard):
        pty.send(b"to nobody")
        for count in (1, 2, 3):
            async with master(pty) as fd:
                await eventually(partial(_has, openings, count))
                os.write(fd, b"hello")
                await eventually(partial(_has, heard.bursts, count))
                pty.send(b"well?")
                assert (await read(fd, 5))[0] == b"well?"
            await eventually(lambda: not pty.attended)


async def test_every_byte_passes_as_it_is() -> None:
    with line(paced=False) as (pty, heard):
        async with master(pty) as fd:
            os.write(fd, bytes(range(256)))
            await eventually(lambda: sum(map(len, heard.bursts)) == 256)
            assert b"".join(heard.bursts) == bytes(range(256))


def test_a_wished_path_is_a_link_for_as_long_as_it_is_served(tmp_path: Path) -> None:
    wish = tmp_path / "made" / "pump-room"
    with linked("/dev/pts/99", wish) as path:
        assert path == str(wish)
        assert str(wish.readlink()) == "/dev/pts/99"
    assert not wish.is_symlink()


def test_a_dead_link_of_an_earlier_run_is_replaced_and_anything_else_left_alone(tmp_path: Path) -> None:
    dead, device = tmp_path / "dead", tmp_path / "device"
    dead.symlink_to("/dev/pts/987654")
    device.write_text("a real one")
    with linked("/dev/pts/99", dead) as path:
        assert path == str(dead)
    with linked("/dev/pts/99", device) as path:
        assert path == "/dev/pts/99"
    assert device.read_text() == "a real one"


def test_nothing_is_made_where_a_real_adapter_would_appear() -> None:
    wish = Path("/dev/ttyUSB-of-this-test")
    with linked("/dev/pts/99", wish) as path:
        assert path == "/dev/pts/99"
        assert not wish.is_symlink()
