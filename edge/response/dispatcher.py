"""Tells people: who, in which order, until somebody answers.

What comes in: notices of alarms and orders that are already written down. What goes out: messages on channels, each
channel with a queue and task of its own, and a record of every attempt. A push is one message to one recipient; there
is at most one for a notice, a recipient and a step of its ladder, on all of the recipient's channels.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any

from drivers.driver import Clock
from drivers.point import Language
from edge.response.case import RESOLVED, Case, Way
from edge.response.duty import DutySpec
from edge.response.flood import Digest, Flood
from edge.response.ladder import Climb
from edge.response.lane import Lane, Outcome, Push, wake_or_wait
from edge.response.notice import PRIORITIES, Message, Notice, compose, compose_flood, compose_resolved, mask

DIGEST_ROOM = 1_800
"""Bytes of a digest: every robot takes that much."""
KIND = "ladder"
"""The kind of state that `pending` gives and `restore` takes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PushRecord:
    """One attempt to tell one recipient on one channel."""

    notice_id: str
    recipient: str
    channel: str
    time_ns: int
    ok: bool
    error: str | None
    """Why it was not delivered; names no key and no whole phone number."""
    text: str
    """As it was sent, phone numbers masked."""
    over: bool = False
    """It says that the alarm is over, or the order finished."""

    def to_body(self) -> dict[str, object]:
        """As JSON keeps it."""
        return asdict(self)


Record = Callable[[PushRecord], Awaitable[None]]


class Dispatcher:
    """All pushes of one site."""

    def __init__(
        self,
        duty: DutySpec,
        language: Language,
        clock: Clock,
        record: Record,
        zone: tzinfo,
        folder: Path = Path(),
    ) -> None:
        """`record` is awaited after each attempt; `pending` then holds what has changed by it.

        `zone` is the site's; `folder` is where relative paths of file channels begin.
        """
        self.lanes = {name: Lane(name, each, folder, clock, language) for name, each in duty.channels.items()}
        self._duty = duty
        self._language: Language = language
        self._clock = clock
        self._record = record
        self._zone = zone
        self._cases: dict[str, Case] = {}
        self._changed: set[str] = set()
        self._moved = asyncio.Event()
        """Something has changed."""
        self._floods: dict[str, Flood] = {}
        """By recipient: each desk has its own."""
        self._digests: dict[str, Digest] = {}
        self._wake = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or being sent; steps to come may still wait for their time."""
        return not any(lane.queued for lane in self.lanes.values())

    def notify(self, notice: Notice) -> None:
        """Begin the ladder of a notice; never waits.

        The same notice again changes nothing; one with the same id and another time is a new occurrence.
        """
        case = self._cases.get(notice.id)
        if case is not None and case.resolved is None and case.notice.time_ns == notice.time_ns:
            return
        if case is not None:
            case.climb.stopped = True
            del self._cases[notice.id]
            self._mark(notice.id)
        steps = self._duty.ladder(notice)
        if steps:
            now_s = self._clock.mono_s()
            self._cases[notice.id] = case = Case(notice, now_s, Climb(steps, now_s))
            self._advance(case)

    def update(self, notice: Notice) -> None:
        """A notice under way reads otherwise now: whoever is told from now on is told so. Nobody is told again."""
        case = self._cases.get(notice.id)
        if case is not None and case.resolved is None and case.notice.time_ns == notice.time_ns:
            case.notice = notice
            self._mark(notice.id)

    def withdraw(self, notice_id: str) -> None:
        """It is told of by another notice, or nobody need know any more: it ends without a word."""
        case = self._cases.get(notice_id)
        if case is not None and case.resolved is None:
            case.climb.stopped = True
            del self._cases[notice_id]
            self._mark(notice_id)

    def annunciated(self, priority: str, ago_s: float = 0.0) -> None:
        """One more alarm has been shown to the desks that are told of such ones first."""
        now_s = self._clock.mono_s()
        for recipient in self._duty.first(priority):
            flood = self._floods.setdefault(recipient, Flood())
            was = flood.on
            flood.count(now_s - ago_s)
            if flood.look(now_s) and not was:
                log.warning("%s has an alarm flood: %d new alarms in 10 min", recipient, flood.alarms)

    @property
    def floods(self) -> tuple[str, ...]:
        """Recipients who have more alarms than one person can take in."""
        now_s = self._clock.mono_s()
        return tuple(name for name, flood in self._floods.items() if flood.look(now_s))

    def acknowledged(self, notice_id: str) -> None:
        """Somebody has answered: nobody else is called, and what still waits is dropped."""
        case = self._cases.get(notice_id)
        if case is not None and not case.climb.stopped:
            case.climb.stopped = True
            self._touch(case)

    def resolved(self, notice: Notice) -> None:
        """It is over: the ladder ends, and those who were told are told so."""
        case = self._cases.get(notice.id)
        if case is None or case.resolved is not None:
            return
        case.climb.stopped = True
        case.resolved = notice
        for recipient in case.reached:
            self._push_all(case, RESOLVED, recipient)
        self._touch(case)

    async def moved(self) -> None:
        """Wait until `pending` has something."""
        while not self._changed:
            await self._moved.wait()
            self._moved.clear()

    def _mark(self, name: str) -> None:
        """It has changed, and is to be kept."""
        self._changed.add(name)
        self._moved.set()

    def pending(self) -> dict[tuple[str, str], dict[str, object] | None]:
        """What has changed since the last call, to be kept for a restart; None where a notice has come to its end."""
        changed, self._changed = sorted(self._changed), set()
        cases = {name: self._cases.get(name) for name in changed}
        return {(KIND, name): case.to_body(self._clock) if case else None for name, case in cases.items()}

    def restore(self, bodies: Mapping[str, Mapping[str, Any]]) -> None:
        """Continue ladders that were in progress, from what `pending` gave. Pushes that had not come to an end are
        queued again; steps that fell due meanwhile are taken now."""
        for name, body in bodies.items():
            try:
                steps = self._duty.ladder(Notice.from_body(body["notice"]))
                case = Case.from_body(body, steps, self._clock)
            except (KeyError, TypeError, ValueError) as error:
                log.error("the escalation of %s cannot be continued, what was kept is not readable: %r", name, error)
                continue
            self._cases[name] = case
            self._continue(case)

    async def run(self) -> None:
        """Send and escalate, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, lane in self.lanes.items():
                group.create_task(lane.run(), name=f"push[{name}]")
            group.create_task(self._climb(), name="ladders")

    def stats(self) -> dict[str, dict[str, int]]:
        """Of each channel: sent, failed, queued, and whether it is down."""
        return {
            name: {"sent": lane.sent, "failed": lane.failed, "queued": lane.queued, "down": int(lane.down)}
            for name, lane in self.lanes.items()
        }

    async def _climb(self) -> None:
        while True:
            for case in list(self._cases.values()):
                self._advance(case)
            self._wake.clear()  # what set it is in `due`
            self._send_digests()
            due = [at for case in self._cases.values() if (at := case.climb.next_s()) is not None]
            due += [each.due_s for each in self._digests.values() if each.due_s is not None]
            due += [at for each in self._floods.values() if (at := each.ends_s()) is not None]
            wait_s = max(min(due) - self._clock.mono_s(), 0.0) if due else None
            await wake_or_wait(self._wake, self._clock, wait_s)

    def _advance(self, case: Case) -> None:
        """Take the steps that are due."""
        for step in case.climb.due(self._clock.mono_s()):
            for recipient in case.climb.steps[step].to:
                self._push_all(case, step, recipient)
            self._mark(case.notice.id)
        self._wake.set()

    def _continue(self, case: Case) -> None:
        """Queue again what a restart interrupted."""
        ways, case.open = sorted(case.open), set()
        for way in ways:
            step, recipient, channel = way
            known = recipient in self._duty.recipients and channel in self.lanes
            if known and (step == RESOLVED or (not case.climb.stopped and step < case.climb.taken)):
                self._push(case, way)
        self._touch(case)

    def _push_all(self, case: Case, step: int, recipient: str) -> None:
        spec = self._duty.recipients.get(recipient)
        for channel in dict.fromkeys(spec.channels if spec else ()):
            self._push(case, (step, recipient, channel))

    def _push(self, case: Case, way: Way) -> None:
        step, recipient, channel = way
        case.open.add(way)
        wanted = partial(_wanted, case, step, case.climb.round)
        push = Push(self._message(case, step, recipient), wanted, partial(self._settle, case, way))
        now_s = self._clock.mono_s()
        flood = self._floods.get(recipient)
        if case.notice.kind == "order" or case.notice.priority == "critical" or not (flood and flood.look(now_s)):
            self.lanes[channel].put(push)
            return
        rank = list(PRIORITIES).index(case.notice.priority)
        self._digests.setdefault(recipient, Digest()).add(channel, push, rank, now_s)
        self._wake.set()

    def _send_digests(self) -> None:
        """What was gathered in a flood goes out where it is due, all of it where the flood is over."""
        now_s = self._clock.mono_s()
        for recipient, digest in list(self._digests.items()):
            flood = self._floods[recipient]
            over = not flood.look(now_s)
            if over or (digest.due_s is not None and digest.due_s <= now_s):
                for channel, pushes in digest.take(now_s).items():
                    self._send_digest(recipient, channel, pushes, flood.alarms, over=over)
            if over:
                log.warning("the alarm flood of %s is over", recipient)
                del self._digests[recipient]

    def _send_digest(self, recipient: str, channel: str, pushes: list[Push], alarms: int, *, over: bool) -> None:
        order = list(PRIORITIES)
        pushes.sort(key=lambda push: order.index(push.message.priority))
        dropped = [push for push in pushes if not push.wanted()]
        pushes = [push for push in pushes if push not in dropped] or pushes
        headlines = [push.message.headline for push in pushes]
        text = compose_flood(headlines, alarms, self._language, DIGEST_ROOM, over=over)
        message = Message(
            text=text,
            headline=text.partition("\n")[0],
            priority=pushes[0].message.priority,
            notices=tuple(dict.fromkeys(name for push in pushes for name in push.message.notices)),
            recipients=(self._duty.recipients[recipient].name,),
            mobiles=tuple(dict.fromkeys(number for push in pushes for number in push.message.mobiles)),
            users=tuple(dict.fromkeys(user for push in pushes for user in push.message.users)),
        )
        self.lanes[channel].put(Push(message, partial(_any_wanted, pushes), partial(_settle_all, pushes, dropped)))

    def _message(self, case: Case, step: int, recipient: str) -> Message:
        now_ns, over = self._clock.wall_ns(), case.resolved if step == RESOLVED else None
        if over is not None:
            text = compose_resolved(over, self._language, self._zone, now_ns, case.notice.time_ns)
        else:
            unanswered_s = self._clock.mono_s() - case.began_s if step > 0 else None
            text = compose(case.notice, self._language, self._zone, now_ns, unanswered_s)
        spec = self._duty.recipients[recipient]
        loud = over is None
        return Message(
            text=text,
            headline=text.partition("\n")[0],
            priority=case.notice.priority if loud else "low",
            notices=(case.notice.id,),
            recipients=(spec.name,),
            mobiles=(spec.mobile.get_secret_value(),) if loud and spec.mobile else (),
            users=(spec.user,) if loud and spec.user else (),
        )

    async def _settle(self, case: Case, way: Way, outcome: Outcome | None) -> None:
        step, recipient, channel = way
        if outcome is None or outcome.final:
            unaware = recipient not in case.reached
            case.settled(way, outcome is not None and outcome.error is None)
            if case.resolved is not None and unaware and recipient in case.reached:
                self._push_all(case, RESOLVED, recipient)  # it was on its way while the alarm went
            self._touch(case)
        if outcome is not None:
            ok, text = outcome.error is None, mask(outcome.text)
            now_ns = self._clock.wall_ns()
            over = step == RESOLVED
            await self._record(PushRecord(case.notice.id, recipient, channel, now_ns, ok, outcome.error, text, over))

    def _touch(self, case: Case) -> None:
        """Draw the consequences of a change: go on, begin again, or be done."""
        name = case.notice.id
        if self._cases.get(name) is not case:
            return  # a newer occurrence has taken its place
        case.hurry(self._clock.mono_s())
        self._advance(case)
        if case.over:
            del self._cases[name]
        self._mark(name)


def _any_wanted(pushes: Sequence[Push]) -> bool:
    return any(push.wanted() for push in pushes)


async def _settle_all(pushes: Sequence[Push], dropped: Sequence[Push], outcome: Outcome | None) -> None:
    for push in pushes:
        await push.settle(outcome)
    for push in dropped:
        await push.settle(None)


def _wanted(case: Case, step: int, round_: int) -> bool:
    return step == RESOLVED or (not case.climb.stopped and case.climb.round == round_)
