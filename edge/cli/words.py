"""What the commands print in words, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drivers.point import Language
from edge.cli.command import say

_WORDS: dict[str, tuple[str, str]] = {
    # heads
    "alarm": ("报警", "alarm"), "priority": ("级别", "priority"), "state": ("状态", "state"),
    "name": ("名称", "name"), "equipment": ("设备", "equipment"), "place": ("位置", "place"),
    "raised": ("发生", "raised"), "by": ("操作人", "by"), "todo": ("处理", "what to do"),
    "point": ("点", "point"), "value": ("值", "value"), "quality": ("质量", "quality"),
    "time": ("时间", "time"), "order": ("工单", "order"), "task": ("任务", "task"), "due": ("期限", "due"),
    "connection": ("连接", "connection"), "uplink": ("上行", "uplink"), "type": ("类型", "type"),
    "why": ("原因", "why"), "use": ("占用", "use"), "timeouts": ("超时", "time-outs"),
    "planned": ("计划占用", "planned"), "exceptions": ("异常应答", "exceptions"), "overruns": ("跳过", "skipped"),
    "dearest": ("占用最多", "dearest"), "bad_answers": ("无效应答", "bad answers"),
    "bad": ("坏帧", "bad frames"), "lag": ("滞后 s", "behind s"), "backlog": ("待发", "waiting"),
    "rate": ("速率 行/s", "rows/s"),
    "storage": ("存储", "storage"), "budget": ("预算", "budget"), "packed": ("已压缩", "packed"),
    "oldest": ("最早", "oldest"), "shed": ("因预算丢弃", "let go for the budget"),
    "aging_held": ("时钟跳变未证实，暂停按期清理", "clock leaped, deletion by age on hold"),
    "rows": ("行数", "rows"), "rows_given_up": ("放弃的行数", "rows given up"),
    "last_row_there": ("前一上行已有至行号", "the far end before has all up to row"),
    "rejected": ("被拒", "rejected"), "class": ("类别", "class"), "count": ("台数", "count"),
    "alarms": ("报警", "alarms"), "untrusted": ("不可信", "not trusted"), "seq": ("序号", "no"),
    "kind": ("种类", "kind"), "subject": ("对象", "subject"), "event": ("事件", "event"),
    "profile": ("配置", "profile"), "protocol": ("协议", "protocol"), "points": ("点数", "points"),
    "source": ("来源", "source"), "unit": ("单位", "unit"), "address": ("地址", "address"),
    "connections": ("连接", "connections"), "uplinks": ("上行", "uplinks"), "orders": ("工单", "work orders"),
    "incident": ("事件", "incident"), "title": ("名称", "title"), "opened": ("开始", "opened"),
    "incidents": ("事件", "incidents"), "pushes": ("推送", "pushes"), "what": ("经过", "what happened"),
    "caused_by": ("起因事件", "caused by"), "affected": ("影响设备", "affected"), "since": ("经过时间", "since"),
    "figure": ("指标", "figure"), "recommended": ("推荐值", "recommended"), "ok": ("达标", "ok"),
    "share": ("占比", "share"), "times": ("次数", "times"), "suggestion": ("建议", "suggestion"),
    "chattering": ("抖动报警", "chattering"),
    "fleeting": ("一闪而过的报警", "fleeting"),
    "verdict": ("结果", "verdict"), "lasted": ("持续", "lasted"), "note": ("说明", "note"),
    "came": ("新增", "came"), "gone": ("消失", "gone"), "moved": ("移动", "moved"), "same": ("不变", "same"),
    "cleared": ("解除", "cleared"), "stands": ("仍在", "stands"),
    "present_rule": ("现规则", "present rule"), "changed_rule": ("修改后", "changed rule"),
    "gaps": ("数据中断", "gaps"), "late": ("迟到或重复", "late or doubled"),
    "limit": ("限值", "limit"), "deadband": ("回差", "deadband"), "delays": ("延时 触发/解除", "delay on / off"),
    "readings": ("读数", "readings"), "known": ("已知时间", "known"), "unusable": ("不可用", "unusable"),
    "noise": ("相邻变化", "usual change"),
    # sentences
    "proposal_note": (
        "按该时段的历史得出，时段内的故障也被当作正常；请对照设备资料再采用。",
        "From this span's history, in which faults count as normal too: compare with the maker's sheet before use.",
    ),
    "of_this_bus": ("线路占用", "of this bus take"), "planned_share": ("计划", "planned"),
    "and_more": ("其余台数", "and more"),
    "well": ("网关工作正常", "the gateway is working"), "unwell": ("网关有故障", "the gateway is not well"),
    "no_alarms": ("当前没有报警", "no alarms"), "no_incidents": ("当前没有事件", "no incidents"),
    "no_orders": ("没有待办工单", "no open work orders"),
    "synthetic": ("合成配置，非厂家寄存器表", "synthetic profile, no vendor's register map"),
    # states
    "unacknowledged": ("未确认", "unacknowledged"), "acknowledged": ("已确认", "acknowledged"),
    "returned": ("已恢复，未确认", "returned"), "latched_unacknowledged": ("锁存，未确认", "latched"),
    "latched_acknowledged": ("待复位", "waits for reset"), "shelved": ("已搁置", "shelved"),
    "suppressed": ("已抑制", "suppressed"), "out_of_service": ("停用", "out of service"),
    "incident_open": ("待处理", "open"), "incident_acknowledged": ("已确认", "acknowledged"),
    "incident_closed": ("已结束", "closed"),
    "normal": ("正常", "normal"), "open": ("待接单", "open"), "accepted": ("已接单", "accepted"),
    "started": ("进行中", "started"), "done": ("待验收", "done"), "verified": ("已验收", "verified"),
    "cancelled": ("已撤销", "cancelled"), "up": ("正常", "up"), "down": ("断开", "down"),
    "doubtful": ("应答不稳", "doubtful"), "silent": ("无应答", "silent"),
    "answering": ("应答有误", "answering"), "waiting": ("暂不询问", "left alone"),
    "critical": ("紧急", "critical"), "high": ("高", "high"), "medium": ("中", "medium"),
    "low": ("低", "low"), "good": ("好", "good"), "uncertain": ("存疑", "uncertain"),
}  # fmt: skip
_REASONS = {
    "comm": ("通信中断", "no answer"), "range": ("超出量程", "out of range"), "stale": ("数据过期", "stale"),
    "sensor": ("传感器故障", "sensor fault"), "clock": ("时间不准", "clock not set"),
}  # fmt: skip


def word(key: str, language: Language) -> str:
    """One word; what is not known is itself."""
    pair = _WORDS.get(key)
    return pair[0 if language == "zh" else 1] if pair else key


def words(keys: str, language: Language) -> list[str]:
    """Several, as the head of a table."""
    return [word(key, language) for key in keys.split()]


def quality(row: Mapping[str, Any], language: Language) -> str:
    """How far a reading may be trusted, with the reason where it may not."""
    level, reason = str(row.get("quality", "")), row.get("reason")
    if level == "good":
        return word("good", language)
    known = _REASONS.get(str(reason))
    shown = known[0 if language == "zh" else 1] if known else str(reason or "")
    return f"! {word(level, language) if level != 'bad' else ('坏' if language == 'zh' else 'bad')} {shown}".strip()


def value(row: Mapping[str, Any], language: Language) -> str:
    """A reading as people read it: the name of its value where it has one, else the number with its unit."""
    if row.get("value") is None:
        return "-"
    if row.get("label"):
        return say(row["label"], language)
    given = row["value"]
    text = f"{given:.6g}" if isinstance(given, float) else str(given)
    return f"{text} {row.get('unit') or ''}".strip()


def local(iso: object) -> str:
    """A time of the daemon in this box's zone, to the second; empty where there is none."""
    if not isinstance(iso, str):
        return ""
    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%m-%d %H:%M:%S")
    except ValueError:
        return iso
