"""A small plant for the tests of Sparkplug B: two pumps and a light that are read, fall silent and come back."""

from __future__ import annotations

from drivers.point import Value
from edge.store.readings import Row
from edge.uplinks.shape import EquipmentView, PointView, SiteView

T0_MS = 1_772_447_465_000
POINTS = {
    "pump-1": ("running", "pressure", "starts"),
    "pump-2": ("running", "pressure", "starts"),
    "light-1": ("on", "mode"),
}
KINDS = {"running": "bool", "pressure": "float", "starts": "int", "on": "bool", "mode": "text"}
SITE = SiteView(
    "maple",
    {name: EquipmentView(name.partition("-")[0], "x/y", "地下", name) for name in POINTS},
    {
        f"{equipment}.{point}": PointView(
            "MPa" if point == "pressure" else "",
            {"zh": f"{point}名", "en": point},
            KINDS[point],
            point in ("on", "mode"),
        )
        for equipment, points in POINTS.items()
        for point in points
    },
    "枫林小区",
)


class Plant:
    """What was read, and the log of it."""

    def __init__(self) -> None:
        self.now_ms = T0_MS
        self.log: list[Row] = []
        self.newest: dict[str, tuple[Value, str, int]] = {}
        self._count = 0

    def live(self, point_id: str) -> tuple[Value, str, int]:
        """The newest reading."""
        return self.newest.get(point_id, (None, "bad/comm", 0))

    def head(self) -> int:
        """Number of the newest row."""
        return self.log[-1].seq if self.log else 0

    def read(self, equipment: str, quality: str = "good") -> Row:
        """Read all points of an equipment; a quality other than good brings no values."""
        self._count += 1
        values = tuple(None if quality != "good" else self._value(point) for point in POINTS[equipment])
        marks = None if quality == "good" else (quality,) * len(values)
        row = Row(self.head() + 1, self.now_ms * 1_000_000, equipment, POINTS[equipment], values, marks, None)
        self.log.append(row)
        for point, value in zip(POINTS[equipment], values, strict=True):
            self.newest[f"{equipment}.{point}"] = (value, quality, row.time_ns)
        return row

    def _value(self, point: str) -> Value:
        n = self._count
        values: dict[str, Value] = {"bool": n % 2 == 0, "float": n / 4, "int": n - 5, "text": f"值{n}"}
        return values[KINDS[point]]
