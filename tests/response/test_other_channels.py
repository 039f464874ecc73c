"""The log, the file, and everything that apprise knows."""

from __future__ import annotations

import builtins
import errno
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from edge.clock import ManualClock
from edge.response.channels import AnySettings, open_channel
from edge.response.channels.channel import ChannelError, ChannelSettings, in_thread
from edge.response.channels.log import Log
from tests.response.robots import NOON_NS, Answer, message, robot_service

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # by an import of apprise


def settings(**keys: Any) -> ChannelSettings:
    result = TypeAdapter(AnySettings).validate_python(keys)
    assert isinstance(result, ChannelSettings)
    return result


async def test_the_log_shows_one_line_with_numbers_masked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with open_channel(settings(type="log"), Path(), ManualClock()) as channel:
        await channel.send(message("【紧急】电梯困人 100%s\n维保 13812345678", recipients=("值班员", "领班")))
    [record] = [record for record in caplog.records if record.name == "courtyard.push"]
    assert record.getMessage() == "→ 值班员, 领班: 【紧急】电梯困人 100%s | 维保 138****5678"


async def test_the_log_can_print_elsewhere() -> None:
    lines: list[str] = []
    await Log(lines.append).send(message("a"))
    assert lines == ["→ x: a"]


async def test_a_file_gets_one_line_for_each_push_and_is_for_its_owner_only(tmp_path: Path) -> None:
    async with open_channel(settings(type="file", path="pushes.jsonl"), tmp_path, ManualClock(NOON_NS)) as channel:
        await channel.send(message("第一行\n第二行"))
        await channel.send(message("b"))
    path = tmp_path / "pushes.jsonl"
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == {
        "time": "2026-03-02T10:31:05+00:00",
        "notices": ["n"],
        "recipients": ["x"],
        "priority": "critical",
        "text": "第一行\n第二行",
    }
    assert second["text"] == "b"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_cannot_be_written_says_which_and_why(tmp_path: Path) -> None:
    async with open_channel(settings(type="file", path="no/such/file"), tmp_path, ManualClock()) as channel:
        with pytest.raises(ChannelError, match=r"no/such/file cannot be written: No such file or directory; check"):
            await channel.send(message())


async def test_a_file_on_a_disk_that_fills_up_has_whole_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 100

    def write(handle: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = real(handle, data[:room])
        room -= taken
        return taken

    real = os.write
    monkeypatch.setattr(os, "write", write)
    async with open_channel(settings(type="file", path="pushes.jsonl"), tmp_path, ManualClock(NOON_NS)) as channel:
        with pytest.raises(ChannelError, match="No space left on device; check disk and permissions"):
            await channel.send(message("a"))
        room = 10_000
        await channel.send(message("b"))
    assert [json.loads(line)["text"] for line in (tmp_path / "pushes.jsonl").read_text().splitlines()] == ["b"]


async def test_blocking_work_leaves_the_loop_free_and_its_errors_come_back() -> None:
    release = threading.Event()

    def blocked() -> str:
        release.wait(5)
        return threading.current_thread().name

    async def free() -> str:
        release.set()
        return await in_thread("second", lambda: threading.current_thread().name)

    waiting = in_thread("first", blocked)
    assert await free() == "second"
    assert await waiting == "first"
    with pytest.raises(ZeroDivisionError):
        await in_thread("third", lambda: 1 // 0)


async def test_apprise_delivers_to_a_real_endpoint() -> None:
    pytest.importorskip("apprise")
    async with robot_service() as service:
        url = service.url.replace("http://", "json://")
        async with open_channel(settings(type="apprise", url=url), Path(), ManualClock()) as channel:
            await channel.send(message("水泵房进水"))
        assert service.asked[0].body["message"] == "水泵房进水"


async def test_apprise_says_why_it_did_not_deliver_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("apprise")
    caplog.set_level(logging.DEBUG)
    async with robot_service() as service:
        service.otherwise = Answer(b"", status=500)
        url = service.url.replace("http://", "json://user:hidden-password@")
        async with open_channel(settings(type="apprise", url=url), Path(), ManualClock()) as channel:
            with pytest.raises(ChannelError, match=r"apprise did not deliver: .*500") as caught:
                await channel.send(message())
    assert caught.value.retry
    assert "hidden-password" not in str(caught.value) + caplog.text


def test_an_address_that_apprise_does_not_know_is_a_mistake_that_is_not_quoted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pytest.importorskip("apprise")
    with pytest.raises(ValidationError) as caught:
        settings(type="apprise", url="nonsense://hidden-token")
    assert "is no address that apprise knows" in str(caught.value)
    assert "hidden-token" not in caught.value.errors()[0]["msg"] + caplog.text


def test_apprise_that_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.response.channels.apprise_.find_spec", _nothing)
    with pytest.raises(ValidationError, match=r"pip install 'courtyard-edge\[apprise\]'"):
        settings(type="apprise", url="ntfys://example.org/topic")


def _nothing(name: str) -> None:
    assert name == "apprise"


def test_sites_without_apprise_do_not_pay_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def guarded(name: str, *rest: Any, **keys: Any) -> Any:
        assert name.partition(".")[0] != "apprise"
        return real(name, *rest, **keys)

    monkeypatch.setattr(builtins, "__import__", guarded)
    settings(type="wecom", key="k")
