"""What people are told, and how it reads: one short text in the site's language.

What comes in: a `Notice` in both languages, about an alarm or a work order. What goes out: a headline that says
what, where and when, and below it what to do and by when. Device and site texts are untrusted here: control
characters never reach a terminal, a journal or a robot. Phone numbers are personal data and are masked wherever a
text is logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from drivers.point import Language, Text
from edge.texts import span

Kind = Literal["alarm", "order"]

PRIORITIES: dict[str, Text] = {
    "critical": Text("紧急", "CRITICAL"),
    "high": Text("重要", "HIGH"),
    "medium": Text("一般", "MEDIUM"),
    "low": Text("提示", "LOW"),
}
"""Most urgent first."""

_MOBILE = re.compile(r"(?<!\d)(1[3-9]\d)[ -]?\d{4}[ -]?(\d{4})(?!\d)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
"""Control characters, line breaks, and the marks that turn the direction of writing."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that somebody has to know of."""

    id: str
    """The alarm's or the order's id."""
    kind: Kind
    priority: str
    """`critical`, `high`, `medium` or `low`."""
    title: Text
    body: Text
    """The value, and what to do."""
    equipment: str
    """Its name, as staff know it."""
    place: str
    time_ns: int
    resolved: bool
    """The alarm is over, or the order finished."""
    respond_s: float = 0
    """Within which time somebody should answer; 0: not said."""

    def to_body(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @staticmethod
    def from_body(body: Mapping[str, Any]) -> Notice:
        """Back from JSON; KeyError or TypeError where the body is no notice."""
        return Notice(**{**body, "title": Text.from_body(body["title"]), "body": Text.from_body(body["body"])})


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel sends: one text, with what it needs to draw the right people's attention."""

    text: str
    headline: str
    """The first line alone, for digests."""
    priority: str
    notices: tuple[str, ...]
    """Ids of what it is about; several in a digest."""
    recipients: tuple[str, ...]
    """Names of the people it is for."""
    mobiles: tuple[str, ...] = ()
    """Phone numbers to mention, where the channel can."""
    users: tuple[str, ...] = ()
    """Ids of accounts on the channel to mention."""

    @property
    def urgent(self) -> bool:
        """Whether it may use the share of the rate that is kept back for what is critical."""
        return self.priority == "critical"


def compose(notice: Notice, language: Language, zone: tzinfo, now_ns: int, unanswered_s: float | None = None) -> str:
    """The text of a notice. `unanswered_s`: nobody has acknowledged for so long, and the next one is called."""
    lines = [headline(notice, language, zone, now_ns, escalated=unanswered_s is not None)]
    body = clean(notice.body.get(language))
    if body:
        lines.append(body)
    if unanswered_s is not None:
        waited = span(unanswered_s, language)
        lines.append(f"已 {waited} 无人确认" if language == "zh" else f"Nobody has acknowledged for {waited}")
    if notice.respond_s > 0:
        within = span(notice.respond_s, language)
        lines.append(f"请在 {within} 内响应" if language == "zh" else f"Respond within {within}")
    return "\n".join(lines)


def compose_resolved(
    notice: Notice, language: Language, zone: tzinfo, now_ns: int, raised_ns: int | None = None
) -> str:
    """The softer text that something is over; `raised_ns` says how long it took."""
    lines = [headline(notice, language, zone, now_ns)]
    if raised_ns is not None and notice.time_ns > raised_ns:
        lasted = span((notice.time_ns - raised_ns) / 1e9, language)
        lines.append(f"历时 {lasted}" if language == "zh" else f"Lasted {lasted}")
    return "\n".join(lines)


def headline(notice: Notice, language: Language, zone: tzinfo, now_ns: int, *, escalated: bool = False) -> str:
    """What, where and when, in one line; with the date where it was not today."""
    mark = _mark(notice, language, escalated)
    opened, closed = ("【", "】") if language == "zh" else ("[", "] ")
    where = clean(notice.equipment)
    if notice.place:
        between = "" if language == "zh" else " "
        where += f"{between}({clean(notice.place)})"
    when = _when(notice.time_ns, now_ns, zone)
    return f"{opened}{mark}{closed}{clean(notice.title.get(language))} · {where} {when}"


def compose_digest(headlines: Sequence[str], language: Language, room: int) -> str:
    """Many messages as one of at most `room` bytes: their headlines, and how many more there were no room for."""
    count = len(headlines)
    lines = [f"【汇总】{count} 条消息" if language == "zh" else f"[Digest] {count} messages"]
    used = len(lines[0].encode())
    for index, line in enumerate(headlines):
        rest = count - index
        more = f"… 另有 {rest} 条" if language == "zh" else f"… and {rest} more"
        ending = len(more.encode()) + 1 if rest > 1 else 0
        size = len(line.encode()) + 1
        if used + size + ending > room:
            lines.append(more)
            break
        lines.append(line)
        used += size
    return "\n".join(lines)


def compose_flood(headlines: Sequence[str], alarms: int, language: Language, room: int, *, over: bool = False) -> str:
    """The digest of a desk that has more alarms than one person can take in."""
    if language == "zh":
        first = "报警高峰已结束" if over else f"报警高峰：10 分钟内 {alarms} 条新报警，紧急报警仍单独推送"
    else:
        first = (
            "The alarm flood is over"
            if over
            else f"Alarm flood: {alarms} new alarms in 10 min; critical ones are still told one by one"
        )
    mark = "【汇总】" if language == "zh" else "[Digest] "
    rest = compose_digest(headlines, language, room - len(first.encode()) - len(mark.encode()) - 1)
    return "\n".join((f"{mark}{first}", *rest.split("\n")[1:]))


def truncate(text: str, room: int) -> str:
    """`text` in at most `room` bytes of UTF-8, cut between characters, with an ellipsis where it was cut."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= room:
        return raw.decode()
    ellipsis_bytes = 3
    return raw[: max(room - ellipsis_bytes, 0)].decode("utf-8", "ignore") + "…"


def mask(text: str) -> str:
    """Mobile phone numbers made unreadable but recognisable: `138****5678`."""
    return _MOBILE.sub(r"\1****\2", text)


def clean(text: str) -> str:
    """One line of text without control characters."""
    return _CONTROL.sub(" ", text).strip()


def _mark(notice: Notice, language: Language, escalated: bool) -> str:
    zh = language == "zh"
    if notice.resolved:
        words = {"alarm": Text("恢复", "Cleared"), "order": Text("工单结束", "Order closed")}
        return words[notice.kind].get(language)
    level = PRIORITIES[notice.priority].get(language)
    if notice.kind == "order":
        pressing = notice.priority in ("critical", "high")
        name = "工单" if zh else "Order"
        mark = (f"{level}{name}" if zh else f"{level} {name.lower()}") if pressing else name
    else:
        mark = level
    if escalated:
        mark += "·升级" if zh else ", escalated"
    return mark


def _when(time_ns: int, now_ns: int, zone: tzinfo) -> str:
    then, now = (datetime.fromtimestamp(ns // 1_000_000_000, UTC).astimezone(zone) for ns in (time_ns, now_ns))
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%m-%d %H:%M:%S}"
