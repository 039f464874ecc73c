"""The turns of one connection: which requests have come, whose goes first, and how much time is to spare. Pure.

What comes in: when each request may next be sent and by when it should be answered. What goes out: the next one.
Requests with points that alarm rules look at go first, then the earliest deadline; an ordinary one that has waited
ten seconds beyond its deadline waits no longer. Where several requests may be out at once, those whose device has
its fill are passed over until one of its answers has come.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf

from drivers.driver import Request
from drivers.point import Quality, Value
from edge.acquisition.figures import DeviceFigures
from edge.acquisition.patience import Patience

NEVER_S = -inf
_STARVED_S = 10.0
"""So long beyond its deadline, an ordinary turn goes before urgent ones."""

_Queue = list[tuple[float, int, "Turn"]]


@dataclass(slots=True, eq=False)
class Turn:
    """The turns of one request."""

    request: Request
    device: Asked
    figures: DeviceFigures
    """Of the equipment that it reads."""
    urgent: bool = False
    """Alarm rules look at points of its."""
    release_s: float = 0.0
    """From when on it may be sent."""
    ticket: int = -1
    """Which entry in the queues is the true one; -1: none, it waits for its device to answer."""
    values: tuple[Value, ...] | None = None
    """Of the newest good answer; None where there was none."""
    quality: Quality | None = None
    """As last told downstream."""
    misses: int = 0
    """Time-outs of this request in a row."""
    placed: bool = False
    """Whether its turns lie on the grid of its period: all but the first do."""
    out: bool = False
    """It has been sent and not answered yet."""
    asked_s: float = NEVER_S
    logged_s: float = NEVER_S
    """When an answer of its that cannot be used was last logged."""

    @property
    def deadline_s(self) -> float:
        """By when it should have been answered: its next turn."""
        return self.release_s + self.request.period_s


@dataclass(slots=True, eq=False)
class Asked:
    """One device, and how it answers. Several equipments may be parts of one: they are silent together."""

    names: list[str]
    """Of the equipments."""
    figures: list[DeviceFigures]
    patience: Patience
    turns: list[Turn] = field(default_factory=list)
    misses: int = 0
    """Time-outs of the device in a row, whatever it was asked."""
    heard: bool = False
    """It has answered something on this connection."""
    asked_s: float = NEVER_S
    missed_s: float = NEVER_S
    """When its newest time-out was noted; what was out before that does not count as another."""
    logged_s: float = NEVER_S
    """When its silence was last logged."""


class Agenda:
    """All turns that have a place."""

    __slots__ = ("_at_once", "_ordinary", "_ready", "_tickets", "_urgent", "_waiting")

    def __init__(self, at_once: int = 1, ready: Callable[[Turn], bool] | None = None) -> None:
        """`at_once`: how many requests may be out; `ready`: whether one may go beside them."""
        self._at_once = at_once
        self._ready = ready
        self._tickets = itertools.count()
        self._waiting: _Queue = []
        """By release."""
        self._urgent: _Queue = []
        """Those that have come, by deadline."""
        self._ordinary: _Queue = []

    def schedule(self, turn: Turn, release_s: float) -> None:
        """Give a turn its next place; an older one is void."""
        turn.release_s = release_s
        turn.ticket = ticket = next(self._tickets)
        heapq.heappush(self._waiting, (release_s, ticket, turn))

    def drop(self, turn: Turn) -> None:
        """It has no place for now."""
        turn.ticket = -1

    def take(self, now: float) -> Turn | None:
        """The turn that goes first of those that have come. It has no place any more."""
        waiting = self._waiting
        if waiting and not self._urgent and not self._ordinary and self._ready is None:
            release_s, ticket, turn = waiting[0]
            if release_s > now:
                return None
            if ticket == turn.ticket and (
                len(waiting) == 1 or not _come(waiting, now)
            ):  # it alone: nothing is to be weighed
                heapq.heappop(waiting)
                turn.ticket = -1
                return turn
        first = self.first(now)
        if first is not None:
            first.ticket = -1
        return first

    def first(self, now: float) -> Turn | None:
        """The turn that goes first of those that have come; it keeps its place until it is dropped."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            _, ticket, turn = heapq.heappop(waiting)
            if ticket == turn.ticket:
                queue = self._urgent if turn.urgent else self._ordinary
                heapq.heappush(queue, (turn.deadline_s, ticket, turn))
        if not self._urgent and not self._ordinary:
            return None
        urgent, ordinary = self._head(self._urgent), self._head(self._ordinary)
        if urgent is None or (ordinary is not None and now - ordinary.deadline_s > _STARVED_S):
            return ordinary
        return urgent

    def next_release_s(self) -> float:
        """When the next turn comes; infinity where none is to come."""
        waiting = self._waiting
        while waiting:
            release_s, ticket, turn = waiting[0]
            if ticket == turn.ticket:
                return release_s
            heapq.heappop(waiting)
        return inf

    def spare_s(self, now: float) -> float:
        """How long the line may do something else from now on without any turn being late."""
        spare = inf
        until = now
        for turn in sorted(self._placed(), key=lambda turn: turn.deadline_s):
            until += turn.request.wire_s / self._at_once
            spare = min(spare, turn.deadline_s - until)
        return spare

    def _placed(self) -> Iterator[Turn]:
        for queue in (self._waiting, self._urgent, self._ordinary):
            yield from (turn for _, ticket, turn in queue if ticket == turn.ticket)

    def _head(self, queue: _Queue) -> Turn | None:
        """The first that is not void, and may be sent."""
        if self._ready is None:
            return _head(queue)
        aside: _Queue = []
        while (turn := _head(queue)) is not None and not self._ready(turn):
            aside.append(heapq.heappop(queue))
        for each in aside:
            heapq.heappush(queue, each)
        return turn


def _come(waiting: _Queue, now: float) -> bool:
    """Whether a second of several has come: it is one of the two below the first in the heap."""
    return waiting[1][0] <= now or (len(waiting) > 2 and waiting[2][0] <= now)


def _head(queue: _Queue) -> Turn | None:
    """The first that is not void."""
    while queue:
        _, ticket, turn = queue[0]
        if ticket == turn.ticket:
            return turn
        heapq.heappop(queue)
    return None
