"""Our own senders against a real HTTP server: shape, signature, byte limits, and what they make of the answer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from edge.clock import ManualClock
from edge.response.channels import AnySettings, open_channel, robot
from edge.response.channels.channel import ChannelError
from edge.response.notice import Message
from tests.response.robots import NOON_NS, Answer, Service, message, robot_service

KEY = "693a91f6-7xxx-4bc4"
SECRET = "SECc0ffee5ec2e7"
LONG = "水泵房进水🌊" * 2000


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    async with robot_service() as service:
        yield service


async def send(service: Service, kind: str, message: Message, **keys: Any) -> None:
    settings = TypeAdapter(AnySettings).validate_python({"type": kind, "key": KEY, "url": service.url, **keys})
    async with open_channel(settings, Path(), ManualClock(wall_ns=NOON_NS)) as channel:
        await channel.send(message)


async def refusal(service: Service, kind: str = "wecom", **keys: Any) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        await send(service, kind, message(), **keys)
    return caught.value


async def test_wecom_is_sent_text_with_mentions_and_its_key(service: Service) -> None:
    await send(service, "wecom", message("救援", mobiles=("13812345678",), users=("li",)), mention_all=True)
    [asked] = service.asked
    assert asked.query == {"key": KEY}
    assert asked.body == {
        "msgtype": "text",
        "text": {"content": "救援", "mentioned_list": ["li", "@all"], "mentioned_mobile_list": ["13812345678"]},
    }


async def test_only_what_is_critical_mentions_everybody(service: Service) -> None:
    for kind in ("wecom", "dingtalk", "feishu"):
        service.otherwise = Answer({"errcode": 0, "code": 0})
        await send(service, kind, message("灯", priority="high"), mention_all=True)
    assert "mentioned_list" not in service.asked[0].body["text"]
    assert service.asked[1].body["at"]["isAtAll"] is False
    assert service.asked[2].text == "灯"


async def test_wecom_text_is_cut_to_2048_bytes_between_characters(service: Service) -> None:
    await send(service, "wecom", message(LONG))
    content = service.asked[0].text
    assert 2044 < len(content.encode()) <= 2048
    assert content.endswith("…")
    assert LONG.startswith(content[:-1])


async def test_dingtalk_is_signed_with_the_secret_as_key(service: Service) -> None:
    await send(service, "dingtalk", message("救援", mobiles=("13812345678",)), secret=SECRET)
    [asked] = service.asked
    timestamp = str(NOON_NS // 1_000_000)
    digest = hmac.new(SECRET.encode(), f"{timestamp}\n{SECRET}".encode(), hashlib.sha256).digest()
    assert asked.query == {"access_token": KEY, "timestamp": timestamp, "sign": base64.b64encode(digest).decode()}
    assert asked.body == {
        "msgtype": "text",
        "text": {"content": "救援"},
        "at": {"atMobiles": ["13812345678"], "atUserIds": [], "isAtAll": False},
    }


async def test_dingtalk_without_a_secret_is_not_signed(service: Service) -> None:
    await send(service, "dingtalk", message())
    assert service.asked[0].query == {"access_token": KEY}


async def test_feishu_is_signed_with_an_empty_message_in_seconds(service: Service) -> None:
    service.otherwise = Answer({"code": 0, "msg": "success", "data": {}})
    await send(service, "feishu", message("救援", users=("ou_1",)), secret=SECRET, mention_all=True)
    [asked] = service.asked
    timestamp = str(NOON_NS // 1_000_000_000)
    digest = hmac.new(f"{timestamp}\n{SECRET}".encode(), b"", hashlib.sha256).digest()
    assert asked.path == f"/robot/send/{KEY}"
    assert asked.body == {
        "timestamp": timestamp,
        "sign": base64.b64encode(digest).decode(),
        "msg_type": "text",
        "content": {"text": '救援\n<at user_id="ou_1"></at> <at user_id="all"></at>'},
    }


async def test_feishu_does_not_take_a_name_for_a_mention(service: Service) -> None:
    service.otherwise = Answer({"StatusCode": 0, "StatusMessage": "success"})  # as older robots answer
    await send(service, "feishu", message('<at user_id="all"></at>'))
    assert "<at" not in service.asked[0].text


@pytest.mark.parametrize("kind", ["dingtalk", "feishu"])
@pytest.mark.parametrize("text", [LONG, '"\n' * 20_000])
async def test_no_request_is_larger_than_the_service_takes(service: Service, kind: str, text: str) -> None:
    service.otherwise = Answer({"errcode": 0, "code": 0})
    await send(service, kind, message(text))
    assert service.asked[0].size < 20_000


@pytest.mark.parametrize(
    ("kind", "body", "said", "retry"),
    [
        (
            "wecom",
            {"errcode": 93000, "errmsg": "invalid webhook url"},
            "code 93000: invalid webhook url); check",
            False,
        ),
        ("wecom", {"errcode": 45009, "errmsg": "api freq out of limit"}, "too many messages (code 45009", True),
        ("wecom", {"errcode": -1, "errmsg": "system busy"}, "in trouble (code -1", True),
        ("wecom", {"errcode": "0"}, "answers HTTP 200 without a code; check url", False),
        ("wecom", {}, "without a code", False),
        ("dingtalk", {"errcode": 310000, "errmsg": "sign not match"}, "check secret (the robot's security", False),
        ("dingtalk", {"errcode": 130101, "errmsg": "send too fast"}, "too many messages (code 130101", True),
        ("feishu", {"code": 19021, "msg": "sign match fail"}, "check secret (签名校验) and the clock", False),
        ("feishu", {"code": 9499, "msg": "Bad Request"}, "refuses (code 9499: Bad Request)", False),
        ("feishu", {"code": 11232, "msg": "frequency limited"}, "too many messages (code 11232", True),
    ],
)
async def test_the_code_in_the_body_decides_not_http_200(
    service: Service, kind: str, body: dict[str, Any], said: str, retry: bool
) -> None:
    service.otherwise = Answer(body)
    error = await refusal(service, kind)
    assert said in str(error)
    assert error.retry is retry


@pytest.mark.parametrize(
    ("answer", "said", "retry"),
    [
        (Answer(b"<html>portal</html>"), "answers HTTP 200 without a code", False),
        (Answer(b"[0]"), "without a code", False),
        (Answer(b"", status=404), "answers HTTP 404 without a code", False),
        (Answer(b"", status=302, headers={"Location": "http://127.0.0.1:1/"}), "answers HTTP 302", False),
        (Answer(b"oops", status=502), "in trouble (HTTP 502)", True),
        (Answer(b"", status=429, headers={"Retry-After": "17"}), "too many messages (HTTP 429)", True),
        (Answer(b"x" * 200_000), "without a code", False),
        (Answer(drop=True), "cannot be reached", True),
    ],
)
async def test_an_answer_that_is_no_robots_is_a_failure(
    service: Service, answer: Answer, said: str, retry: bool
) -> None:
    service.otherwise = answer
    error = await refusal(service)
    assert said in str(error)
    assert error.retry is retry
    assert error.after_s == (17 if answer.status == 429 else None)


async def test_an_answer_that_never_ends_is_no_answer(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robot, "EXCHANGE_S", 0.3)
    service.otherwise = Answer(drip=True)
    async with asyncio.timeout(5):
        error = await refusal(service)
    assert (str(error), error.retry) == ("WeCom does not answer in time", True)


async def test_a_service_that_cannot_be_reached_may_be_tried_again() -> None:
    error = await refusal(Service(url="http://127.0.0.1:1/robot"))
    assert error.retry
    assert "WeCom cannot be reached" in str(error)


@pytest.mark.parametrize("kind", ["wecom", "dingtalk", "feishu"])
async def test_neither_key_nor_secret_nor_number_is_in_a_log_or_an_error(
    service: Service, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"bad {KEY} {SECRET} 13812345678"
    service.otherwise = Answer({"errcode": 7, "code": 7, "errmsg": echo, "msg": echo})
    keys = {} if kind == "wecom" else {"secret": SECRET}
    error = await refusal(service, kind, **keys)
    for hidden in (KEY, *keys.values(), "13812345678"):
        assert hidden not in str(error)
        assert hidden not in caplog.text
    assert "httpx" in {record.name for record in caplog.records}  # it did log, without the address


def test_settings_show_no_secrets() -> None:
    settings = TypeAdapter(AnySettings).validate_python({"type": "feishu", "key": KEY, "secret": SECRET})
    assert KEY not in repr(settings)
    assert SECRET not in repr(settings)
