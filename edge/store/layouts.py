"""Sets of points that are reported together, named once and for all."""

from __future__ import annotations

import sqlite3

import orjson

from edge.store.groups import Chosen, chosen_of

NAMED = 4
"""Sets of points named for one equipment: its blocks, mostly. Rows of other sets say which points of the widest of
them they have."""
_REMEMBERED = 2_000

Layout = tuple[str, tuple[str, ...]]
"""Equipment and names of its points."""


class LayoutTable:
    """The table `layouts`, for one connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.by_number: dict[int, Layout] = {}
        self._db = db
        self._numbers: dict[str, dict[tuple[str, ...], int]] = {}
        self._seen: dict[tuple[str, int], tuple[tuple[str, ...], tuple[int, Chosen]]] = {}
        self._fresh: list[int] = []
        self.learn()

    def learn(self) -> None:
        """Read what another connection has added."""
        query = "SELECT id, equipment, points FROM layouts WHERE id > ?"
        for number, equipment, points in self._db.execute(query, (max(self.by_number, default=0),)).fetchall():
            self._keep(number, equipment, tuple(orjson.loads(points)))

    def named(self, number: int) -> Layout:
        """Equipment and points of a layout."""
        if number not in self.by_number:
            self.learn()
        return self.by_number[number]

    def with_point(self, equipment: str, point: str) -> dict[int, int]:
        """Layouts of an equipment that have a point, and where in them it stands."""
        self.learn()
        known = self._numbers.get(equipment, {})
        return {number: points.index(point) for points, number in known.items() if point in points}

    def number(self, equipment: str, points: tuple[str, ...]) -> tuple[int, Chosen]:
        """The layout of a row, and which of the layout's points the row has.

        A new layout is written by `write_fresh`, or taken back by `drop_fresh`.
        """
        key = equipment, id(points)  # a hash over all names would cost more than the rest of the row
        seen = self._seen.get(key)
        if seen is not None and seen[0] is points:
            return seen[1]
        found = self._find(equipment, points)
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key] = points, found
        return found

    def write_fresh(self) -> None:
        """Write the layouts that were named since the last time; within a transaction."""
        rows = [(number, *self.by_number[number]) for number in self._fresh]
        self._db.executemany(
            "INSERT INTO layouts (id, equipment, points) VALUES (?, ?, ?)",
            [(number, equipment, orjson.dumps(points)) for number, equipment, points in rows],
        )

    def settle(self, *, written: bool) -> None:
        """The transaction has ended: what was named since the last one is on the disk, or is not."""
        fresh, self._fresh = self._fresh, []
        if not written and fresh:
            self._seen.clear()
            for number in fresh:
                equipment, points = self.by_number.pop(number)
                del self._numbers[equipment][points]

    def _find(self, equipment: str, points: tuple[str, ...]) -> tuple[int, Chosen]:
        known = self._numbers.get(equipment, {})
        number = known.get(points)
        if number is not None:
            return number, 0
        if len(known) < NAMED:
            return self._name(equipment, points), 0
        wide = max(known, key=len)
        places = {point: place for place, point in enumerate(wide)}
        if not places.keys() >= set(points):
            wide = tuple(sorted(set(points).union(*known)))
            places = {point: place for place, point in enumerate(wide)}
            return self._name(equipment, wide), chosen_of([places[point] for point in points])
        return known[wide], chosen_of([places[point] for point in points])

    def _name(self, equipment: str, points: tuple[str, ...]) -> int:
        number = max(self.by_number, default=0) + 1
        self._keep(number, equipment, points)
        self._fresh.append(number)
        return number

    def _keep(self, number: int, equipment: str, points: tuple[str, ...]) -> None:
        self.by_number[number] = (equipment, points)
        self._numbers.setdefault(equipment, {})[points] = number
