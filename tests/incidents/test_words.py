"""The lines of a timeline in words, each wholly in its language."""

from __future__ import annotations

import pytest

from drivers.point import Text
from edge.incidents.incident import Line
from edge.incidents.words import line_text

CHANNELS = {"group": Text("企业微信", "WeCom")}


def text(event: str, note: str = "", who: str = "") -> tuple[str, str]:
    found = line_text(
        Line(1, event, "", who, note), None, lambda name: {"desk": "值班员"}.get(name, name),
        lambda name: CHANNELS.get(name, Text(name, name)),
    )  # fmt: skip
    return found.zh, found.en


@pytest.mark.parametrize(
    ("event", "note", "zh", "en"),
    [
        ("pushed", "group", "已推送（值班员） · 企业微信", "Pushed (值班员) · WeCom"),
        ("pushed", "gone", "已推送（值班员） · gone", "Pushed (值班员) · gone"),
        ("pushed over", "group", "推送恢复（值班员） · 企业微信", "Told that it is over (值班员) · WeCom"),
        ("push failed", "group: HTTP 503", "推送失败（值班员） · 企业微信：HTTP 503",
         "Push failed (值班员) · WeCom: HTTP 503"),
        ("push over failed", "group: a: b", "推送恢复失败（值班员） · 企业微信：a: b",
         "Could not be told that it is over (值班员) · WeCom: a: b"),
    ],
)  # fmt: skip
def test_a_push_names_its_channel_as_staff_call_it_and_says_what_it_was_about(
    event: str, note: str, zh: str, en: str
) -> None:
    assert text(event, note, "desk") == (zh, en)


@pytest.mark.parametrize(
    ("event", "note", "zh", "en"),
    [
        ("released", "condition gone", "人员已解救 · 条件恢复", "Released · condition gone"),
        ("held", "chattering", "反复报警，不再重复推送 · 抖动", "Repeats itself, not pushed again · chattering"),
        ("held", "fleeting", "反复报警，不再重复推送 · 一闪而过", "Repeats itself, not pushed again · fleeting"),
        ("unshelved", "time is over", "取消搁置 · 时间已到", "Unshelved · time is over"),
        ("reminded", "still there 240 min later", "长时间未恢复，再次提醒 · 240 分钟后仍未恢复",
         "Still there, reminded · still there 240 min later"),
        ("suppressed", "connection pump-room is down", "按设计抑制 · 连接 pump-room 断开",
         "Suppressed by design · connection pump-room is down"),
        ("unsuppressed", "connection pump-room is back", "解除抑制 · 连接 pump-room 恢复",
         "No longer suppressed · connection pump-room is back"),
        ("suppressed", "suppressed by design: pump-1.fault", "按设计抑制 · 因 pump-1.fault",
         "Suppressed by design · suppressed by design: pump-1.fault"),
        ("suppressed", "suppressed by design: its time", "按设计抑制 · 不在报警时段",
         "Suppressed by design · suppressed by design: its time"),
        ("note", "家属已联系", "备注 · 家属已联系", "Note · 家属已联系"),
    ],
)  # fmt: skip
def test_what_the_gateway_notes_itself_is_in_both_languages_and_what_people_write_stays(
    event: str, note: str, zh: str, en: str
) -> None:
    assert text(event, note) == (zh, en)
