"""Alarms that explain others, by the place where they stand in the tree of parents. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

AFTER_S = 60.0
"""A cause explains for so long after it has gone: what it stopped does not start in the same second."""


class Causes:
    """Which causes stand where."""

    def __init__(self, ancestors: Mapping[str, Sequence[str]]) -> None:
        self._ancestors = ancestors
        self._at: dict[str, dict[str, tuple[bool, float | None]]] = {}
        """By place and alarm: whether it cuts off, and when it went; None: it stands."""

    def stands(self, place: str, alarm_id: str, *, cut_off: bool) -> None:
        """A cause has come."""
        self._at.setdefault(place, {})[alarm_id] = cut_off, None

    def gone(self, place: str, alarm_id: str, mono_s: float) -> None:
        """An alarm, maybe a cause, has gone."""
        here = self._at.get(place)
        if here is not None and alarm_id in here and here[alarm_id][1] is None:
            here[alarm_id] = here[alarm_id][0], mono_s

    def above(self, place: str, mono_s: float) -> Iterator[tuple[str, bool]]:
        """Causes above a place, the nearest first: alarm id, and whether it cuts off all below."""
        for each in self._ancestors.get(place, ()):
            here = self._at.get(each)
            if not here:
                continue
            for alarm_id, (cut_off, gone_s) in list(here.items()):
                if gone_s is not None and mono_s - gone_s > AFTER_S:
                    del here[alarm_id]
                else:
                    yield alarm_id, cut_off

    def is_below(self, place: str, above: str) -> bool:
        """Whether one place hangs on another."""
        return above in self._ancestors.get(place, ())

    def hangs(self, place: str) -> bool:
        """Whether a place hangs on anything."""
        return bool(self._ancestors.get(place))
