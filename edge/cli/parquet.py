"""Readings as Parquet and back, by pyarrow (extra `parquet`), one row group at a time.

Columns: time (UTC, ns), point, value (numbers and switches as float64), text (texts, and integers that no float64
holds), kind (what the value is: bool, int, float, text, none), unit, quality (`good`, `bad/comm` ...).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drivers.point import Value
from edge.cli.command import USAGE, Ended
from edge.cli.formats import Line, Names, Told, Write, checked, checked_quality

GROUP = 50_000
"""Readings that are in memory at a time."""
EXACT = 2**53


def library() -> Any:
    """pyarrow, or how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Ended(USAGE, "Parquet needs pyarrow: pip install 'courtyard-edge[parquet]'") from None
    return pyarrow


@contextmanager
def parquet_writer(path: Path, names: Names) -> Iterator[Write]:
    """Writes into `path` while in the block."""
    arrow = library()
    word = arrow.dictionary(arrow.int32(), arrow.string())
    schema = arrow.schema([
        ("time", arrow.timestamp("ns", tz="UTC")), ("point", word), ("value", arrow.float64()),
        ("text", arrow.string()), ("kind", word), ("unit", word), ("quality", word),
    ])  # fmt: skip
    waiting: list[Told] = []
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(arrow.table(_columns(waiting, names), schema=schema))
                waiting.clear()

        def write(told: Told) -> None:
            waiting.append(told)
            if len(waiting) >= GROUP:
                flush()

        yield write
        flush()


def _columns(readings: list[Told], names: Names) -> dict[str, list[Any]]:
    split = [_split(told.value) for told in readings]
    return {
        "time": [told.time_ns for told in readings],
        "point": [told.point for told in readings],
        "value": [number for number, _, _ in split],
        "text": [text for _, text, _ in split],
        "kind": [kind for _, _, kind in split],
        "unit": [names.units.get(told.point, "") for told in readings],
        "quality": [told.quality for told in readings],
    }


def _split(value: Value) -> tuple[float | None, str | None, str]:
    if value is None:
        return None, None, "none"
    if isinstance(value, bool):
        return float(value), None, "bool"
    if isinstance(value, int):
        return float(value), None if abs(value) <= EXACT else str(value), "int"
    if isinstance(value, float):
        return value, None, "float"
    return None, value, "text"


def parquet_reader(path: Path) -> Iterator[Line]:
    """Readings of a file that `parquet_writer` wrote, with the number of their row."""
    arrow = library()
    number = 0
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(10_000, columns=["time", "point", "value", "text", "kind", "quality"]):
                times = batch.column("time").cast(arrow.int64()).to_pylist()  # no datetime is as fine as a ns
                for time_ns, row in zip(times, batch.drop_columns(["time"]).to_pylist(), strict=True):
                    number += 1
                    yield number, _told(time_ns, row)
    except (arrow.ArrowException, OSError, KeyError) as error:
        yield number + 1, f"is no Parquet of readings: {str(error).splitlines()[0]}"


def _told(time_ns: Any, row: dict[str, Any]) -> Told | str:
    try:
        kind, number, text = row["kind"], row["value"], row["text"]
        value: Value = None
        if kind == "bool":
            value = bool(number)
        elif kind == "int":
            value = int(text) if text is not None else int(number)
        elif kind == "float":
            value = float(number)
        elif kind == "text":
            value = str(text)
        elif kind != "none":
            return f"kind is {kind!r}; there are bool, int, float, text, none"
        quality = checked_quality(*str(row["quality"]).partition("/")[::2])
        return checked(int(time_ns), row["point"], value, quality)
    except (TypeError, ValueError) as error:
        return f"is no reading: {error}"
