"""How the lines of a timeline read, in Chinese and English."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from drivers.point import Text
from edge.incidents.incident import Line

EVENTS: dict[str, Text] = {
    "opened": Text("事件开始", "Incident opened"),
    "raised": Text("检测到报警", "Alarm detected"),
    "re-raised": Text("再次报警", "Alarm again"),
    "cleared": Text("条件恢复", "Condition gone"),
    "acknowledged": Text("已确认", "Acknowledged"),
    "reset": Text("已复位", "Reset"),
    "reminded": Text("长时间未恢复，再次提醒", "Still there, reminded"),
    "shelved": Text("已搁置", "Shelved"),
    "unshelved": Text("取消搁置", "Unshelved"),
    "suppressed": Text("按设计抑制", "Suppressed by design"),
    "unsuppressed": Text("解除抑制", "No longer suppressed"),
    "removed": Text("退出服务", "Taken out of service"),
    "returned": Text("恢复服务", "Back in service"),
    "held": Text("反复报警，不再重复推送", "Repeats itself, not pushed again"),
    "pushed": Text("已推送", "Pushed"),
    "push failed": Text("推送失败", "Push failed"),
    "pushed over": Text("推送恢复", "Told that it is over"),
    "push over failed": Text("推送恢复失败", "Could not be told that it is over"),
    "onsite": Text("人员到场", "On site"),
    "released": Text("人员已解救", "Released"),
    "note": Text("备注", "Note"),
    "merged": Text("并入事件", "Merged into"),
    "reopened": Text("事件重新打开", "Incident reopened"),
    "closed": Text("事件结束", "Incident closed"),
}


_NOTES: Sequence[tuple[str, str]] = (
    (r"condition gone", "条件恢复"),
    (r"chattering", "抖动"),
    (r"fleeting", "一闪而过"),
    (r"time is over", "时间已到"),
    (r"still there (\d+) min later", r"\1 分钟后仍未恢复"),
    (r"connection (.+) is down", r"连接 \1 断开"),
    (r"connection (.+) is back", r"连接 \1 恢复"),
    (r"suppressed by design: its time", "不在报警时段"),
    (r"suppressed by design: (.+)", r"因 \1"),
)
"""What the gateway notes itself, as it stands in the journal, and in Chinese. People's own notes stay as they are."""


def line_text(
    line: Line,
    alarm: Text | None,
    name_of: Callable[[str], str] = str,
    channel_of: Callable[[str], Text] = lambda name: Text(name, name),
) -> Text:
    """A line in words: what, of which alarm, to or by whom, and the note. `name_of` recipients, `channel_of` what
    a channel is called."""
    event = EVENTS.get(line.event, Text(line.event, line.event))
    pushed = line.event.startswith("push")
    name = alarm or Text(line.alarm, line.alarm)
    who = name_of(line.who) if pushed else line.who
    note = _push_note(line.note, channel_of) if pushed else _note(line.note)
    zh, en = event.zh, event.en
    if name.zh:
        zh, en = f"{zh}：{name.zh}", f"{en}: {name.en}"
    if who:
        zh, en = f"{zh}（{who}）", f"{en} ({who})"
    if note.zh:
        zh, en = f"{zh} · {note.zh}", f"{en} · {note.en}"
    return Text(zh, en)


def _push_note(note: str, channel_of: Callable[[str], Text]) -> Text:
    """`CHANNEL`, or `CHANNEL: why it was not delivered`."""
    name, _, error = note.partition(": ")
    channel = channel_of(name)
    return Text(f"{channel.zh}：{error}", f"{channel.en}: {error}") if error else channel


def _note(note: str) -> Text:
    for known, zh in _NOTES:
        if found := re.fullmatch(known, note):
            return Text(found.expand(zh), note)
    return Text(note, note)
