"""How the lines of a timeline read, in Chinese and English."""

from __future__ import annotations

from collections.abc import Callable

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
    "onsite": Text("人员到场", "On site"),
    "released": Text("人员已解救", "Released"),
    "note": Text("备注", "Note"),
    "merged": Text("并入事件", "Merged into"),
    "reopened": Text("事件重新打开", "Incident reopened"),
    "closed": Text("事件结束", "Incident closed"),
}


def line_text(line: Line, alarm: Text | None, name_of: Callable[[str], str] = str) -> Text:
    """A line in words: what, of which alarm, to or by whom, and the note."""
    event = EVENTS.get(line.event, Text(line.event, line.event))
    name = alarm or Text(line.alarm, line.alarm)
    who = name_of(line.who) if line.event.startswith("push") else line.who
    zh, en = event.zh, event.en
    if name.zh:
        zh, en = f"{zh}：{name.zh}", f"{en}: {name.en}"
    if who:
        zh, en = f"{zh}（{who}）", f"{en} ({who})"
    note = Text("条件恢复", "condition gone") if line.note == "condition gone" else Text(line.note, line.note)
    if note.zh:
        zh, en = f"{zh} · {note.zh}", f"{en} · {note.en}"
    return Text(zh, en)
