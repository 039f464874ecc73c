"""What a push says, and what of it is hidden."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.point import Text
from edge.response.notice import Notice, clean, compose, compose_digest, compose_resolved, mask, truncate
from edge.texts import span
from tests.response.robots import NOON_NS, notice

SHANGHAI = ZoneInfo("Asia/Shanghai")
MINUTE_NS = 60_000_000_000


def test_an_alarm_reads_as_one_short_text_in_the_language_and_time_of_the_site() -> None:
    alarm = notice(respond_s=300)
    assert compose(alarm, "zh", SHANGHAI, NOON_NS) == (
        "【紧急】电梯困人 · 2号楼 1号电梯(2号楼西厅) 18:31:05\n请立即通话安抚\n请在 5分钟 内响应"
    )
    assert compose(alarm, "en", SHANGHAI, NOON_NS) == (
        "[CRITICAL] Passenger trapped · 2号楼 1号电梯 (2号楼西厅) 18:31:05\n"
        "Talk to the passenger at once\nRespond within 5 min"
    )


def test_an_alarm_of_another_day_says_its_date() -> None:
    assert "03-02 18:31:05" in compose(notice(), "zh", SHANGHAI, NOON_NS + 24 * 60 * MINUTE_NS)


def test_an_escalated_alarm_says_how_long_nobody_has_acknowledged() -> None:
    text = compose(notice(), "zh", SHANGHAI, NOON_NS, unanswered_s=190)
    assert text.startswith("【紧急·升级】")
    assert "已 3分钟10秒 无人确认" in text
    assert "Nobody has acknowledged for 3 min 10 s" in compose(notice(), "en", SHANGHAI, NOON_NS, unanswered_s=190)


def test_what_is_over_reads_softer_and_says_how_long_it_lasted() -> None:
    over = notice(resolved=True, time_ns=NOON_NS + 9 * MINUTE_NS)
    text = compose_resolved(over, "zh", SHANGHAI, over.time_ns, NOON_NS)
    assert text == "【恢复】电梯困人 · 2号楼 1号电梯(2号楼西厅) 18:40:05\n历时 9分钟"
    assert compose_resolved(over, "en", SHANGHAI, over.time_ns, NOON_NS).startswith("[Cleared] Passenger trapped")


@pytest.mark.parametrize(
    ("priority", "resolved", "zh", "en"),
    [
        ("medium", False, "【工单】", "[Order] "),
        ("high", False, "【重要工单】", "[HIGH order] "),
        ("high", True, "【工单结束】", "[Order closed] "),
    ],
)
def test_a_work_order_is_told_from_an_alarm(priority: str, resolved: bool, zh: str, en: str) -> None:
    order = notice("WO-000001", priority, kind="order", resolved=resolved)
    assert compose(order, "zh", SHANGHAI, NOON_NS).startswith(zh)
    assert compose(order, "en", SHANGHAI, NOON_NS).startswith(en)


def test_control_characters_of_a_device_reach_no_terminal() -> None:
    text = compose(notice(equipment="lift\x1b[2J\r\n1", body=Text("a\u202eb\nc", "")), "zh", SHANGHAI, NOON_NS)
    assert "lift [2J 1" in text
    assert text.splitlines()[1] == "a b c"


def test_phone_numbers_are_masked_and_other_numbers_are_not() -> None:
    assert mask("王工 13812345678, 138 1234 5678") == "王工 138****5678, 138****5678"
    assert mask("register 213812345678 or 12812345678") == "register 213812345678 or 12812345678"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(3, 200))
def test_a_cut_text_fits_and_is_a_beginning_of_the_whole(text: str, room: int) -> None:
    cut = truncate(text, room)
    assert len(cut.encode()) <= room
    assert cut == text or text.startswith(cut.removesuffix("…"))
    if len(text.encode()) <= room:
        assert cut == text
    else:
        assert cut.endswith("…")
        assert len(cut.encode()) > room - 4  # nothing is given away that would have fitted


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=80), min_size=1))
def test_a_digest_fits_and_accounts_for_every_message(headlines: list[str]) -> None:
    lines = compose_digest(headlines, "en", 400).split("\n")
    assert len("\n".join(lines).encode()) <= 400
    assert lines[0] == f"[Digest] {len(headlines)} messages"
    left_out = int(lines[-1].split()[2]) if len(lines) - 1 < len(headlines) or lines[1:] != headlines else 0
    assert len(lines) - 1 - bool(left_out) + left_out == len(headlines)


def test_a_digest_of_what_fits_is_complete() -> None:
    assert compose_digest(["甲", "乙"], "zh", 2048) == "【汇总】2 条消息\n甲\n乙"


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (0, "0秒", "0 s"),
        (59.6, "1分钟", "1 min"),
        (5400, "1小时30分钟", "1 h 30 min"),
        (86_410, "1天", "1 d"),
        (200_000, "2天7小时", "2 d 7 h"),
    ],
)
def test_durations_are_said_in_at_most_two_units(seconds: float, zh: str, en: str) -> None:
    assert (span(seconds, "zh"), span(seconds, "en")) == (zh, en)


def test_a_notice_survives_the_ledger() -> None:
    assert Notice.from_body(json.loads(json.dumps(notice().to_body()))) == notice()


@given(st.text())
def test_a_cleaned_text_is_one_line(text: str) -> None:
    assert len(clean(text).splitlines()) <= 1
